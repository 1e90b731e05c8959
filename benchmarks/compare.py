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
    ours = {name: _delta(folders["lake"] / "chromate" / name) for name in ("readings", "lots")}
    ours["lot_features"] = _delta(folders["lake"] / "chromate" / "lot_features")
    for side, folder in folders.items():
        if side == "lake":
            continue
        read = _delta if side == "spark" else lambda path: pq.read_table(f"{path}.parquet")
        theirs = {name: read(folder / name) for name in ours}
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
        for name in VARIABLES:
            for at, quantile in enumerate(("q05", "q95")):
                theirs_q = np.array([both[at] for both in other[f"{name}_q"].to_pylist()])
                assert np.allclose(mine[f"{name}_{quantile}"], theirs_q), f"{name} of {side}"


def _delta(folder: Path) -> pa.Table:
    return DeltaTable(str(folder)).to_pyarrow_table()


def _sorted(table: pa.Table) -> pa.Table:
    return table.sort_by([("day", "ascending"), ("lot", "ascending")])


def _alike(mine: pa.Table, other: pa.Table, name: str, side: str, most: float) -> None:
    one, two = (np.sort(table[name].to_numpy().astype(float)) for table in (mine, other))
    assert np.allclose(one, two, rtol=most, atol=most, equal_nan=True), f"{name} of {side}"
