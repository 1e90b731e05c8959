"""A model file is opened once, and refused where it is none of platelake's."""

from typing import Any

import numpy as np
import pytest

from lakehouse.errors import PlatelakeError
from lakehouse.stage import Stage
from lakehouse.statistics import Band
from ml.onnx import with_card
from ml.use import predictor
from ml.use.predictor import LotModel, open_model
from tests.ml.use.test_score import lot_model


@pytest.fixture
def model(stage: Stage) -> LotModel:
    bands = {variable.name: Band(0, 1, 3) for variable in stage.readings.variables}
    return lot_model(stage, bands)


def test_a_file_is_opened_once(model: LotModel, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[bytes] = []
    session = predictor.session

    def counted(content: bytes) -> Any:
        opened.append(content)
        return session(content)

    monkeypatch.setattr(predictor, "session", counted)
    again = open_model(model.content, model.name, model.version)
    assert isinstance(again, LotModel) and opened == [model.content]
    features = np.zeros((1, model.session.get_inputs()[0].shape[1]), np.float32)
    assert again.probabilities(features) == model.probabilities(features)


def test_a_file_of_another_kind_is_refused(model: LotModel) -> None:
    content = with_card(model.content, model.card | {"kind": "plates"})
    with pytest.raises(PlatelakeError, match="model x version 3 is for 'plates', which is unknown"):
        open_model(content, "x", 3)
    with pytest.raises(PlatelakeError, match="is not an ONNX file that can be run"):
        open_model(b"not a model", "x", 3)
