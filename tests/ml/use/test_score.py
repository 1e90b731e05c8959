"""Verdicts on all of the lake, by small models that are made here."""

import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from pyspark.sql import SparkSession
from structlog.testing import capture_logs

from lakehouse.delta.lake import Lake
from lakehouse.derive.bands import current_bands
from lakehouse.settings import Here
from lakehouse.stage import Stage
from lakehouse.statistics import Band
from lakehouse.tables.lot_features import lot_features
from lakehouse.tables.lot_verdicts import LOT_VERDICTS
from lakehouse.tables.lots import LOTS
from lakehouse.tables.photo_verdicts import PHOTO_VERDICTS
from lakehouse.tables.pictures import PICTURES
from ml.data.lots import feature_names, lot_frame, seconds_of
from ml.onnx import with_card
from ml.use import score
from ml.use.predictor import UNREADABLE, LotModel, PhotoModel
from ml.use.score import score_lots, score_photos
from tests.conftest import Chain
from tests.ml.photo_lake import SIDE, photo_lake
from tests.plant import sensor_lines, write_errors, write_sensor

OF_RUN = ["model_version", "model_sha256", "scored_at"]
THRESHOLDS = {"low": 0.4, "high": 0.6}


def file_of(inputs: Any, outputs: list[Any], nodes: list[Any], **values: Any) -> bytes:
    """An ONNX file of these nodes and constants."""
    constants = [numpy_helper.from_array(np.asarray(v), k) for k, v in values.items()]
    graph = helper.make_graph(nodes, "test", [inputs], outputs, constants)
    opsets = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    return bytes(model.SerializeToString())


def lot_model(stage: Stage, bands: Mapping[str, Band], version: int = 1) -> LotModel:
    """p = sigmoid of a mean over the features, which lies near 0."""
    variables = [variable.name for variable in stage.readings.variables]
    count = len(feature_names(variables))
    weights = np.linspace(-0.04, 0.03, count, dtype=np.float32)[:, None]
    content = file_of(
        helper.make_tensor_value_info("features", TensorProto.FLOAT, [None, count]),
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, 2])],
        [
            helper.make_node("MatMul", ["features", "weights"], ["logit"]),
            helper.make_node("Sigmoid", ["logit"], ["bad"]),
            helper.make_node("Sub", ["one", "bad"], ["good"]),
            helper.make_node("Concat", ["good", "bad"], ["probabilities"], axis=1),
        ],
        weights=weights,
        one=np.float32(1),
    )
    of_variables = {name: vars(band) for name, band in bands.items()}
    card = {"kind": "lots", "number": version, "variables": variables, "bands": of_variables}
    return LotModel(with_card(content, card | {"thresholds": THRESHOLDS}), "test-lots", version)


class Photos(PhotoModel):
    """Notes how many pictures were judged, and how many at the same time at most.

    Stops when it has judged `stop_after`, as a run that is killed.
    """

    stop_after = 1 << 30

    def __init__(self, content: bytes, name: str, version: int) -> None:
        super().__init__(content, name, version)
        self.lock = threading.Lock()
        self.evaluated = self.now = self.most = 0

    def probabilities(self, tensors: NDArray[np.uint8]) -> NDArray[np.float64]:
        """As the model's own."""
        with self.lock:
            if self.evaluated >= self.stop_after:
                raise KeyboardInterrupt
            self.evaluated += len(tensors)
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(0.005)
        found = super().probabilities(tensors)
        with self.lock:
            self.now -= 1
        return found


def photo_model(version: int = 1) -> Photos:
    """p = sigmoid of the mean brightness above 128."""
    content = file_of(
        helper.make_tensor_value_info("pictures", TensorProto.UINT8, [None, SIDE, SIDE, 3]),
        [
            helper.make_tensor_value_info("probability", TensorProto.FLOAT, [None]),
            helper.make_tensor_value_info("heat", TensorProto.FLOAT, [None, SIDE, SIDE]),
        ],
        [
            helper.make_node("Cast", ["pictures"], ["x"], to=TensorProto.FLOAT),
            helper.make_node("Sub", ["x", "grey"], ["y"]),
            helper.make_node("ReduceMean", ["y"], ["logit"], axes=[1, 2, 3], keepdims=0),
            helper.make_node("Sigmoid", ["logit"], ["probability"]),
            helper.make_node("ReduceMean", ["y"], ["heat"], axes=[3], keepdims=0),
        ],
        grey=np.float32(128),
    )
    card = {"kind": "photos", "number": version, "width": SIDE, "height": SIDE}
    return Photos(with_card(content, card | {"thresholds": THRESHOLDS}), "test-photos", version)


