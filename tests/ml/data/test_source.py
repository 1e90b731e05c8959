"""A source of pictures: the same ones from memory and from the files."""

from pathlib import Path

import numpy as np
import pytest

from ml.data.pictures import picture_frame
from ml.data.source import Source, load
from tests.ml.photo_lake import photo_lake, tensor


@pytest.mark.parametrize("memory", [0, 1 << 30])
def test_a_source_gives_each_picture_its_own_pixels(tmp_path: Path, memory: int) -> None:
    frame = picture_frame(photo_lake(tmp_path, 23, files=3))
    indices = np.arange(1, 22)
    source = Source(frame, indices, memory, (1, 2))
    assert (source.memory is None) == (memory == 0)
    seen = []
    for tensors, at in source.batches(4, 9):
        for own, place in zip(tensors, at, strict=True):
            number = int(indices[place])
            np.testing.assert_array_equal(own, tensor(number, number % 2 == 1))
        seen += at.tolist()
    assert sorted(seen) == list(range(1, 21, 2))
    tensors, at = load(frame, indices, (1, 2))
    assert at.tolist() == sorted(seen) and len(tensors) == len(at)
