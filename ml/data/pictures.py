"""The lake's labelled pictures at pinned versions: the items of a split, and the tensors' files.

Pictures that show one part are in one group. Three things link them: equal pixels (they are one
item already), similar perceptual hashes, and a given group of any of their names.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from lakehouse.delta.lake import Lake
from lakehouse.errors import PlatelakeError
from lakehouse.table import Table
from lakehouse.tables.agreed_labels import AGREED_LABELS
from lakehouse.tables.picture_names import PICTURE_NAMES
from lakehouse.tables.pictures import PICTURES
from ml.data.errors import TooFewError
from ml.data.splits import Item

if TYPE_CHECKING:
    import pyarrow as pa

PERCEPTUAL_NEIGHBOURS = 6
"""The perceptual hashes of two neighbours differ in at most this many of 64 bits.

Measured on the 1,074 magnetic tiles, whose `tile` is known (2,801 pairs of one tile): the links,
the share that joins pictures of one tile, and the size of the largest group that the links make.

| bits | links | of one tile | largest group |
| ---: | ---: | ---: | ---: |
| 4 | 1,118 | 93 % | 12 |
| 6 | 1,675 | 91 % | 39 |
| 8 | 2,291 | 83 % | 88 |
| 10 | 3,257 | 67 % | 152 |
| 12 | 4,751 | 50 % | 211 |

