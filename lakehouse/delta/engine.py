"""Compute rows in the driver, or with Spark's workers.

The day is the unit of work. Rules, features, labels and summaries are functions from Arrow to Arrow
over the rows of some days. The driver calls them itself up to the limits of `Lake.here`, because
Spark takes longer to start than they take to run. For more rows, Spark calls the same functions,
each day in one task.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import date
from typing import Any, TypeVar

import pyarrow as pa
import pyarrow.compute as pc
import structlog

from lakehouse.delta.lake import Lake
from lakehouse.delta.rows import Rows, is_held_here
from lakehouse.table import Table

BYTES_AT_ONCE = 256 << 20
"""The driver holds files of this many bytes at once; their rows take about ten times as much."""

ROWS_AT_ONCE = 8_000_000
"""The driver holds this many rows of a table at once; a single day may have more."""

P = TypeVar("P", pa.RecordBatch, pa.Table)
S = TypeVar("S")
T = TypeVar("T")


def map_rows(rows: Rows, compute: Callable[[pa.Table], pa.Table], schema: pa.Schema) -> Rows:
    """Apply `compute` to the rows, any number at a time; return rows of that schema."""
    if is_held_here(rows):
        return compute(rows)

    def batches(given: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in given:
            yield from _as(schema, compute(pa.Table.from_batches([batch]))).to_batches()

    return rows.mapInArrow(batches, spark_schema(schema))


def map_days(
    lake: Lake,
    rows: Rows,
    beside: Sequence[pa.Table],
    days: Collection[date],
    compute: Callable[..., pa.Table],
    schema: pa.Schema,
) -> Rows:
    """Apply `compute` to the rows of each day and to that day's rows of the tables in `beside`.

    Rows whose day is null are one group. A table without the column `day` is passed whole. `days`
    are computed even if they have no rows.
    """
    if is_held_here(rows):
        return compute(rows, *beside)

    def one_day(of_day: pa.Table, asked: pa.Table) -> pa.Table:
        of_day = of_day.combine_chunks()
        day = (of_day if of_day.num_rows else asked)["day"][0]
        cut = [_of_day(table, day) for table in beside]
        return _as(schema, compute(of_day, *cut))

    asked = lake.spark.createDataFrame([(day,) for day in days], "day date")
    pairs = rows.groupBy("day").cogroup(asked.groupBy("day"))
    return pairs.applyInArrow(one_day, spark_schema(schema))


def compute_days(
    lake: Lake,
    sources: Sequence[Table],
    versions: Mapping[str, int],
    days: Collection[date] | None,
    compute: Callable[..., pa.Table],
    schema: pa.Schema,
) -> Rows:
    """Compute rows from the sources' rows of some days.

    The driver splits the days so that the rows of each part fit into memory; a single day is always
    computed whole.

    Args:
        lake: The lake of the sources.
        sources: Tables to read; only the first may be large. Those without a day are passed whole.
        versions: Each source's version to read, by name.
        days: The days to compute; None: all.
        compute: Takes each source's rows as an Arrow table; returns rows of `schema`.
        schema: Columns of the result.

    Returns:
        The computed rows: an Arrow table, or Spark's frame if the first source has more rows than
        `lake.here.rows`.

    Example:
        >>> import tempfile
        >>> from lakehouse.table import Column
        >>> columns = Column("day", "date", "Day"), Column("n", "int", "Number")
        >>> table = Table("t", "Numbers", columns, key=("day", "n"))
        >>> def count_rows(rows: pa.Table) -> pa.Table:
        ...     return rows.group_by("day").aggregate([([], "count_all")]).sort_by("day")
        >>> counted = pa.schema([("day", pa.date32()), ("count_all", pa.int64())])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     lake = Lake(folder, "stage", open_session=lambda: None)
        ...     _ = lake.insert_rows(table, [{"day": date(2021, 11, 1), "n": n} for n in (1, 2)])
        ...     versions = {"t": lake.version(table)}
        ...     rows = compute_days(lake, [table], versions, None, count_rows, counted)
        >>> rows.to_pylist()
        [{'day': datetime.date(2021, 11, 1), 'count_all': 2}]
    """
    main, *others = sources
    count = lake.count(main, versions[main.name], _of_days(days))
    if count <= lake.here.rows:
        at_once = [days] if count <= ROWS_AT_ONCE else _days_at_once(lake, sources, versions, days)
        return pa.concat_tables(
            compute(*(_load(lake, source, versions, some) for source in sources))
            for some in at_once
        )
    structlog.get_logger().info("computed by Spark", table=main.name, rows=count)
    frame = lake.read(main, versions[main.name])
    beside = [_load(lake, source, versions, days) for source in others]
    if days is not None:
        frame = frame.where(frame["day"].isin(sorted(days)))
    found = {day for table in beside if "day" in table.column_names for day in _days(table)}
    return map_days(lake, frame, beside, found, compute, schema)


def _load(
    lake: Lake, source: Table, versions: Mapping[str, int], days: Collection[date] | None
) -> pa.Table:
    where = _of_days(days) if "day" in source.names else None
    return lake.load(source, versions[source.name], where)


def _of_days(days: Collection[date] | None) -> pc.Expression | None:
    return None if days is None else pc.field("day").isin(pa.array(sorted(days), pa.date32()))


def _days_at_once(
    lake: Lake,
    sources: Sequence[Table],
    versions: Mapping[str, int],
    days: Collection[date] | None,
) -> list[list[date]]:
    """Return the days, or all days of any source, in lists that have few enough rows."""
    rows: Counter[date] = Counter()
    for source in sources:
        if "day" in source.names and versions[source.name] >= 0:
            rows += lake.counts(source, "day", pc.scalar(True), versions[source.name])
    wanted = sorted(rows if days is None else days)
    return in_slices(wanted, [rows[day] for day in wanted], ROWS_AT_ONCE)


def in_commits(
    lake: Lake, items: Sequence[T], sizes: Sequence[int], most: int | None = None
) -> list[list[T]]:
    """Return the items of each commit; `sizes` are their bytes to read.

    A commit has up to `most` bytes, or `BYTES_AT_ONCE`, which the driver holds at once. If all is
    too much for the driver, there is one commit, by Spark.
    """
    if sum(sizes) > lake.here.bytes:
        return [list(items)]
    return in_slices(items, sizes, most or BYTES_AT_ONCE)


def in_slices(items: Sequence[T], sizes: Sequence[int], most: int) -> list[list[T]]:
    """Split the items, in order, into lists with a total size of at most `most`, or one item."""
    slices: list[list[T]] = []
    size = 0
    for item, own in zip(items, sizes, strict=True):
        size += own
        if not slices or size > most:
            slices.append([])
            size = own
        slices[-1].append(item)
    return slices


def union(rows: Rows, more: pa.Table) -> Rows:
    """Return the rows of both."""
    if is_held_here(rows):
        return pa.concat_tables([rows, more])
    if not more.num_rows:
        return rows
    return rows.unionByName(rows.sparkSession.createDataFrame(more, rows.schema))


def collected(rows: Rows) -> pa.Table:
    """Return the rows as an Arrow table in the driver."""
    return rows if is_held_here(rows) else rows.toArrow()


def gathered(parts: Iterable[P], rows: int) -> Iterator[list[P]]:
    """Yield the parts in lists of `rows` rows or some more in total; the last may have fewer."""
    some: list[P] = []
    count = 0
    for part in parts:
        some.append(part)
        count += part.num_rows
        if count >= rows:
            yield some
            some, count = [], 0
    if some:
        yield some


def split(rows: Rows, column: str) -> tuple[Rows, Rows]:
    """Return the rows without a value in the column, and those with one."""
    if not is_held_here(rows):
        return rows.where(f"{column} IS NULL"), rows.where(f"{column} IS NOT NULL")
    if rows[column].null_count == rows.num_rows:  # Photos are large, and a filter copies them.
        return rows, rows.slice(0, 0)
    return rows.filter(pc.is_null(rows[column])), rows.filter(pc.is_valid(rows[column]))


def ahead(items: Iterable[S], make: Callable[[S], T]) -> Iterator[T]:
    """Yield `make` of each item; the next is made while the caller uses one."""
    with ThreadPoolExecutor(1) as thread:
        waiting: Future[T] | None = None
        for item in items:
            made = waiting
            waiting = thread.submit(make, item)
            if made:
                yield made.result()
        if waiting:
            yield waiting.result()


def keep(rows: Rows, *, on_disk: bool = False) -> Rows:
    """Keep the rows, so that they are computed once even if they are used often; see `release`."""
    if is_held_here(rows):
        return rows
    from pyspark import StorageLevel

    return rows.persist(StorageLevel.DISK_ONLY if on_disk else StorageLevel.MEMORY_AND_DISK)


def release(rows: Rows) -> None:
    """Free rows that were kept."""
    if not is_held_here(rows):
        rows.unpersist()


def _days(table: pa.Table) -> set[date]:
    return set(pc.unique(table["day"]).to_pylist())


def _of_day(table: pa.Table, day: pa.Scalar) -> pa.Table:
    if "day" not in table.column_names:
        return table
    return table.filter(pc.equal(table["day"], day))


def _as(schema: pa.Schema, rows: pa.Table) -> pa.Table:
    return rows.select(schema.names).cast(_nullable(schema))


def _nullable(schema: pa.Schema) -> pa.Schema:
    return pa.schema([field.with_nullable(True) for field in schema])


def spark_schema(schema: pa.Schema) -> Any:
    """Return Spark's schema for a function's result; any column may be null."""
    from pyspark.sql.pandas.types import from_arrow_schema

    return from_arrow_schema(_nullable(schema))
