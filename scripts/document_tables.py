"""Write docs/reference/tables.md from the tables' declarations.

.venv/bin/python scripts/document_tables.py
"""

import sys
from pathlib import Path

from lakehouse.stage import Stage, load_stage
from lakehouse.table import Column, Table
from lakehouse.tables import all_tables

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "reference" / "tables.md"
STAGE = "chromate"

HEAD = f"""\
# The tables

Written by `.venv/bin/python scripts/document_tables.py` from the declarations in
`lakehouse/tables/`; a test fails when this page is stale. Do not edit it.

Each table is a Delta table in `lake/<stage>/<table>`. Key columns are never null, and together they
are unique. Delta enforces each check on every commit. A bookkeeping column describes the run that
wrote the row, not the plant: two tables that differ only there hold the same data.

The columns of `readings` and `lot_features` come from the stage file; here they are those of
`{STAGE}`. The other tables are the same in every stage.
"""


def main() -> int:
    """Write the page."""
    PAGE.write_text(page(load_stage(STAGE)), "utf-8")
    return 0


def page(stage: Stage) -> str:
    """The whole page."""
    tables = sorted(all_tables(stage), key=lambda table: table.name)
    contents = "\n".join(f"- [{t.name}](#{t.name}): {t.meaning.rstrip('.')}" for t in tables)
    return "\n".join([HEAD, contents, "", *map(section, tables)])


def section(table: Table) -> str:
    """One table."""
    lines = [f"## {table.name}", "", f"{table.meaning.rstrip('.')}.", ""]
    lines.append(f"- Key: {', '.join(f'`{name}`' for name in table.key)}")
    lines += [f"- Check `{check.name}`: `{check.condition}`" for check in table.checks]
    lines += ["- Keeps Delta's change feed, for the jobs that come after"] * table.changes
    lines += [
        "- Copied to SQL, with `stage` and `lake_version` besides its columns"
    ] * table.mirrored
    lines += ["- Written uncompressed, because its bytes are compressed already"] * (
        not table.compress
    )
    lines += ["", "| column | type | unit | meaning |", "| --- | --- | --- | --- |"]
    return "\n".join([*lines, *map(row, table.columns), ""])


def row(column: Column) -> str:
    """One column."""
    meaning = column.meaning + " (bookkeeping)" * column.bookkeeping
    cells = (f"`{column.name}`", f"`{column.type}`", column.unit, meaning)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


if __name__ == "__main__":
    sys.exit(main())