Grey textures look alike: from 8 bits on, most new links join different tiles, and chains of links
grow into one group. 6 is the largest distance at which nine of ten links are right. It finds 55 %
of the pairs of one tile, so a group that the plant gives is better than any hash. The 46 KAMP
pictures make 30 groups. The largest has 4.
"""

LABELS = {"good": 0, "bad": 1}
_ROWS_AT_ONCE = 512


@dataclass(frozen=True)
class PictureFrame:
    """Labelled pictures at pinned table versions, sorted by item. The tensors stay in `files`.

    `items` are `pixel_sha256`. `labels` is int64, shape (n,), 1 for bad. `days` has the first day
    on which each picture was taken. `files` are the live files of `pictures` at its version; all
    together they have `rows` rows. A tensor is uint8, shape (height, width, 3), 0 to 255.
    `least_side` is the shortest side of all pictures before they became tensors, in pixels, and
    `names` has the names of each picture. `people` are the items without a label of the plant:
    their label is what two reviewers agreed on.
    """

    versions: Mapping[str, int]
    items: tuple[str, ...]
    labels: NDArray[np.int64]
    groups: tuple[str, ...]
    days: tuple[date, ...]
    files: tuple[str, ...]
    rows: int
    height: int
    width: int
    least_side: int = 0
    names: tuple[tuple[str, ...], ...] = ()
    people: frozenset[str] = frozenset()

    @property
    def sha256(self) -> str:
        """Hash of everything that a training sees. The items are hashes of their pixels already."""
        content = [self.items, self.labels.tolist(), self.groups, self.height, self.width]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    @property
    def pixels_sha256(self) -> str:
        """Hash of the pictures alone: labels and groups may change without it."""
        content = [self.items, self.height, self.width]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()

    def with_groups(self, groups: Mapping[str, str]) -> PictureFrame:
        """Return the same pictures with other groups, by item: those of a stored split."""
        return replace(self, groups=tuple(groups[item] for item in self.items))

    def split_items(self) -> list[Item]:
        """Return the pictures as items of a split."""
        return [
            Item(item, int(label), group, day)
            for item, label, group, day in zip(
                self.items, self.labels, self.groups, self.days, strict=True
            )
        ]


def picture_frame(
    lake: Lake,
    given_groups: Mapping[str, str] | None = None,
    near: int = PERCEPTUAL_NEIGHBOURS,
    versions: Mapping[str, int] | None = None,
) -> PictureFrame:
    """Find the labelled pictures of the lake. No tensor is read.

    Args:
        lake: the lake.
        given_groups: maps names of pictures to groups that the plant knows, such as the part.
        near: pictures whose perceptual hashes differ in at most this many of 64 bits are one
            group, also if groups are given. A negative number links none.
        versions: Delta versions of `pictures` and `picture_names`, and of `agreed_labels` if its
            labels count. Without it, the current ones.

    Returns:
        The pictures labelled good or bad, sorted by item. A label of the plant counts before what
        reviewers agreed on, because it says more than a look at the photo.

    Raises:
        TooFewError: there are no labelled pictures.
        PlatelakeError: the tensors have several sizes, `pictures` lacks a labelled picture, or a
            version is gone.
    """
    pinned = _pinned(lake, versions)
    names = _table(lake, PICTURE_NAMES, pinned, "pixel_sha256", "label", "name", "day").to_pylist()
    of_item: dict[str, list[dict[str, Any]]] = {}
    for name in names:
        of_item.setdefault(name["pixel_sha256"], []).append(name)
    labels = {
        item: LABELS[one["label"]]
        for item, own in of_item.items()
        for one in own
        if one["label"] in LABELS
    }
    agreed = _agreed(lake, pinned, of_item.keys() - labels.keys())
    labels |= agreed
    if not labels:
        raise TooFewError(
            PICTURE_NAMES.name,
            f"table picture_names has {len(of_item)} pictures, none of them labelled good or bad, "
            f"at version {pinned['picture_names']}; ingest labelled photos by `platelake run`",
        )
    items = sorted(labels)
    hashes, size, least_side = _hashes(lake, pinned, items)
    given = [{(given_groups or {}).get(one["name"]) for one in of_item[item]} for item in items]
    return PictureFrame(
        versions=pinned,
        items=tuple(items),
        labels=np.array([labels[item] for item in items], np.int64),
        groups=_groups(items, hashes, given, near),
        days=tuple(min(one["day"] for one in of_item[item]) for item in items),
        files=tuple(lake.live_files(PICTURES, pinned["pictures"])),
        rows=lake.count(PICTURES, pinned["pictures"]),
        height=size[0],
        width=size[1],
        least_side=least_side,
        names=tuple(tuple(sorted(one["name"] for one in of_item[item])) for item in items),
        people=frozenset(agreed),
    )


def _pinned(lake: Lake, versions: Mapping[str, int] | None) -> dict[str, int]:
    tables = (PICTURES, PICTURE_NAMES)
    pinned = {table.name: (versions or {}).get(table.name, lake.version(table)) for table in tables}
    absent = [name for name, version in pinned.items() if version < 0]
    if absent:
        raise TooFewError(
            absent[0],
            f"table {absent[0]} in {lake.folder} does not exist yet: there are no photos to learn "
            "from; ingest labelled ones by `platelake run`",
        )
    agreed = (versions or {}).get(
        AGREED_LABELS.name, -1 if versions else lake.version(AGREED_LABELS)
    )
    return pinned | ({AGREED_LABELS.name: agreed} if agreed >= 0 else {})


def _agreed(lake: Lake, pinned: Mapping[str, int], unlabelled: Set[str]) -> dict[str, int]:
    """Return the labels that reviewers agreed on, of these pictures.

    A picture whose files have different labels gets none.
    """
    if AGREED_LABELS.name not in pinned:
        return {}
    rows = _table(lake, AGREED_LABELS, pinned, "sha256", "label").to_pylist()
    label = {row["sha256"]: LABELS[row["label"]] for row in rows}
    found: dict[str, set[int]] = {}
    for row in _table(lake, PICTURE_NAMES, pinned, "pixel_sha256", "sha256").to_pylist():
        if row["pixel_sha256"] in unlabelled and row["sha256"] in label:
            found.setdefault(row["pixel_sha256"], set()).add(label[row["sha256"]])
    return {item: labels.pop() for item, labels in found.items() if len(labels) == 1}


def _table(lake: Lake, table: Table, pinned: Mapping[str, int], *columns: str) -> pa.Table:
    return lake.load(table, pinned[table.name], columns=columns)


def _hashes(
    lake: Lake, pinned: Mapping[str, int], items: list[str]
) -> tuple[NDArray[np.bool_], tuple[int, int], int]:
    """Read the items' perceptual hashes, shape (n, 64), the size, and the shortest side."""
    columns = ("pixel_sha256", "phash", "width", "height", "tensor_height", "tensor_width")
    known = {
        row["pixel_sha256"]: row for row in _table(lake, PICTURES, pinned, *columns).to_pylist()
    }
    absent = [item for item in items if item not in known]
    if absent:
        raise PlatelakeError(
            f"table pictures lacks {len(absent)} pictures that picture_names has at versions "
            f"{dict(pinned)}, such as {absent[0]}; pin versions of one run"
        )
    sizes = sorted({(known[i]["tensor_height"], known[i]["tensor_width"]) for i in items})
    if len(sizes) > 1:
        shown = ", ".join(f"{height}x{width}" for height, width in sizes)
        raise PlatelakeError(
            f"table pictures has labelled tensors of {len(sizes)} sizes ({shown}), a network takes "
            "one; ingest all photos into a new lake with the stage's current width and height"
        )
    packed = np.array([list(bytes.fromhex(known[item]["phash"])) for item in items], np.uint8)
    least_side = min(min(known[item]["width"], known[item]["height"]) for item in items)
    return np.unpackbits(packed, axis=1).astype(bool), sizes[0], least_side


def _groups(
    items: list[str], hashes: NDArray[np.bool_], given: Iterable[set[str | None]], near: int
) -> tuple[str, ...]:
    """Return the group of each item: all items that links connect, named by the first of them."""
    links = list(_neighbours(hashes, near))
    first: dict[str, int] = {}
    for at, names in enumerate(given):
        links += [(at, first.setdefault(name, at)) for name in names if name is not None]
    one, other = np.array(links, np.intp).reshape(-1, 2).T
    linked = coo_array((np.ones(len(links)), (one, other)), shape=(len(items), len(items)))
    _, group = connected_components(linked, directed=False)
    _, named_by = np.unique(group, return_index=True)
    return tuple(items[at] for at in named_by[group])


def _neighbours(hashes: NDArray[np.bool_], near: int) -> Iterable[tuple[int, int]]:
    """Yield pairs of rows that differ in at most `near` places.

    It compares 512 rows with all others at a time, to limit memory.
    """
    bits = hashes.astype(np.float32)
    ones = bits.sum(axis=1)
    for start in range(0, len(bits), _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        distance = ones[part, None] + ones[None, :] - 2 * bits[part] @ bits.T
        for one, other in np.argwhere(distance <= near):
            if start + one < other:
                yield int(start + one), int(other)
