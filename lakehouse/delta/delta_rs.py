"""Commit few rows to a Delta table without Spark, with delta-rs.

A commit by Spark takes seconds, however small it is; a commit by delta-rs takes hundredths of a
second.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import (
    ColumnProperties,
    CommitProperties,
    DeltaTable,
    Schema,
    Transaction,
    WriterProperties,
    write_deltalake,
)
from deltalake.exceptions import DeltaError

from lakehouse.delta.keys import OPERATION, first_of_each, with_key_among, with_key_not_among
from lakehouse.delta.snapshot import Scope, consumed, rows_in
from lakehouse.errors import OvertakenError, PlatelakeError
from lakehouse.table import Table

SCOPES = 1000
"""Up to this many conditions joined by OR, delta-rs plans quickly."""


def make(path: str, table: Table) -> DeltaTable:
    """Create an empty table at that path, without checks or rows; keep an existing table."""
    return DeltaTable.create(
        path,
        Schema.from_json(table.schema().json()),
        mode="ignore",
        description=table.meaning,
        configuration={"delta.enableChangeDataFeed": str(table.changes).lower()},
    )


def complete(log: DeltaTable, table: Table) -> None:
    """Add the columns and checks that were declared since the table was made.

    Raises PlatelakeError if a stored row breaks such a check.
    """
    stored = {field.name for field in log.schema().fields}
    new = set(table.names) - stored
    if new:  # Spark's own types name the columns, so only then is Spark imported.
        fields = Schema.from_json(table.schema().json()).fields
        log.alter.add_columns([field for field in fields if field.name in new])
    known = log.metadata().configuration
    checks = {
        c.name: c.condition for c in table.checks if f"delta.constraints.{c.name}" not in known
    }
    if checks:
        with _explained(table):
            log.alter.add_constraint(checks)


def without_known(log: DeltaTable, table: Table, rows: pa.Table) -> pa.Table:
    """Keep the rows whose key is not stored; of several with one key, the first."""
    key = list(table.key)
    stored = rows_in(log, {key[0]: rows[key[0]].unique().to_pylist()}, key)
    return with_key_not_among(first_of_each(rows, key), stored, key)


def quoted(value: str) -> str:
    """Quote the value as a string literal of delta-rs."""
    return "'" + value.replace("'", "''") + "'"


def in_sql(scopes: Iterable[Scope], quote: Callable[[str], str] = quoted) -> str:
    """Write the rows in any of the scopes as a condition in SQL; empty if there is no scope."""

    def literal(value: Any) -> str:
        if isinstance(value, date):
            return f"DATE '{value}'"
        return quote(value) if isinstance(value, str) else str(value)

    def among(name: str, values: Collection[Any]) -> str:
        return f"{name} IN ({', '.join(map(literal, values))})" if values else "false"

    every = (" AND ".join(among(*one) for one in scope.items()) for scope in scopes)
    return " OR ".join(f"({one})" for one in every)


def append_once(log: DeltaTable, table: Table, rows: pa.Table, transaction: str) -> None:
    """Commit the rows, unless that transaction name has been committed before.

    Raises OvertakenError if one of their keys is stored under another name.
    """
    if log.transaction_version(transaction) is not None:
        return
    if with_key_among(rows, rows_in(log, None, table.key), table.key).num_rows:
        raise OvertakenError(table.name)
    names = [Transaction(transaction, 1)]
    _commit(log, table, rows, "", CommitProperties(max_commit_retries=0, app_transactions=names))


def write(
    log: DeltaTable,
    table: Table,
    rows: pa.Table,
    where: str = "",
    note: Mapping[str, int] | None = None,
) -> None:
    """Commit the rows. With a condition they replace the rows that meet it, and must meet it too.

    The commit is refused if another came since the log was read. It keeps `note`, the versions
    consumed. A note without rows is a commit too, unless it equals the last note.
    """
    if rows.num_rows or where:
        _commit(log, table, rows, where, _alone(note))
    elif note and note != consumed(log):
        log.alter.set_table_properties(
            {"platelake.consumed": json.dumps(note)},
            raise_if_not_exists=False,
            commit_properties=_alone(note),
        )


def write_difference(
    log: DeltaTable, table: Table, difference: pa.Table, note: Mapping[str, int] | None = None
) -> None:
    """Commit a difference that `compare` found; apart from that, do as `write`.

    This replaces rows by their keys. A merge of delta-rs would do the same, but it stores texts as
    views, which pyarrow cannot filter.
    """
    new = difference.filter(pc.not_equal(difference[OPERATION], "delete")).select(table.names)
    if set(pc.unique(difference[OPERATION]).to_pylist()) <= {"insert"}:
        write(log, table, new, note=note)
        return
    scopes = _scopes_of_keys(table, difference.select(table.key).to_pylist())
    if len(scopes) > SCOPES:  # Then other rows of these days are rewritten.
        name = "day" if "day" in table.key else table.key[0]
        scopes = [{name: pc.unique(difference[name]).to_pylist()}]
        others = rows_in(log, scopes[0], table.names).cast(new.schema)
        new = pa.concat_tables([with_key_not_among(others, difference, table.key), new])
    write(log, table, new, in_sql(scopes), note)


def _scopes_of_keys(table: Table, keys: Sequence[Mapping[str, Any]]) -> list[Scope]:
    """Return few scopes that hold exactly these keys."""
    many = max(table.key, key=lambda name: len({key[name] for key in keys}))
    rest = [name for name in table.key if name != many]
    scopes: dict[tuple[Any, ...], list[Any]] = {}
    for key in keys:
        scopes.setdefault(tuple(key[name] for name in rest), []).append(key[many])
    return [
        {name: [value] for name, value in zip(rest, values, strict=True)} | {many: found}
        for values, found in scopes.items()
    ]


def _alone(note: Mapping[str, int] | None) -> Any:
    """Make a commit refused if another came since the log was read; add the note, if any."""
    about = {"userMetadata": json.dumps(note)} if note else None
    return CommitProperties(max_commit_retries=0, custom_metadata=about)


def compact(log: DeltaTable, table: Table) -> None:
    """Merge the small files of each partition, in one commit if there are any."""
    log.optimize.compact(writer_properties=_writer(table))


def vacuum(log: DeltaTable, hours: int, keep_versions: Collection[int]) -> None:
    """Remove files that no version of the last `hours` needs, also files of no version.

    The files of `keep_versions` stay.
    """
    keep = sorted(keep_versions) or None
    if log.vacuum(hours, full=True, keep_versions=keep):
        log.vacuum(hours, dry_run=False, full=True, keep_versions=keep)


def _commit(log: DeltaTable, table: Table, rows: pa.Table, where: str, properties: Any) -> None:

    how: Any = {"mode": "overwrite", "predicate": where} if where else {"mode": "append"}
    with _explained(table):
        write_deltalake(
            log,
            _as_stored(log, rows),
            writer_properties=_writer(table),
            commit_properties=properties,
            **how,
        )


def _writer(table: Table) -> Any:
    """Return how to write the table's files; columns of bytes get no dictionary or statistics.

    These would take half of the time, and no reader uses them: photos are almost never equal.
    """
    plain = ColumnProperties(dictionary_enabled=False, statistics_enabled="NONE")
    return WriterProperties(
        compression="ZSTD" if table.compress else "UNCOMPRESSED",
        column_properties={c.name: plain for c in table.columns if c.type == "binary"},
    )


def _as_stored(log: DeltaTable, rows: pa.Table) -> pa.Table:
    """Cast the rows to the stored table's columns and types."""
    schema = pa.schema(log.schema().to_arrow())
    return rows.select(schema.names).cast(schema)


@contextlib.contextmanager
def _explained(table: Table) -> Iterator[None]:
    """If a check is broken, name the table's checks in the error; delta-rs does not."""
    try:
        yield
    except DeltaError as error:
        if "failed validation check" not in str(error):
            raise
        checks = ", ".join(f"{check.name}: {check.condition}" for check in table.checks)
        raise PlatelakeError(f"table {table.name} needs rows with {checks}; {error}") from None
