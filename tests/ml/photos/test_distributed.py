"""Several processes train what one would: the same batches, divided; gradients the same."""

import socket
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from pyspark.sql import SparkSession

from lakehouse.errors import UsageError
from ml.data.pictures import PictureFrame, picture_frame
from ml.photos.distributed import fit_cnn_together
from ml.photos.epochs import Together
from ml.photos.training import fit_cnn
from tests.ml.photo_lake import photo_lake
from tests.ml.photo_training import QUICK, keep_pass, one_of_two

pytestmark = pytest.mark.heavy

TRAIN, VALIDATE = np.arange(0, 15), np.arange(15, 24)
RECIPE = replace(QUICK, epochs=1, batch=15, dropout=0.0)


@pytest.fixture(autouse=True)
def tests_are_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]), prepend=":")


@pytest.fixture
def frame(tmp_path: Path) -> PictureFrame:
    return picture_frame(photo_lake(tmp_path / "lake"))


def test_a_step_of_two_processes_is_the_step_of_one(frame: PictureFrame, tmp_path: Path) -> None:
    """The processes are torch's own; how Spark starts them, the next test shows."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    what = (RECIPE, frame, TRAIN, VALIDATE, tmp_path / "share")
    torch.multiprocessing.spawn(one_of_two, (port, what), nprocs=2)
    keep_pass(RECIPE, frame, TRAIN, VALIDATE, Together(), tmp_path / "whole")
    first, second, whole = (
        torch.load(tmp_path / name, weights_only=True) for name in ("share-0", "share-1", "whole-0")
    )
    for one, other, both in zip(first["batches"], second["batches"], whole["batches"], strict=True):
        assert one and other and not set(one) & set(other)
        assert set(one) | set(other) == set(both)
    for name, gradient in whole["gradients"].items():
        torch.testing.assert_close(first["gradients"][name], gradient, atol=1e-5, rtol=1e-3)
        assert torch.equal(first["gradients"][name], second["gradients"][name])
    for name, value in whole["statistics"].items():
        torch.testing.assert_close(first["statistics"][name], value, atol=1e-5, rtol=1e-3)
    assert first["loss"] == pytest.approx(whole["loss"], rel=1e-4)


def test_two_processes_fit_what_one_fits(
    spark: SparkSession, frame: PictureFrame, tmp_path: Path
) -> None:
    recipe = replace(
        RECIPE, epochs=2, batch=7, processes=2
    )  # The last batch has one picture: a share is empty.
    checkpoint = tmp_path / "cnn.pt"
    two = fit_cnn_together(recipe, frame, TRAIN, VALIDATE, checkpoint=checkpoint)
    one = fit_cnn(recipe, frame, TRAIN, VALIDATE)
    assert checkpoint.is_file() and len(two.history) == 2
    for ours, theirs in zip(two.history, one.history, strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=0.02)
    difference = two.predict(frame, VALIDATE) - one.predict(frame, VALIDATE)
    assert np.abs(difference).max() < 0.05


def test_one_process_is_not_several(frame: PictureFrame) -> None:
    with pytest.raises(UsageError, match="needs 2 or more processes"):
        fit_cnn_together(RECIPE, frame, TRAIN, VALIDATE)
