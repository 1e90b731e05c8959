"""The map over a photo: no colour below a threshold, and each colour one meaning."""

import base64
from dataclasses import replace

import numpy as np
import pytest

from serving.records.inspections import Inspection
from serving.verdicts.maps import BAD, UNSURE, as_png, coloured_map
from tests.serving.records.test_outbox import ONE

RISING = np.repeat(np.linspace(0, 1, 11, dtype=np.float32), 2).reshape(2, 11, order="F")


def of(heat: np.ndarray, own_scale: bool = False, **changes: float | str) -> Inspection:
    known = {"low": 0.25, "high": 0.5, **changes}
    png = base64.b64encode(as_png(heat, own_scale)).decode()
    return replace(ONE, heat=png, **known)  # type: ignore[arg-type]


def colours(one: Inspection) -> list[tuple[int, ...] | None]:
    """The colour at eleven places from left to right; None: clear."""
    picture = np.asarray(coloured_map(one))
    row = picture[picture.shape[0] // 2, np.linspace(17, picture.shape[1] - 18, 11, dtype=int)]
    return [tuple(map(int, place[:3])) if place[3] else None for place in row]


def test_a_good_photo_has_no_colour() -> None:
    assert colours(of(RISING, probability=0.2499)) == [None] * 11
    assert colours(of(np.ones((2, 11), np.float32), probability=0.1)) == [None] * 11


def test_a_place_has_a_colour_from_the_threshold_on() -> None:
    found = colours(of(RISING, probability=1.0))
    assert found[:2] == [None, None] and found[3:5] == [UNSURE] * 2 and found[6:] == [BAD] * 5
    unsure = colours(of(RISING, probability=0.4))
    assert unsure[:5] == [None] * 5 and unsure[8:] == [UNSURE] * 3


@pytest.mark.parametrize("probability", [0.1, 0.9])
def test_a_map_with_a_scale_of_its_own_says_itself_what_counts(probability: float) -> None:
    heat = np.where(RISING < 0.5, np.float32(0), RISING)
    one = of(heat, own_scale=True, probability=probability)
    assert one.own_scale and not of(heat).own_scale
    assert colours(one) == [None] * 5 + [BAD] * 6
    assert colours(of(np.zeros((2, 11), np.float32), own_scale=True)) == [None] * 11


def test_a_map_without_heat() -> None:
    assert colours(of(np.zeros((1, 1), np.float32), probability=0.9)) == [None] * 11
