"""Lots to MariaDB by what its manual offers for many rows.

    python benchmarks/peer_sync.py TABLE URL AFTER

AFTER is the version of the Delta table that SQL has, or -1: then all rows come by LOAD DATA, else
those that changed since by executemany.
"""

import sys
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pymysql
from deltalake import DeltaTable
from pyarrow import csv
from sqlalchemy.engine import make_url

COLUMNS = ("day", "lot", "readings", "started_at", "ended_at", "label")
CREATE = """
CREATE TABLE IF NOT EXISTS lots (day DATE, lot VARCHAR(255), readings BIGINT,
  started_at DATETIME(6), ended_at DATETIME(6), label TEXT, PRIMARY KEY (day, lot))
"""
REPLACE = f"REPLACE INTO lots VALUES ({', '.join(['%s'] * len(COLUMNS))})"


def without_zone(rows: pa.Table) -> pa.Table:
    """As MariaDB keeps times."""
    for name in ("started_at", "ended_at"):
        plain = rows[name].cast(pa.timestamp("us"))
        rows = rows.set_column(rows.column_names.index(name), name, plain)
    return rows


def main(table: str, url: str, after: int) -> None:
    """Bring SQL up to date, in one transaction."""
    address, log = make_url(url), DeltaTable(table)
    who = {"user": address.username, "password": address.password, "database": address.database}
    sql = pymysql.connect(host=address.host, port=address.port, local_infile=True, **who)
    cursor = sql.cursor()
    cursor.execute(CREATE)
    if after < 0:
        with tempfile.NamedTemporaryFile(suffix=".csv") as file:
            rows = log.to_pyarrow_table(columns=list(COLUMNS))
            csv.write_csv(without_zone(rows), file.name, csv.WriteOptions(include_header=False))
            load = "FIELDS TERMINATED BY ',' OPTIONALLY ENCLOSED BY '\"'"
            cursor.execute(f"LOAD DATA LOCAL INFILE '{Path(file.name)}' INTO TABLE lots {load}")
    else:
        feed = pa.table(log.load_cdf(starting_version=after + 1))
        # Texts come as views, which pyarrow does not filter.
        views = {pa.string_view(): pa.string()}
        schema = pa.schema([one.with_type(views.get(one.type, one.type)) for one in feed.schema])
        new = pc.field("_change_type").isin(["insert", "update_postimage"])
        rows = without_zone(feed.cast(schema).filter(new).select(COLUMNS))
        cursor.executemany(REPLACE, list(zip(*rows.to_pydict().values(), strict=True)))
    sql.commit()
    sql.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
