"""JPEGs whose damage the decoder hides, and sound ones that look as if they were damaged."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lakehouse.errors import PhotoError
from lakehouse.files.jpeg import damage, parse
from lakehouse.files.photos import read_photo
from lakehouse.settings import Settings
from lakehouse.stage import load_stage

END = b"\xff\xd9"
WIDTH, HEIGHT = 320, 240


def outcome(content: bytes) -> str:
    """The rule that the photo breaks, or its format."""
    try:
        return read_photo(content, load_stage("chromate"), Settings()).format
    except PhotoError as error:
        return error.rule


def part(width: int = WIDTH, height: int = HEIGHT) -> Image.Image:
    """A part with light, edges and grain, in colours."""
    draw = np.random.default_rng(3)
    y, x = np.mgrid[:height, :width]
    light = 110 + 60 * np.sin(x / 37) + 40 * np.cos(y / 23)
    colours = np.stack([light, light * 0.8 + 20, light * 0.5 + (x // 40 + y // 40) % 2 * 60], -1)
    return Image.fromarray((colours + draw.normal(0, 9, colours.shape)).clip(0, 255).astype("u1"))


def jpeg(image: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", **{"quality": 85, **options})
    return file.getvalue()


FORMS: dict[str, dict[str, Any]] = {
    "usual": {},
    "fine": {"quality": 98, "subsampling": 0},
    "optimized": {"optimize": True},
    "restart markers": {"restart_marker_rows": 1},
    "many restart markers": {"restart_marker_blocks": 3},
    "progressive": {"progressive": True},
}
COLOURS = {"RGB": part(), "L": part().convert("L"), "CMYK": part().convert("CMYK")}
BASELINE = [name for name in FORMS if name != "progressive"]


def decodes(content: bytes) -> bool:
    """Whether Pillow alone sees nothing wrong."""
    try:
        Image.open(io.BytesIO(content)).load()
    except OSError:
        return False
    return True


@pytest.mark.parametrize("mode", COLOURS)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("share", [0.2, 0.4, 0.7, 0.95])
def test_a_cut_jpeg_with_an_end_marker_is_found(mode: str, form: str, share: float) -> None:
    content = jpeg(COLOURS[mode], **FORMS[form])
    cut = content[: int(len(content) * share)].rstrip(b"\xff") + END
    assert outcome(content) == "JPEG"
    assert outcome(cut) == "broken_image"


@pytest.mark.parametrize("mode", COLOURS)
@pytest.mark.parametrize("form", BASELINE)
@pytest.mark.parametrize("size", [300, 512, 4096])
def test_a_hole_of_zeros_is_found(mode: str, form: str, size: int) -> None:
    content = jpeg(COLOURS[mode], **FORMS[form])
    for at in range(3000, len(content) - size - 100, len(content) // 9):
        assert outcome(content[:at] + bytes(size) + content[at + size :]) == "broken_image"


@pytest.mark.parametrize("form", BASELINE)
def test_a_missing_middle_is_found(form: str) -> None:
    content = jpeg(part(), **FORMS[form])
    for at in range(3000, len(content) - 2200, len(content) // 5):
        assert outcome(content[:at] + content[at + 2000 :]) == "broken_image"


def test_the_decoder_alone_finds_none_of_it() -> None:
    content = jpeg(part())
    at = len(content) // 2
    holed = content[:at] + bytes(4096) + content[at + 4096 :]
    for damaged in (holed, content[:at] + END, content[:at] + content[at + 2000 :]):
        assert decodes(damaged)
        assert outcome(damaged) == "broken_image"


def test_data_of_another_file_are_found() -> None:
    """The part behind them goes on too long, or ends too soon."""
    content, other = jpeg(part()), jpeg(part(300, 300), quality=50)
    at = len(content) // 2
    mixed = content[:at] + other[5000:7000] + content[at + 500 :]
    assert outcome(mixed) == "broken_image"


def test_missing_restart_markers_are_found() -> None:
    content = jpeg(part(), restart_marker_rows=1)
    (scan,) = parse(content).scans
    assert len(scan.parts) == HEIGHT // 16
    # Eight parts of rows less: the numbers of the markers go on as if nothing had happened.
    cut = content[: scan.parts[2][0]] + content[scan.parts[10][0] :]
    assert outcome(cut) == "broken_image"
    one = content[: scan.parts[2][0]] + content[scan.parts[3][0] :]
    assert outcome(one) == "broken_image"


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("quality", [30, 75, 100])
def test_a_flat_half_is_no_damage(mode: str, form: str, quality: int) -> None:
    """A black, white or grey lower half has few data, or many zeros."""
    for value in (0, 60, 128, 255):
        image = COLOURS[mode].copy()
        flat = (value,) * len(image.getbands()) if mode != "L" else value
        image.paste(flat, (0, HEIGHT // 2, WIDTH, HEIGHT))
        assert outcome(jpeg(image, **{**FORMS[form], "quality": quality})) == "JPEG"


@pytest.mark.parametrize("size", [(2, 2), (8, 8), (17, 9), (33, 100), (640, 16)])
@pytest.mark.parametrize("form", FORMS)
def test_small_photos_are_no_damage(size: tuple[int, int], form: str) -> None:
    image = part(640, 480).crop((100, 100, 100 + size[0], 100 + size[1]))
    assert outcome(jpeg(image, **FORMS[form])) in ("JPEG", "blank")


def test_a_few_bytes_too_many_are_a_cameras_habit() -> None:
    content = jpeg(part())
    assert outcome(content[:-2] + b"\x55" * 16 + END) == "JPEG"
    assert outcome(content[:-2] + b"\x55" * 600 + END) == "broken_image"


def test_bombs_of_scans_and_markers_are_refused() -> None:
    content = jpeg(part(), progressive=True)
    (start, _), head = parse(content).scans[-1].parts[0], content.rindex(b"\xff\xda")
    scan = content[head:start] + b"\0"
    many = content[:-2] + scan * 100 + END
    with pytest.raises(PhotoError, match="more than 100 scans"):
        read_photo(many, load_stage("chromate"), Settings())
    content = jpeg(part(), restart_marker_blocks=1)
    (scan_of,) = parse(content).scans
    at = scan_of.parts[0][1]
    assert outcome(content[:at] + b"\xff\xd0" * 1_100_000 + content[at:]) == "broken_image"


def test_an_arithmetic_frame_is_not_checked() -> None:
    """The end of its data is coded in another way."""
    content = jpeg(part())
    assert damage(content[: len(content) // 2] + END)
    assert damage((content[: len(content) // 2] + END).replace(b"\xff\xc0", b"\xff\xc9", 1)) is None