@pytest.fixture
def plant(chain: Chain) -> Chain:
    """Three days with features."""
    for day in (6, 7, 8):
        write_sensor(chain.landing, date(2021, 9, day), sensor_lines(level=day / 2))
    write_errors(chain.landing, {f"2021-09-0{day}": ["1"] for day in (6, 7, 8, 9)})
    chain("ingest_readings", "ingest_error_lists", "label", "features")
    return chain


def scored(lake: Lake, stage: Stage, model: LotModel) -> str:
    """Score the lots, and check every verdict by its readings; the table of the features."""
    with capture_logs() as lines:
        score_lots(lake, stage, model)
    rows = {
        (row["day"], row["lot"]): row
        for row in lake.rows(LOT_VERDICTS)
        if row["model_version"] == model.version
    }
    frame = lot_frame(lake, stage)
    keys = zip(frame.days, frame.lots, strict=True)
    expected = dict(zip(keys, model.predict(frame.values), strict=True))
    assert rows.keys() == expected.keys() and len(rows) >= 6
    assert len({row["probability"] for row in rows.values()}) > 2
    for key, verdict in expected.items():
        row = rows[key]
        assert row["probability"] == pytest.approx(verdict.probability, abs=1e-6)
        assert row["verdict"] == verdict.verdict
        assert (row["model_sha256"], row["low"], row["high"]) == (model.sha256, 0.4, 0.6)
        assert row["reason"] is None and row["scored_at"].tzinfo
    [table] = [line["table"] for line in lines if line["event"] == "features are taken"] or [""]
    return str(table)


def test_lots_are_judged_by_the_features_of_the_lake(plant: Chain, stage: Stage) -> None:
    lake = plant.lake()
    assert scored(lake, stage, lot_model(stage, current_bands(lake))) == "lot_features"


def test_a_model_with_bands_of_its_own_is_not_given_those_features(
    plant: Chain, stage: Stage
) -> None:
    lake = plant.lake()
    bands = current_bands(lake)
    first = next(iter(bands))
    other = bands | {first: replace(bands[first], width=0.1)}
    assert scored(lake, stage, lot_model(stage, other)) == ""
    plant("features", whole=True)  # A fit of the same readings: the same bands.
    assert scored(lake, stage, lot_model(stage, bands, 2)) == "lot_features"


def test_features_of_older_readings_are_not_taken(plant: Chain, stage: Stage) -> None:
    lake = plant.lake()
    model = lot_model(stage, current_bands(lake))
    write_sensor(plant.landing, date(2021, 9, 7), sensor_lines(level=1.5))
    write_sensor(plant.landing, date(2021, 9, 9), sensor_lines(level=2.5))
    plant("ingest_readings", "label")
    assert scored(lake, stage, model) == ""
    plant("features")
    again = lot_model(stage, current_bands(lake), 2)
    assert scored(lake, stage, again) == "lot_features"
    # Only what changed is judged again, by what the table then says of those days.
    write_sensor(plant.landing, date(2021, 9, 10), sensor_lines(level=2.0))
    write_errors(plant.landing, {f"2021-09-{day:02}": ["1"] for day in range(6, 11)})
    plant("ingest_readings", "ingest_error_lists", "label", "features")
    assert scored(lake, stage, again) == "lot_features"


def test_features_by_several_bands_are_not_taken(plant: Chain, stage: Stage) -> None:
    lake, table = plant.lake(), lot_features(stage)
    row = {**lake.rows(table)[0], "bands_id": "other"}
    lake.upsert_rows(table, [row], {"day": [row["day"]], "lot": [row["lot"]]})
    assert scored(lake, stage, lot_model(stage, current_bands(lake))) == ""


@pytest.mark.parametrize("width", [None, 0.1])
def test_a_lot_with_gaps_needs_a_person_by_either_features(
    plant: Chain, stage: Stage, width: float | None
) -> None:
    """Width 0.1: the lake has no features by these bands, so they are computed."""
    lake = plant.lake()
    bands = current_bands(lake)
    bands = {key: replace(one, width=width or one.width) for key, one in bands.items()}
    model = lot_model(stage, bands)
    names = feature_names(model.variables)
    free = {"low": dict.fromkeys(names, -1e9), "high": dict.fromkeys(names, 1e9)}
    took = seconds_of(lake.load(LOTS))
    known = free | {"still": dict.fromkeys(model.variables, 0.0), "longest": took.max() - 0.5}
    timed = LotModel(with_card(model.content, model.card | {"known": known}), "test-lots", 1)
    score_lots(lake, stage, timed)
    rows = {(row["day"], row["lot"]): row for row in lake.rows(LOT_VERDICTS)}
    slow = {(row["day"], row["lot"]) for row in lake.rows(LOTS) if seconds(row) >= took.max()}
    assert slow and rows.keys() == {(row["day"], row["lot"]) for row in lake.rows(LOTS)}
    for key, row in rows.items():
        assert ((row["reason"] or "").startswith("gaps: ")) == (key in slow)
        assert row["verdict"] == "needs_human" or key not in slow


