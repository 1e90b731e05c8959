"""Which files of the landing zone belong to a stage, by its globs."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.errors import UsageError
from lakehouse.stage import Stage
from lakehouse.stage_sections import UNLABELLED

KINDS = ("readings", "error_lists", "photos")
APP_FOLDER = "app"
"""Below the landing directory: the photos that people give to the app."""
NOISE = re.compile(
    r"(?:.*/)?(?:(?:eh)?thumbs\.db|desktop\.ini|\.ds_store|\._[^/]*|~\$[^/]*|\.~lock\.[^/]*#)",
    re.DOTALL | re.IGNORECASE,
)
"""Names of files that Windows, macOS and Office add to a plant's folders."""
PACKED = re.compile(r"\.(?:gz|zip)$", re.IGNORECASE)


class Matches(NamedTuple):
    """Which files are of which kind: for each kind a mask of the files, and their labels.

    `unmatched` is a mask of those that are of no kind and not ignored. `defects` is one of the
    pictures that show where a photo has its defect. They are no photos themselves.
    """

    kinds: dict[str, tuple[pa.ChunkedArray, pa.ChunkedArray]]
    unmatched: pa.ChunkedArray
    defects: pa.ChunkedArray


def match(stage: Stage, files: pa.ChunkedArray) -> Matches:
    """Tell kind and label of files by their paths below the landing directory.

    Args:
        stage: The stage, whose globs name the files.
        files: The paths as text.

    Returns:
        Of each kind a mask of the files and their labels; a text file has none.

    Raises:
        UsageError: The stage file gives one photo two labels.
    """
    names = _composed(files)
    unpacked = pc.replace_substring_regex(names, f"(?i){PACKED.pattern}", "")
    any_case = not stage.case_sensitive
    ignored = pc.or_(
        _matches(names, [NOISE.pattern], True), _matches(names, map(_regex, stage.ignore), any_case)
    )
    shown = map(_regex, stage.photos.masks if stage.photos else ())
    defects = pc.and_not(_matches(names, shown, any_case), ignored)
    ignored = pc.or_(ignored, defects)
    kinds, left = {}, pc.invert(ignored)
    for kind in KINDS:
        of_kind = _matches(names, [], any_case)
        labels = pc.if_else(of_kind, "", pa.scalar(None, pa.string()))
        for label, globs in _globs(stage, kind).items():
            patterns = [*map(_regex, globs)]
            found = _matches(names, patterns, any_case)
            if kind != "photos":
                found = pc.or_(found, _matches(unpacked, patterns, any_case))
            found = pc.and_not(found, ignored)
            _check(stage, pc.and_(of_kind, found), files, labels, label)
            of_kind = pc.or_(of_kind, found)
            labels = pc.if_else(found, pa.scalar(label, pa.string()), labels)
        kinds[kind] = of_kind, labels
        left = pc.and_not(left, of_kind)
    return Matches(kinds, left, defects)


def kinds_of(stage: Stage, file: str) -> dict[str, str | None] | None:
    """Return the kinds of one file, each with its label; None: it is ignored.

    Raises UsageError if the stage file gives one photo two labels.
    """
    found = match(stage, pa.chunked_array([[file]]))
    kinds = {
        kind: labels[0].as_py()
        for kind, (of_kind, labels) in found.kinds.items()
        if of_kind[0].as_py()
    }
    return kinds if kinds or found.unmatched[0].as_py() else None


def _composed(files: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the texts in NFC; Arrow's own function does not compose (pyarrow 25)."""
    return pa.chunked_array(
        [
            part
            if pc.all(pc.string_is_ascii(part)).as_py()
            else pa.array(
                [unicodedata.normalize("NFC", text) for text in part.to_pylist()], pa.string()
            )
            for part in files.chunks
        ],
        pa.string(),
    )


def _check(
    stage: Stage,
    both: pa.ChunkedArray,
    files: pa.ChunkedArray,
    labels: pa.ChunkedArray,
    label: str | None,
) -> None:
    """Raise UsageError if a file that has this label has another one already."""
    if pc.any(both).as_py():
        file, other = files.filter(both)[0].as_py(), labels.filter(both)[0].as_py()
        raise UsageError(
            f"stage {stage.name}: {file} is matched by the globs of "
            f"{' and '.join(sorted(map(str, (label, other))))}; make them disjoint"
        )


def _matches(names: pa.ChunkedArray, patterns: Iterable[str], any_case: bool) -> pa.ChunkedArray:
    """Return a mask of the names that match one of the patterns as a whole."""
    given = [*patterns]
    if not given:
        return pc.and_not(pc.is_valid(names), pc.is_valid(names))
    whole = rf"(?s)\A(?:{'|'.join(f'(?:{one})' for one in given)})\z"
    return pc.match_substring_regex(names, whole, ignore_case=any_case)


def _globs(stage: Stage, kind: str) -> dict[str | None, Sequence[str]]:
    if kind != "photos":
        source = stage.readings if kind == "readings" else stage.error_lists
        return {None: source.files} if source else {}
    if stage.photos is None:
        return {}
    labels = {**stage.photos.labels, UNLABELLED: stage.photos.unlabelled}
    return {label: globs for label, globs in labels.items()}  # noqa: C416, keys of another type.


def _regex(glob: str) -> str:
    """Turn a glob into a pattern: * and ? match within one folder, ** any number of folders."""
    parts = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    pieces = re.split(r"(\*\*/|\*\*|\*|\?)", unicodedata.normalize("NFC", glob))
    return "".join(parts.get(piece, re.escape(piece)) for piece in pieces)
