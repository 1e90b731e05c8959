"""A Delta table without Spark: what few rows need is done here, by delta-rs.

A commit of Spark takes seconds, whatever it holds; one of these takes hundredths of a second.
"""

from __future__ import annotations

import contextlib
import functools
import json
import operator
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

from lakehouse.errors import PlatelakeError
from lakehouse.table import Table

if TYPE_CHECKING:
    import pyarrow as pa
    from deltalake import DeltaTable

Row = Mapping[str, Any]

Scope = Mapping[str, Collection[Any]]
"""Columns, each with some values: the rows are meant that have one of them in each column."""

OUT_OF_REACH = re.compile(
    "Object at location .+ not found|Invalid table version|does not have change data enabled"
)
"""What delta-rs says of files, a log or a feed that are no longer there, or were not yet."""

OPERATION = "_operation"
"""What is to be done with a row: insert, update or delete."""


def make(path: str, table: Table) -> DeltaTable:
    """An empty table at that path, with neither checks nor rows yet, unless one is there."""
    from deltalake import DeltaTable, Schema

    return DeltaTable.create(
        path,
        Schema.from_json(table.schema().json()),
        mode="ignore",
        description=table.meaning,
        configuration={"delta.enableChangeDataFeed": str(table.changes).lower()},
    )


def complete(log: DeltaTable, table: Table) -> None:
    """Add the columns and checks that were declared since the table was made.

    Raises PlatelakeError where a stored row breaks such a check.
    """
    from deltalake import Schema

    stored = {field.name for field in log.schema().fields}
    fields = Schema.from_json(table.schema().json()).fields
    new = [field for field in fields if field.name not in stored]
    if new:
        log.alter.add_columns(new)
    known = log.metadata().configuration
    checks = {
        c.name: c.condition for c in table.checks if f"delta.constraints.{c.name}" not in known
    }
    if checks:
        with _explained(table):
            log.alter.add_constraint(checks)


def row_count(log: DeltaTable) -> int:
    """Rows of the version that the log was read at."""
    return sum(_of_files(log, "num_records"))


def file_sizes(log: DeltaTable) -> list[int]:
    """Bytes of each file of that version."""
    return _of_files(log, "size_bytes")


def _of_files(log: DeltaTable, what: str) -> list[int]:
    import pyarrow as pa

    values: list[int] = pa.table(log.get_add_actions())[what].to_pylist()
    return values


def rows_in(log: DeltaTable, scope: Scope | None, columns: Sequence[str]) -> pa.Table:
    """These columns of the rows in the scope; None: of all rows."""
    import pyarrow as pa
    import pyarrow.compute as pc

    stored = log.to_pyarrow_dataset()
    among = [
        pc.field(name).isin(pa.array(list(values), stored.schema.field(name).type))
        for name, values in (scope or {}).items()
    ]
    every = functools.reduce(operator.and_, among, pc.scalar(True))
    return stored.to_table(columns=list(columns), filter=every)


def changes(
    log: DeltaTable, columns: Sequence[str], after: int, until: int
) -> Iterator[list[dict[str, Any]]] | None:
    """These columns of the change feed, after < version ≤ until, some rows at a time.

    None where the feed does not reach back that far.
    """
    try:
        feed = log.load_cdf(after + 1, until, columns=list(columns)).read_all()
    except Exception as error:  # delta-rs raises nothing narrower.
        if OUT_OF_REACH.search(str(error)):
            return None
        raise

    def rows(batch: Any) -> list[dict[str, Any]]:  # Not by pyarrow: its texts are views.
        values = (batch[name].to_pylist() for name in columns)
        return [dict(zip(columns, row, strict=True)) for row in zip(*values, strict=True)]

    return map(rows, feed.to_batches())


def consumed(log: DeltaTable) -> dict[str, int]:
    """The versions of other tables that this one was last computed from."""
    for commit in log.history():
        if commit.get("userMetadata"):
            return {str(k): int(v) for k, v in json.loads(commit["userMetadata"]).items()}
    return {}


def compare(table: Table, rows: Sequence[Row], stored: Sequence[Row]) -> list[Row]:
    """The rows that are not stored so, and those stored that are no more, with the operation.

    Raises PlatelakeError where two rows have one key.
    """

    def facts(row: Row) -> str:  # As text, in which what is not a number is equal.
        return json.dumps([row[name] for name in table.facts], default=str)

    before = {table.key_of(row): facts(row) for row in stored}
    known = {table.key_of(row) for row in rows}
    if len(known) < len(rows):
        raise PlatelakeError(
            f"table {table.name}: of {len(rows)} rows, only {len(known)} differ in their key "
            f"{', '.join(table.key)}; change the transform, so that each key comes once"
        )
    new = [row for row in rows if table.key_of(row) not in before]
    both = [row for row in rows if table.key_of(row) in before]
    return [
        *({**row, OPERATION: "insert"} for row in new),
        *({**r, OPERATION: "update"} for r in both if facts(r) != before[table.key_of(r)]),
        *({**row, OPERATION: "delete"} for row in stored if table.key_of(row) not in known),
    ]


