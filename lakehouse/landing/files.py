"""The files of one kind in the landing zone: a row of Arrow each, not an object each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

LANDED = pa.schema(
    [
        *((name, pa.string()) for name in ("file", "url")),
        ("size", pa.int64()),
        ("modified_at", pa.timestamp("us", "UTC")),
        ("timed", pa.bool_()),
        ("label", pa.string()),
    ]
)
"""Columns of `LandedFiles`: the fields of a `LandedFile` without its kind."""
AT_ONCE = 10_000
"""Rows that become Python objects at once."""


@dataclass(frozen=True, slots=True)
class LandedFile:
    """A file of the landing zone.

    `file` is its path below the landing directory as text; this is its name in the lake. `url`
    opens it: the true path, percent-encoded, because a name may not be valid text. `size` is in
    bytes, `modified_at` in UTC.
    """

    kind: str
    file: str
    url: str
    size: int
    modified_at: datetime
    label: str | None = None
    timed: bool = True
    """Whether the file system gives the modification time; if not, `modified_at` is now."""


@dataclass(frozen=True, eq=False)
class LandedFiles(Iterable[LandedFile]):
    """Files of one kind, by name. A `LandedFile` is made when it is asked for, and not kept.

    A landing zone may hold millions of files that the lake knows. They are compared with the ledger
    as columns; only those that a run acts on become objects.

    Args:
        kind: One of `KINDS`.
        rows: The columns `LANDED`, sorted by `file`.
    """

    kind: str
    rows: pa.Table

    @classmethod
    def of(cls, kind: str, files: Iterable[LandedFile]) -> LandedFiles:
        """Return these files, sorted by name."""
        rows = [{name: getattr(file, name) for name in LANDED.names} for file in files]
        return cls(kind, pa.Table.from_pylist(rows, LANDED).sort_by("file"))

    @property
    def names(self) -> pa.ChunkedArray:
        """The names of all files."""
        return self.rows["file"]

    def __len__(self) -> int:
        """Return how many files there are."""
        return int(self.rows.num_rows)

    def __iter__(self) -> Iterator[LandedFile]:
        """Make the files, some at a time."""
        for batch in self.rows.to_batches(max_chunksize=AT_ONCE):
            for row in batch.to_pylist():
                row["modified_at"] = row["modified_at"].astimezone(UTC)  # Arrow's UTC is another.
                yield LandedFile(self.kind, **row)

    def where(self, mask: pa.ChunkedArray) -> LandedFiles:
        """Keep the files for which the mask is true."""
        return LandedFiles(self.kind, self.rows.filter(mask))

    def named(self, names: Iterable[str]) -> LandedFiles:
        """Keep the files that have one of these names."""
        return self.where(pc.is_in(self.names, array_of(names)))

    def without(self, names: Iterable[str]) -> LandedFiles:
        """Leave out the files that have one of these names."""
        return self.where(pc.invert(pc.is_in(self.names, array_of(names)))) if names else self


def array_of(texts: Iterable[str] | pa.ChunkedArray) -> pa.Array:
    """Return the texts as one Arrow array."""
    if isinstance(texts, pa.ChunkedArray):
        return texts.combine_chunks()
    return texts if isinstance(texts, pa.Array) else pa.array(list(texts), pa.string())
