"""Refuse to read files again if that would take rows or values out of the lake."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.delta import engine
from lakehouse.delta.rows import Rows
from lakehouse.errors import LossError
from lakehouse.ingest.context import IngestContext
from lakehouse.ingest.events import in_files
from lakehouse.ingest.ledger import DUPLICATE, Delivery
from lakehouse.table import Table

REPLACED = ("superseded", "duplicate_key")
"""Rules of rows that are in the lake in another place."""


def refuse_loss(
    context: IngestContext, table: Table, checked: Rows, deliveries: Sequence[Delivery]
) -> None:
    """Raise LossError if files with the content that they had would have fewer rows in the table.

    A stage file that changed may refuse what it accepted before. A new delivery of the plant may
    have fewer rows.
    """
    again = {
        d.landed.file: d.report
        for d in deliveries
        if d.report.sha256 and d.replaces == d.report.sha256 and d.status != DUPLICATE
    }
    if context.allow_loss or not again:
        return
    stored: Counter[str] = Counter()
    columns = [name for name in table.names if name not in ("day", "line", *table.key)]
    columns = list(dict.fromkeys(["file", *columns]))
    for batch in context.lake.batches(table, columns, in_files(again)):
        stored += _values(pa.Table.from_batches([batch]))
    schema = pa.schema([("file", pa.string()), ("rule", pa.string()), ("values", pa.int64())])

    def counted(rows: pa.Table) -> pa.Table:
        parts = [
            {"file": file, "rule": rule, "values": count}
            for rule in pc.unique(rows["rule"]).to_pylist()
            for file, count in _values(rows.filter(_is(rows["rule"], rule)).select(columns)).items()
        ]
        return pa.Table.from_pylist(parts, schema)

    kept: Counter[str] = Counter()
    rules_of: dict[str, set[str]] = {}
    for row in engine.collected(engine.map_rows(checked, counted, schema)).to_pylist():
        if row["rule"] is None or row["rule"] in REPLACED:
            kept[row["file"]] += row["values"]
        else:
            rules_of.setdefault(row["file"], set()).add(row["rule"])
    lost = {file: stored[file] - kept[file] for file in again if stored[file] > kept[file]}
    if lost:
        reasons = {
            file: again[file].rule
            or ", ".join(sorted(rules_of.get(file, ())))
            or "not read any more"
            for file in lost
        }
        raise LossError(table.name, lost, reasons)


def _is(rules_: pa.Array, rule: str | None) -> pa.Array:
    return rules_.is_null() if rule is None else pc.fill_null(pc.equal(rules_, rule), False)


def _values(rows: pa.Table) -> Counter[str]:
    """Count, for each file, its rows and what stands in them: values, and lots of lists."""
    found: Counter[str] = Counter()
    asked: list[Any] = [([], "count_all")]
    for name in rows.column_names:
        if pa.types.is_list(rows.schema.field(name).type):
            lengths = pc.list_value_length(rows[name])
            rows = rows.set_column(rows.column_names.index(name), name, lengths)
            asked.append((name, "sum"))
        elif name != "file":
            asked.append((name, "count"))
    for row in rows.group_by(["file"]).aggregate(asked).to_pylist():
        file = row.pop("file")
        found[file] += sum(count or 0 for count in row.values())
    return found