def seconds(lot: Mapping[str, Any]) -> float:
    """From the first reading to the last."""
    return float((lot["ended_at"] - lot["started_at"]).total_seconds())


def test_pictures_are_judged_once_each(tmp_path: Path) -> None:
    lake, model = photo_lake(tmp_path), photo_model()
    broken = {**lake.rows(PICTURES)[0], "pixel_sha256": "broken", "tensor": b"\0" * 100}
    small = {**broken, "pixel_sha256": "small", "tensor_width": 8}
    lake.insert_rows(PICTURES, [broken, small])
    assert score_photos(lake, model) == 26
    assert (score_photos(lake, model), model.evaluated) == (0, 24)
    rows = {row["pixel_sha256"]: row for row in lake.rows(PHOTO_VERDICTS)}
    assert rows["broken"]["reason"] == "the tensor has 100 bytes; 3072 are needed"
    assert rows["small"]["reason"] == "the tensor has 8 x 32 pixels; the model takes 32 x 32"
    for name in ("broken", "small"):
        row = rows.pop(name)
        assert (row["verdict"], row["probability"]) == (UNREADABLE, None)
    tensors = {row["pixel_sha256"]: row["tensor"] for row in lake.rows(PICTURES)}
    for name, row in rows.items():
        pixels = np.frombuffer(tensors[name], np.uint8).astype(float)
        assert row["probability"] == pytest.approx(1 / (1 + np.exp(128 - pixels.mean())), abs=1e-5)
    assert {row["verdict"] for row in rows.values()} == {"good", "bad"}


def test_a_run_that_is_killed_keeps_its_verdicts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(score, "AT_ONCE", 3)
    monkeypatch.setattr(score, "KEPT_AT_ONCE", 5)
    lake, model = photo_lake(tmp_path), photo_model()
    model.stop_after = 16
    with pytest.raises(KeyboardInterrupt):
        score_photos(lake, model)
    kept = lake.count(PHOTO_VERDICTS)
    assert 6 <= kept <= 16
    again = photo_model()
    assert score_photos(lake, again) == again.evaluated == 24 - kept
    assert lake.count(PHOTO_VERDICTS) == 24
    # Another model under the same number replaces them, also if it is killed in between.
    card = {**again.card, "stage": "elsewhere"}
    other = Photos(with_card(again.content, card), again.name, again.version)
    other.stop_after = 16
    with pytest.raises(KeyboardInterrupt):
        score_photos(lake, other)
    assert models_of(lake) == {again.sha256, other.sha256}
    assert score_photos(lake, again) > 0
    assert models_of(lake) == {again.sha256}


def models_of(lake: Lake) -> set[str]:
    """Whose verdicts there are."""
    return {row["model_sha256"] for row in lake.rows(PHOTO_VERDICTS)}


def test_so_many_pictures_are_in_the_network_at_once_whatever_the_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 64)
    monkeypatch.setattr(score, "PIXELS_AT_ONCE", 3 * SIDE * SIDE)
    lake, model = photo_lake(tmp_path), photo_model()
    assert score_photos(lake, model) == 24
    assert model.most == 3


def test_by_spark_the_verdicts_are_the_same(
    spark: SparkSession, plant: Chain, stage: Stage, tmp_path: Path
) -> None:
    lake, pictures = plant.lake(), photo_lake(tmp_path / "pictures")
    model = lot_model(stage, current_bands(lake))
    score_lots(lake, stage, model)
    score_photos(pictures, photo_model())
    of_cluster = Lake(str(plant.lake_folder), "chromate", lambda: spark, here=Here(0, 0))
    by_spark = Lake(str(tmp_path / "pictures"), "chromate", lambda: spark, here=Here(0, 0))
    by_spark.local = False  # As if it were in HDFS.
    score_lots(of_cluster, stage, lot_model(stage, current_bands(lake), 2))
    opened = photo_model(2)
    score_photos(by_spark, PhotoModel(opened.content, opened.name, opened.version))
    for one, table in ((lake, LOT_VERDICTS), (pictures, PHOTO_VERDICTS)):
        order = [(name, "ascending") for name in table.key]
        rows = one.load(table).sort_by(order)
        first, second = (rows.filter(pc.field("model_version") == number) for number in (1, 2))
        assert first.num_rows
        assert first.drop(OF_RUN) == second.drop(OF_RUN)
