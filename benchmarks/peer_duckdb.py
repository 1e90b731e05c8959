"""What a person would write in DuckDB for the same work: csv, labels, features, days, SQLite.

    python benchmarks/peer_duckdb.py LANDING FOLDER

No ledger, no quarantine with reasons, no exactly-once; its figures are compared with the lake's.
"""

import sqlite3
import sys
from pathlib import Path

import duckdb

VARIABLES = {"ph": "pH", "temperature": "Temp", "voltage": "Voltage"}
SCALE = 2 * 1.6448536269514722
WIDTH = 2.0

READ = r"""
CREATE TABLE readings AS
WITH cells AS (
  SELECT *, regexp_extract(Time, '^(오전|오후) (\d+):(\d+):([\d.]+)$', ['half', 'h', 'm', 's']) t,
    strptime(regexp_extract(filename, '(\d{4}\.\d\d\.\d\d)', 1), '%Y.%m.%d')::DATE AS day
  FROM read_csv($files, filename = true, header = true,
    columns = {'Index': 'BIGINT', 'Lot': 'VARCHAR', 'Time': 'VARCHAR', 'pH': 'DOUBLE',
               'Temp': 'DOUBLE', 'Voltage': 'DOUBLE'}))
SELECT day, Lot AS lot,
  day::TIMESTAMP - INTERVAL 9 HOUR + to_microseconds(((t.h::BIGINT % 12
    + CASE t.half WHEN '오후' THEN 12 ELSE 0 END) * 3600000000
    + t.m::BIGINT * 60000000 + round(t.s::DOUBLE * 1e6)::BIGINT)::BIGINT) AS measured_at,
  pH AS ph, Temp AS temperature, Voltage AS voltage
FROM cells
WHERE pH BETWEEN 0 AND 14 AND Temp BETWEEN 0 AND 100 AND Voltage BETWEEN 0 AND 50
QUALIFY row_number() OVER (PARTITION BY day, lot, measured_at) = 1
"""
LISTS = """
CREATE TABLE failed AS
SELECT DISTINCT column0::DATE AS day, unnest([column1, column2]) AS lot
FROM read_csv($file, header = false, skip = 1, all_varchar = true)
"""
LABELS = """
CREATE TABLE lots AS
SELECT r.day, r.lot, count(*) AS readings, min(measured_at) AS started_at,
  max(measured_at) AS ended_at,
  CASE WHEN any_value(f.lot) IS NOT NULL THEN 'failed' ELSE 'good' END AS label
FROM readings r LEFT JOIN failed f ON r.day = f.day AND r.lot = f.lot
GROUP BY r.day, r.lot
"""


def features(bands: dict[str, tuple[float, float]]) -> str:
    """All statistics of a lot, as the lake has them."""
    parts = []
    for name, (centre, scale) in bands.items():
        z = f"abs({name} - {centre!r}) / {scale!r}"
        parts += [
            f"avg({name}) AS {name}_mean",
            f"stddev_samp({name}) AS {name}_std",
            f"min({name}) AS {name}_min",
            f"max({name}) AS {name}_max",
            f"quantile_cont({name}, [0.05, 0.95]) AS {name}_q",
            f"skewness({name}) AS {name}_skew",
            f"count(*) FILTER ({z} > {WIDTH}) AS {name}_excursions",
            f"max({z}) AS {name}_distance_max",
            f"sum(greatest({z} - {WIDTH}, 0)) AS {name}_excess",
        ]
    outside = " + ".join(
        f"(abs({n} - {c!r}) / {s!r} > {WIDTH})::INT" for n, (c, s) in bands.items()
    )
    parts += [
        f"count(*) FILTER ({outside} >= 1) AS readings_outside",
        f"count(*) FILTER ({outside} >= 2) AS joint_excursions",
        f"max({outside}) AS variables_outside_max",
    ]
    select = f"SELECT day, lot, count(*) AS readings, {', '.join(parts)} FROM readings"
    return f"CREATE TABLE lot_features AS {select} GROUP BY day, lot"


def main(landing: Path, folder: Path) -> None:
    """Do the work; the results are parquet files and a SQLite file in the folder."""
    folder.mkdir(parents=True)
    db = duckdb.connect()
    db.execute(READ, {"files": str(landing / "sensor" / "*.csv")})
    db.execute(LISTS, {"file": str(landing / "Error Lot list.csv")})
    db.execute(LABELS)
    bands = {}
    for name in VARIABLES:
        found = db.execute(
            f"SELECT quantile_cont({name}, [0.05, 0.5, 0.95]) FROM readings"
        ).fetchone()
        assert found
        low, centre, high = found[0]
        bands[name] = (centre, (high - low) / SCALE)
    db.execute(features(bands))
    days = ", ".join(f"avg({n}), stddev_samp({n}), min({n}), max({n})" for n in VARIABLES)
    db.execute(f"CREATE TABLE days AS SELECT day, count(*), {days} FROM readings GROUP BY day")
    for table in ("readings", "lots", "lot_features", "days"):
        db.execute(f"COPY {table} TO '{folder}/{table}.parquet' (COMPRESSION zstd)")
    sql = sqlite3.connect(folder / "summaries.db")
    for table in ("lots", "days"):
        found = db.execute(f"SELECT * FROM {table}")
        names = [column[0] for column in found.description]
        rows = [tuple(str(value) for value in row) for row in found.fetchall()]
        sql.execute(f"CREATE TABLE {table} ({', '.join(f'[{name}]' for name in names)})")
        sql.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(names))})", rows)
    sql.commit()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
