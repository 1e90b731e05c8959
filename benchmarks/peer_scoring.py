"""Verdicts as a person would write them: parquet, ONNX Runtime, parquet.

peer_scoring.py lots|photos LAKE MODEL OUT: it reads the folder of lot_features or of pictures below
LAKE, all its files, and writes keys, probabilities and verdicts to OUT.parquet.
"""

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from numpy.typing import NDArray

Card = dict[str, Any]

AT_ONCE = 16
"""Pictures. More take more memory and are no faster."""


def verdicts(keys: dict[str, pa.ChunkedArray], p: NDArray[np.float32], card: Card) -> pa.Table:
    """Good below the one threshold, bad from the other on, else a person looks."""
    low, high = card["thresholds"]["low"], card["thresholds"]["high"]
    verdict = np.where(p < low, "good", np.where(p >= high, "bad", "needs_human"))
    return pa.table({**keys, "probability": p.astype(float), "verdict": verdict})


def lots(folder: Path, model: onnxruntime.InferenceSession, card: Card) -> pa.Table:
    """Features lie in the table already, in the model's order, behind four other columns."""
    rows = ds.dataset(folder / "lot_features").to_table()
    return lot_verdicts(rows, model, card)


def lot_verdicts(rows: pa.Table, model: onnxruntime.InferenceSession, card: Card) -> pa.Table:
    """Of lots with the model's features, in its order, behind three other columns."""
    columns = [rows[name].to_numpy() for name in rows.column_names[3:]]
    features = np.nan_to_num(np.column_stack(columns).astype(np.float32))
    (p,) = model.run(["probabilities"], {"features": features})
    return verdicts({"day": rows["day"], "lot": rows["lot"]}, p[:, 1], card)


def photos(folder: Path, model: onnxruntime.InferenceSession, card: Card) -> pa.Table:
    """Pictures lie there as tensors of the model's size."""
    columns = ["pixel_sha256", "tensor"]
    rows = ds.dataset(folder / "pictures").to_batches(columns=columns, batch_size=AT_ONCE)
    return photo_verdicts(rows, model, card)


def photo_verdicts(
    rows: Iterable[pa.RecordBatch], model: onnxruntime.InferenceSession, card: Card
) -> pa.Table:
    """Of pictures with tensors of the model's size."""
    shape = (-1, card["height"], card["width"], 3)
    keys, found = [], []
    for batch in rows:
        tensors = [np.frombuffer(one.as_buffer(), np.uint8) for one in batch["tensor"]]
        (p,) = model.run(["probability"], {"pictures": np.stack(tensors).reshape(shape)})
        keys.append(batch["pixel_sha256"])
        found.append(p)
    return verdicts({"pixel_sha256": pa.chunked_array(keys)}, np.concatenate(found), card)


def opened(model: str) -> tuple[onnxruntime.InferenceSession, Card]:
    """The model, and its card."""
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    return session, json.loads(session.get_modelmeta().custom_metadata_map["platelake"])


def main(kind: str, lake: str, model: str, out: str) -> None:
    """All of the lake's lots or pictures."""
    session, card = opened(model)
    found = {"lots": lots, "photos": photos}[kind](Path(lake), session, card)
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(found, f"{out}.parquet")


if __name__ == "__main__":
    main(*sys.argv[1:])
