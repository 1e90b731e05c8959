"""Photos into a lake, and what a landing zone with many known photos costs."""

import hashlib
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from pathlib import Path
from shutil import rmtree
from typing import NoReturn

import inputs
import pyarrow as pa
import pyarrow.parquet as pq
from case import STAGE, Case, Side, Suite, copy_lake, platelake, script
from deltalake import DeltaTable

COUNT = 2_000
MORE = 100
AT_ONCE = 100_000
"""Names are written so many at once."""


def cases(suite: Suite) -> Iterator[Case]:
    """Photos into an empty lake, then into lakes of each size."""
    landing = suite.folder / "photos"
    yield Case(
        f"{COUNT:,} photos",
        {
            "lake": lambda folder: ingest(folder, landing),
            "limit": lambda folder: script("peer_photos", landing, folder),
        },
        prepare=partial(inputs.make_photos, landing, COUNT),
        check=same_pictures,
        work=COUNT,
        unit="photos",
    )
    for count in map(int, suite.given.names):
        yield from known_names(suite.folder / f"names-{count}", count)


def ingest(lake: Path, landing: Path) -> list[str]:
    """The job."""
    return platelake(lake, "ingest-photos", "--landing", str(landing))


def same_pictures(folders: dict[str, Path]) -> None:
    """Raise AssertionError if a picture or its tensor differs."""
    order, columns = [("pixel_sha256", "ascending")], ["pixel_sha256", "tensor"]
    ours = DeltaTable(str(folders["lake"] / STAGE / "pictures")).to_pyarrow_table(columns=columns)
    ours, theirs = ours.sort_by(order), pq.read_table(f"{folders['limit']}.parquet").sort_by(order)
    assert ours.num_rows == COUNT
    for name in columns:
        assert ours[name].equals(theirs[name]), name


def known_names(folder: Path, count: int) -> Iterator[Case]:
    """More photos, and nothing new, where so many files lie that the lake knows."""
    landing, base = folder / "landing", folder / "lake"
    new = landing / "new"

    @cache
    def prepare() -> None:
        for first in range(0, count, AT_ONCE):
            make_known(base, landing, first, min(first + AT_ONCE, count))

    def before(more: int, target: Path) -> None:
        copy_lake(base, target)
        rmtree(new, ignore_errors=True)
        if more:
            inputs.make_photos(new, more)

    def check(more: int, folders: dict[str, Path]) -> None:
        names = DeltaTable(str(folders["lake"] / STAGE / "picture_names"))
        assert names.to_pyarrow_dataset().count_rows() == count + more

    for name, more in {f"{MORE} new photos": MORE, "no new photo": 0}.items():
        sides: dict[str, Side] = {"lake": partial(ingest, landing=landing)}
        yield Case(
            f"{name}, {count:,} known",
            sides,
            prepare,
            partial(before, more),
            partial(check, more),
        )


def make_known(root: Path, landing: Path, first: int, last: int) -> None:
    """Empty files, and a lake that has taken them for photos of tiny content."""
    from lakehouse.delta.lake import Lake
    from lakehouse.tables.files import FILES
    from lakehouse.tables.photos import PHOTOS
    from lakehouse.tables.picture_names import PICTURE_NAMES
    from lakehouse.tables.pictures import PICTURES

    numbers, when = range(first, last), datetime.fromtimestamp(inputs.LONG_AGO, UTC)
    files = [f"{number // 10_000:04d}/good/{number}.png" for number in numbers]
    for file in files:
        _touch(landing / file)
    hashes = [hashlib.sha256(b"%d" % number).hexdigest() for number in numbers]
    pixels = [one[::-1] for one in hashes]
    same = {
        FILES: {
            "kind": "photos", "file": files, "event": 1, "sha256": hashes, "size": 0,
            "modified_at": when, "status": "loaded", "label": "good", "rows_read": 0,
            "rows_stored": 0, "rows_quarantined": 0, "run_id": "bench",
            "seen_at": datetime.now(UTC),
        },
        PHOTOS: {
            "sha256": hashes, "pixel_sha256": pixels, "format": "PNG", "mode": "RGB", "size": 1,
            "bytes": b"x",
        },
        PICTURES: {
            "pixel_sha256": pixels, "phash": "0" * 16, "width": 480, "height": 720,
            "tensor_width": 224, "tensor_height": 224, "tensor": b"x",
        },
        PICTURE_NAMES: {
            "pixel_sha256": pixels, "label": "good", "name": [f"{n}.png" for n in numbers],
            "file": files, "sha256": hashes, "captured_at": when, "captured_from": "file time",
            "day": (when + timedelta(hours=9)).date(),
        },
    }  # fmt: skip
    lake = Lake(str(root), STAGE, _no_spark)
    for table, columns in same.items():
        schema = table.arrow_schema()
        arrays = []
        for field in schema:
            value = columns.get(field.name)
            values = value if isinstance(value, list) else [value] * len(files)
            arrays.append(pa.array(values, field.type))
        lake.insert(table, pa.Table.from_arrays(arrays, schema=schema))


def _touch(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()
    os.utime(file, (inputs.LONG_AGO, inputs.LONG_AGO))


def _no_spark() -> NoReturn:
    raise AssertionError("the tables are written without Spark")
