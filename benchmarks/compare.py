"""Whether the sides of a benchmark came to the same figures."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable

VARIABLES = ("ph", "temperature", "voltage")
COUNTS = ("readings", "readings_outside", "joint_excursions", "variables_outside_max")
VALUES = ("mean", "std", "min", "max", "skew", "excursions", "distance_max", "excess")


def chains(folders: dict[str, Path]) -> None:
    """Readings, labels and features of all sides; raises AssertionError that says what differs."""
    names = ("readings", "lots", "lot_features")
    ours = {name: _read(folders["lake"], name) for name in names}
    for side, folder in folders.items():
        if side == "lake":
            continue
        theirs = {name: _read(folder, name) for name in names}
        for name in ("readings", "lots"):
            assert ours[name].num_rows == theirs[name].num_rows, f"{name} of {side}"
        for name in VARIABLES:
            _alike(ours["readings"], theirs["readings"], name, side, 0)
        mine, other = _sorted(ours["lots"]), _sorted(theirs["lots"])
        assert mine["label"].to_pylist() == other["label"].to_pylist(), f"labels of {side}"
        mine, other = _sorted(ours["lot_features"]), _sorted(theirs["lot_features"])
        for name in (*COUNTS, *(f"{v}_{s}" for v in VARIABLES for s in VALUES)):
            if not (name.endswith("_skew") and side == "duckdb"):  # DuckDB's has another formula.
                _alike(mine, other, name, side, 1e-8)
        for name in VARIABLES if f"{VARIABLES[0]}_q" in other.column_names else ():
            for at, quantile in enumerate(("q05", "q95")):
                theirs_q = np.array([both[at] for both in other[f"{name}_q"].to_pylist()])
                assert np.allclose(mine[f"{name}_{quantile}"], theirs_q), f"{name} of {side}"


def verdicts(folders: dict[str, Path], table: str, keys: list[str]) -> None:
    """Verdicts and probabilities of all sides; raises AssertionError that says what differs."""
    order = [(name, "ascending") for name in keys]
    ours = _read(folders["lake"], table).sort_by(order)
    for side, folder in folders.items():
        theirs = _read(folder, table).sort_by(order)
        for name in [*keys, "verdict"]:
            assert ours[name].to_pylist() == theirs[name].to_pylist(), f"{name} of {side}"
        _alike(ours, theirs, "probability", side, 1e-6)


def _read(folder: Path, table: str) -> pa.Table:
    """A table of a lake, or of a peer, which wrote Delta or Parquet."""
    inside = folder / "chromate" / table
    place = inside if inside.exists() else folder / table
    if place.exists():
        return DeltaTable(str(place)).to_pyarrow_table()
    return pq.read_table(f"{place}.parquet")


def _sorted(table: pa.Table) -> pa.Table:
    return table.sort_by([("day", "ascending"), ("lot", "ascending")])


def _alike(mine: pa.Table, other: pa.Table, name: str, side: str, most: float) -> None:
    one, two = (np.sort(table[name].to_numpy().astype(float)) for table in (mine, other))
    assert np.allclose(one, two, rtol=most, atol=most, equal_nan=True), f"{name} of {side}"