def keys_of(table: Table, rows: Sequence[Row]) -> list[Scope]:
    """Scopes, as few as may be, that hold just the keys of these rows."""
    many = max(table.key, key=lambda name: len({row[name] for row in rows}))
    rest = [name for name in table.key if name != many]
    scopes: dict[tuple[Any, ...], list[Any]] = {}
    for row in rows:
        scopes.setdefault(tuple(row[name] for name in rest), []).append(row[many])
    return [
        {name: [value] for name, value in zip(rest, key, strict=True)} | {many: values}
        for key, values in scopes.items()
    ]


def quoted(value: str) -> str:
    """The value as a string literal of delta-rs."""
    return "'" + value.replace("'", "''") + "'"


def in_sql(scopes: Iterable[Scope], quote: Callable[[str], str] = quoted) -> str:
    """The rows in any of the scopes, as a condition in SQL; empty where there is no scope."""

    def literal(value: Any) -> str:
        if isinstance(value, date):
            return f"DATE '{value}'"
        return quote(value) if isinstance(value, str) else str(value)

    def among(name: str, values: Collection[Any]) -> str:
        return f"{name} IN ({', '.join(map(literal, values))})" if values else "false"

    every = (" AND ".join(among(*one) for one in scope.items()) for scope in scopes)
    return " OR ".join(f"({one})" for one in every)


def append_once(log: DeltaTable, table: Table, rows: Sequence[Row], transaction: str) -> None:
    """Commit the rows, unless some have been committed under that name of a transaction.

    Raises PlatelakeError where one of their keys is there under another name.
    """
    from deltalake import CommitProperties, Transaction

    if log.transaction_version(transaction) is not None:
        return
    known = {table.key_of(row) for row in rows_in(log, None, table.key).to_pylist()}
    if any(table.key_of(row) in known for row in rows):
        raise overtaken(table)
    names = [Transaction(transaction, 1)]
    _commit(log, table, rows, "", CommitProperties(max_commit_retries=0, app_transactions=names))


def write(
    log: DeltaTable,
    table: Table,
    rows: Sequence[Row],
    where: str = "",
    note: Mapping[str, int] | None = None,
) -> None:
    """Commit the rows, in place of those that meet the condition, if any, which they have to meet.

    The commit is refused if another came since the log was read. `note`, the versions consumed,
    is kept with it; a note alone is a commit, unless it is what the last one said.
    """
    from deltalake import CommitProperties

    about = {"userMetadata": json.dumps(note)} if note else None
    alone = CommitProperties(max_commit_retries=0, custom_metadata=about)
    if rows or where:
        _commit(log, table, rows, where, alone)
    elif about and note != consumed(log):
        log.alter.set_table_properties(
            {"platelake.consumed": about["userMetadata"]},
            raise_if_not_exists=False,
            commit_properties=alone,
        )


def compact(log: DeltaTable, table: Table) -> None:
    """Write the small files of each partition together, in one commit if there are any."""
    log.optimize.compact(writer_properties=_writer(table))


def vacuum(log: DeltaTable, hours: int) -> None:
    """Remove the files, those of no version too, that no version of so many hours needs."""
    if log.vacuum(hours, full=True):
        log.vacuum(hours, dry_run=False, full=True)


def overtaken(table: Table) -> PlatelakeError:
    """What a run is told that another has overtaken."""
    return PlatelakeError(
        f"another run wrote the same table, {table.name}, since this one looked at it; the tables "
        "are as they were at their last commit. Have the scheduler run one at a time and run again"
    )


def _commit(
    log: DeltaTable, table: Table, rows: Sequence[Row], where: str, properties: Any
) -> None:
    from deltalake import write_deltalake

    how: Any = {"mode": "overwrite", "predicate": where} if where else {"mode": "append"}
    with _explained(table):
        write_deltalake(
            log,
            to_arrow(log, table, rows),
            writer_properties=_writer(table),
            commit_properties=properties,
            **how,
        )


def _writer(table: Table) -> Any:
    """How the table's files are written."""
    from deltalake import WriterProperties

    return WriterProperties(compression="ZSTD" if table.compress else "UNCOMPRESSED")


def to_arrow(log: DeltaTable, table: Table, rows: Sequence[Row]) -> pa.Table:
    """The rows as the table stores them."""
    import pyarrow as pa

    values = [{name: row[name] for name in table.names} for row in rows]
    return pa.Table.from_pylist(values, pa.schema(log.schema().to_arrow()))


@contextlib.contextmanager
def _explained(table: Table) -> Iterator[None]:
    """Say which checks the table has where one is broken; delta-rs does not."""
    from deltalake.exceptions import DeltaError

    try:
        yield
    except DeltaError as error:
        if "failed validation check" not in str(error):
            raise
        checks = ", ".join(f"{check.name}: {check.condition}" for check in table.checks)
        raise PlatelakeError(f"table {table.name} takes only rows with {checks}; {error}") from None
