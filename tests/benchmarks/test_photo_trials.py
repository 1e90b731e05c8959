"""What the photo benchmarks alter and choose: the part, the light, and the known defects."""

from datetime import date
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from benchmarks import photo_known, photo_light
from ml.data.pictures import PictureFrame

pytestmark = pytest.mark.heavy


def _photo() -> tuple[np.ndarray, np.ndarray]:
    """A grey ring on a dark green ground with a red mark, and where the ring's disc is."""
    image = Image.new("RGB", (240, 200), (10, 60, 20))
    draw = ImageDraw.Draw(image)
    draw.rectangle((5, 5, 40, 30), fill=(200, 20, 20))
    draw.ellipse((80, 50, 180, 150), fill=(170, 170, 172))
    draw.ellipse((120, 90, 140, 110), fill=(20, 20, 20))  # A dark hole belongs to the part.
    down, across = np.indices((200, 240))
    return np.asarray(image), (across - 130) ** 2 + (down - 100) ** 2 <= 50**2


def test_the_part_is_found_with_its_holes_and_without_the_ground() -> None:
    pixels, disc = _photo()
    found = photo_light.part_of(pixels)
    assert (found & disc).sum() / (found | disc).sum() > 0.9
    masked = photo_light.masked(pixels)
    assert (masked[:40, :60] == photo_light.GROUND).all()
    assert (masked[100, 90] == pixels[100, 90]).all()
    replaced = photo_light.replaced(pixels)
    assert (replaced[100, 90] == pixels[100, 90]).all()
    assert (replaced[:40, :60] != pixels[:40, :60]).any()
    assert (photo_light.without_part(pixels)[100, 130] == photo_light.GROUND).all()


def test_a_shift_stays_within_the_range() -> None:
    bright = photo_light.times(1.15)(np.full((2, 2, 3), 240, np.uint8))
    assert (bright == 255).all()
    warm = photo_light.SHIFTS["warmer"](np.full((2, 2, 3), 100, np.uint8))
    assert warm[0, 0].tolist() == [108, 100, 92]


def _frame(groups: list[str], labels: list[int]) -> PictureFrame:
    items = tuple(f"p{at:02}" for at in range(len(groups)))
    days = (date(2026, 1, 1),) * len(items)
    y = np.array(labels, np.int64)
    return PictureFrame({}, items, y, tuple(groups), days, (), len(items), 8, 8)


@pytest.mark.parametrize(("count", "tiles"), [(0, 0), (1, 1), (3, 3), (4, 3), (9, 3)])
def test_known_defects_come_from_as_many_groups_as_there_are(count: int, tiles: int) -> None:
    groups = ["a", "a", "a", "b", "b", "c", "x", "y", "y"]
    frame = _frame(groups, [1] * 6 + [0] * 3)
    some = photo_known.with_some(frame, np.arange(9), count, seed=1)
    bad = [at for at in some if frame.labels[at] == 1]
    assert len(bad) == min(count, 6) and {6, 7, 8} <= set(some.tolist())
    assert len({groups[at] for at in bad}) == tiles


def test_corrected_labels_replace_those_of_the_plant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(Path(photo_known.__file__).parent)  # As a script has it.
    import photo_maps

    file = tmp_path / "corrected.csv"
    file.write_text("name,label,seen\np1.png,bad,crack\n", "utf-8")
    frame = _frame(["a", "b"], [0, 0])
    frame = PictureFrame(**{**vars(frame), "names": (("p0.png",), ("p1.png",))})
    assert photo_maps.corrected(frame, file).labels.tolist() == [0, 1]
