"""Photos: read as a person sees them, or refused with the reason; nothing else comes out."""

import hashlib
import io
import json
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from imagehash import hex_to_hash
from PIL import Image, ImageDraw, ImageSequence
from PIL.PngImagePlugin import PngInfo

from lakehouse.files import photos
from lakehouse.files.photos import Photo, PhotoError, read_photo
from lakehouse.settings import Settings
from lakehouse.stage import Stage, load_stage

Array = np.ndarray[Any, np.dtype[Any]]

WIDTH, HEIGHT = 60, 40
ORIENTATION, TAKEN, OFFSET, EXIF_IFD = 0x0112, 0x9003, 0x9011, 0x8769


@cache
def stage_of(width: int, height: int) -> Stage:
    stage = load_stage("chromate")
    assert stage.photos is not None
    size = {"width": width, "height": height}
    return stage.model_copy(update={"photos": stage.photos.model_copy(update=size)})


def read(content: bytes, width: int = WIDTH, height: int = HEIGHT, **limits: Any) -> Photo:
    return read_photo(content, stage_of(width, height), Settings(**limits))


def seen(content: bytes) -> Array:
    """The pixels of a picture of the usual size: a tensor of that size is not resampled."""
    return read(content).tensor


def refusal(content: bytes, **limits: Any) -> tuple[str, str]:
    with pytest.raises(PhotoError) as error:
        read(content, **limits)
    return error.value.rule, str(error.value)


def outcome(content: bytes, **limits: Any) -> str:
    """The picture's identity, or the rule that it breaks."""
    try:
        return read(content, **limits).pixel_sha256
    except PhotoError as error:
        return error.rule


def picture(width: int = WIDTH, height: int = HEIGHT) -> Image.Image:
    """Drawn with 32 colours, no two quarters alike, without a symmetry."""
    x, y = np.meshgrid(np.linspace(0, 7.99, width), np.linspace(0, 3.99, height))
    across, down = x.astype(np.uint8), y.astype(np.uint8)
    image = Image.fromarray(np.stack([across * 36, down * 85, across * 20 + down * 30], -1))
    ImageDraw.Draw(image).rectangle((0, 0, width // 5, height // 3), fill=(0, 255, 0))
    return image


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(
    width: int, height: int, data: bytes, *extra: bytes, bits: int = 8, colour: int = 2
) -> bytes:
    """A PNG by hand; `data` are its rows with their filter bytes."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    body = chunk(b"IHDR", header) + b"".join(extra) + chunk(b"IDAT", zlib.compress(data))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


def difference(one: Array, other: Array) -> float:
    """Mean difference of two pictures' values."""
    return float(np.abs(one.astype(int) - other.astype(int)).mean())


RGB = picture()
PIXELS = np.asarray(RGB)
OPAQUE = RGB.copy()
OPAQUE.putalpha(255)


def test_a_photo_is_described_as_a_whole() -> None:
    content = saved(RGB, "PNG")
    photo = read(content, width=30, height=20)
    identity = b"60x40:" + PIXELS.tobytes()
    tensor = np.asarray(RGB.resize((30, 20), Image.Resampling.BILINEAR, reducing_gap=3.0))
    assert (photo.tensor.shape, photo.tensor.dtype) == ((20, 30, 3), np.dtype(np.uint8))
    assert np.array_equal(photo.tensor, tensor)
    assert {**vars(photo), "tensor": None, "phash": len(photo.phash)} == {
        "sha256": hashlib.sha256(content).hexdigest(),
        "pixel_sha256": hashlib.sha256(identity).hexdigest(),
        "phash": 16,
        "format": "PNG",
        "mode": "RGB",
        "width": 60,
        "height": 40,
        "taken_at": None,
        "note": None,
        "tensor": None,
    }


@pytest.mark.parametrize(
    ("content", "form", "mode"),
    [
        pytest.param(saved(OPAQUE, "PNG"), "PNG", "RGBA", id="RGBA, opaque"),
        pytest.param(saved(RGB, "PNG", compress_level=0), "PNG", "RGB", id="other compression"),
        pytest.param(
            saved(RGB.quantize(64, dither=Image.Dither.NONE), "PNG"), "PNG", "P", id="palette"
        ),
        pytest.param(
            saved(RGB.quantize(64, dither=Image.Dither.NONE), "GIF"), "GIF", "P", id="GIF"
        ),
        pytest.param(saved(RGB, "BMP"), "BMP", "RGB", id="BMP"),
        pytest.param(saved(RGB, "TIFF"), "TIFF", "RGB", id="TIFF"),
        pytest.param(saved(RGB, "TIFF", compression="tiff_lzw"), "TIFF", "RGB", id="TIFF, LZW"),
        pytest.param(saved(RGB, "WEBP", lossless=True), "WEBP", "RGB", id="WebP"),
    ],
)
def test_one_picture_is_one_picture_however_it_is_stored(
    content: bytes, form: str, mode: str
) -> None:
    reference, photo = read(saved(RGB, "PNG")), read(content)
    assert np.array_equal(photo.tensor, PIXELS)
    assert (photo.pixel_sha256, photo.phash) == (reference.pixel_sha256, reference.phash)
    assert (photo.format, photo.mode) == (form, mode)
    assert photo.sha256 == hashlib.sha256(content).hexdigest() != reference.sha256


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(RGB.transpose(Image.Transpose.FLIP_LEFT_RIGHT), id="mirrored"),
        pytest.param(RGB.resize((61, 40)), id="another size"),
        pytest.param(
            Image.frombytes("RGB", (HEIGHT, WIDTH), RGB.tobytes()), id="same bytes, other shape"
        ),
        pytest.param(
            Image.fromarray(PIXELS ^ (np.arange(7200).reshape(40, 60, 3) == 99)), id="bit"
        ),
    ],
)
def test_another_picture_is_another_picture(other: Image.Image) -> None:
    assert read(saved(other, "PNG")).pixel_sha256 != read(saved(RGB, "PNG")).pixel_sha256


def test_jpeg_is_read_as_it_is_drawn() -> None:
    photo = read(saved(RGB, "JPEG", quality=95, subsampling=0))
    assert (photo.format, photo.mode) == ("JPEG", "RGB")
    assert difference(photo.tensor, PIXELS) < 3


GREY = RGB.convert("L")
ON_GREY = np.repeat(np.asarray(GREY)[..., None], 3, -1)
BLACK_WHITE = GREY.point(lambda value: 255 * (value > 60), "1")
SHADES = np.arange(WIDTH * HEIGHT, dtype=np.uint16).reshape(HEIGHT, WIDTH) * 27
ON_SHADES = np.repeat((SHADES >> 8).astype(np.uint8)[..., None], 3, -1)
WIDE = np.stack([SHADES, SHADES[::-1], SHADES // 2], -1)


def rows_of(pixels: Array) -> bytes:
    """The rows of a PNG, each behind the filter byte for none."""
    return b"".join(b"\0" + row.tobytes() for row in pixels)


@pytest.mark.parametrize(
    ("content", "mode", "expected"),
    [
        pytest.param(saved(GREY, "PNG"), "L", ON_GREY, id="grey"),
        pytest.param(
            saved(BLACK_WHITE, "PNG"), "1", np.asarray(BLACK_WHITE.convert("RGB")), id="1 bit"
        ),
        pytest.param(saved(Image.fromarray(SHADES), "PNG"), "I;16", ON_SHADES, id="16 bits grey"),
        pytest.param(
            saved(Image.fromarray(SHADES), "TIFF"), "I;16", ON_SHADES, id="16 bits grey, TIFF"
        ),
        pytest.param(
            png(WIDTH, HEIGHT, rows_of(WIDE.astype(">u2")), bits=16),
            "RGB",
            (WIDE >> 8).astype(np.uint8),
            id="16 bits RGB",
        ),
        pytest.param(
            saved(RGB.convert("YCbCr"), "TIFF"),
            "YCbCr",
            np.asarray(RGB.convert("YCbCr").convert("RGB")),
            id="YCbCr",
        ),
    ],
)
def test_any_depth_becomes_8_bits_rgb(content: bytes, mode: str, expected: Array) -> None:
    photo = read(content)
    assert photo.mode == mode
    assert np.array_equal(photo.tensor, expected)


@pytest.mark.parametrize("mode", ["I", "F"])
def test_pixels_of_32_bits_are_refused(mode: str) -> None:
    assert refusal(saved(GREY.convert(mode), "TIFF")) == (
        "pixel_type",
        "pixels of 32 bits do not say which value is white",
    )


@pytest.mark.parametrize("form", ["JPEG", "TIFF"])
def test_cmyk_has_the_colours_of_rgb(form: str) -> None:
    photo = read(saved(RGB.convert("CMYK"), form, quality=95))
    assert photo.mode == "CMYK"
    assert difference(photo.tensor, PIXELS) < 6


def test_adobes_inverted_cmyk_has_the_colours_of_rgb() -> None:
    content = saved(RGB.convert("CMYK"), "JPEG", quality=95)
    assert b"Adobe" in content
    ink = np.asarray(Image.open(io.BytesIO(content)))
    assert difference(ink, np.asarray(RGB.convert("CMYK"))) < 6
    assert difference(seen(content), PIXELS) < 6


def with_alpha(alpha: Array, mode: str = "RGBA") -> Image.Image:
    image = RGB.convert(mode)
    image.putalpha(Image.fromarray(alpha))
    return image


def on_white(colours: Array, alpha: Array) -> Array:
    share = alpha[..., None] / 255
    return np.rint(colours * share + 255 * (1 - share)).astype(np.uint8)


ALPHA = np.linspace(0, 255, WIDTH * HEIGHT).astype(np.uint8).reshape(HEIGHT, WIDTH)
PALETTE = RGB.quantize(64, dither=Image.Dither.NONE)
INDEX = np.asarray(PALETTE)
CLEAR = np.where(INDEX[30, 50] == INDEX, 0, 255).astype(np.uint8)
GREEN = np.where((PIXELS == (0, 255, 0)).all(-1), 0, 255).astype(np.uint8)
DARK = np.where(np.asarray(GREY) == GREY.getpixel((0, 0)), 0, 255).astype(np.uint8)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(saved(with_alpha(ALPHA), "PNG"), on_white(PIXELS, ALPHA), id="RGBA"),
        pytest.param(
            saved(with_alpha(ALPHA), "WEBP", lossless=True, exact=True),
            on_white(PIXELS, ALPHA),
            id="RGBA, WebP",
        ),
        pytest.param(saved(with_alpha(ALPHA), "TIFF"), on_white(PIXELS, ALPHA), id="RGBA, TIFF"),
        pytest.param(saved(with_alpha(ALPHA, "LA"), "PNG"), on_white(ON_GREY, ALPHA), id="LA"),
        pytest.param(
            saved(PALETTE, "PNG", transparency=int(INDEX[30, 50])),
            on_white(PIXELS, CLEAR),
            id="palette, one clear",
        ),
        pytest.param(
            saved(PALETTE, "PNG", transparency=bytes(range(0, 256, 4))),
            on_white(PIXELS, INDEX * 4),
            id="palette, an alpha each",
        ),
        pytest.param(
            saved(PALETTE, "GIF", transparency=int(INDEX[30, 50])),
            on_white(PIXELS, CLEAR),
            id="GIF, one clear",
        ),
        pytest.param(
            saved(RGB, "PNG", transparency=(0, 255, 0)), on_white(PIXELS, GREEN), id="RGB, key"
        ),
        pytest.param(
            saved(GREY, "PNG", transparency=GREY.getpixel((0, 0))),
            on_white(ON_GREY, DARK),
            id="grey, key",
        ),
        pytest.param(
            saved(BLACK_WHITE, "PNG", transparency=1),
            np.asarray(BLACK_WHITE.convert("RGB")),
            id="1 bit, white is clear",
        ),
        pytest.param(
            png(
                WIDTH,
                HEIGHT,
                rows_of(SHADES.astype(">u2")),
                chunk(b"tRNS", b"\0\0"),
                bits=16,
                colour=0,
            ),
            np.where(SHADES[..., None] == 0, 255, ON_SHADES),
            id="16 bits grey, key",
        ),
    ],
)
def test_what_is_transparent_is_seen_on_white(content: bytes, expected: Array) -> None:
    assert np.abs(seen(content).astype(int) - expected.astype(int)).max() <= 1


STORED_AS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""How a camera that was held so stores an upright picture."""


def exif_of(values: dict[int, Any], taken: dict[int, Any] | None = None) -> Image.Exif:
    exif = Image.Exif()
    for tag, value in values.items():
        exif[tag] = value
    if taken:
        exif[EXIF_IFD] = taken
    return exif


@pytest.mark.parametrize("orientation", STORED_AS)
@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("JPEG", {"quality": 95, "subsampling": 0}),
    ],
)
def test_every_orientation_is_turned_upright(
    orientation: int, form: str, options: dict[str, Any]
) -> None:
    turn = STORED_AS[orientation]
    stored = RGB if turn is None else RGB.transpose(turn)
    photo = read(saved(stored, form, exif=exif_of({ORIENTATION: orientation}), **options))
    assert (photo.width, photo.height) == (WIDTH, HEIGHT)
    assert difference(photo.tensor, PIXELS) < (3 if form == "JPEG" else 0.001)


def test_a_turned_copy_is_the_same_picture() -> None:
    stored = RGB.transpose(Image.Transpose.ROTATE_90)
    turned = read(saved(stored, "PNG", exif=exif_of({ORIENTATION: 6})))
    assert turned.pixel_sha256 == read(saved(RGB, "PNG")).pixel_sha256


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_is_none_turns_nothing(orientation: int) -> None:
    content = saved(RGB, "PNG", exif=exif_of({ORIENTATION: orientation}))
    assert np.array_equal(seen(content), PIXELS)


EXIF_HEAD = b"Exif\0\0"


@pytest.mark.parametrize(
    "exif",
    [
        pytest.param(EXIF_HEAD, id="nothing"),
        pytest.param(EXIF_HEAD + b"\xff" * 50, id="noise"),
        pytest.param(EXIF_HEAD + b"II*\0\x08\0\0\0" + b"\xff" * 60, id="a directory of noise"),
        pytest.param(EXIF_HEAD + b"MM\0*\0\0\0\x08\0\x01\x87\x69\0\x04", id="cut"),
        pytest.param(
            EXIF_HEAD + b"II*\0\x08\0\0\0\1\0\x69\x87\4\0\1\0\0\0\x08\0\0\0\0\0\0\0",
            id="a directory within itself",
        ),
        pytest.param(
            EXIF_HEAD + b"II*\0\x08\0\0\0\1\0\x12\x01\2\0\4\0\0\0six\0\0\0\0\0",
            id="a text as orientation",
        ),
    ],
)
def test_nonsense_in_exif_is_no_fault_of_the_picture(
    exif: bytes, recwarn: pytest.WarningsRecorder
) -> None:
    photo = read(saved(RGB, "JPEG", quality=95, subsampling=0, exif=exif))
    assert difference(photo.tensor, PIXELS) < 3
    assert photo.taken_at is None
    photo = read(png(WIDTH, HEIGHT, rows_of(PIXELS), chunk(b"eXIf", exif[len(EXIF_HEAD) :])))
    assert np.array_equal(photo.tensor, PIXELS)
    assert photo.taken_at is None
    assert list(recwarn) == []


@pytest.mark.parametrize(
    ("taken", "expected"),
    [
        pytest.param({TAKEN: "2021:09:06 16:27:17"}, (2021, 9, 6, 7, 27, 17), id="plant's time"),
        pytest.param(
            {TAKEN: "2021:09:06 16:27:17\0 ", OFFSET: " \0"},
            (2021, 9, 6, 7, 27, 17),
            id="padding",
        ),
        pytest.param(
            {TAKEN: "2021:09:06 16:27:17", OFFSET: "+02:00"},
            (2021, 9, 6, 14, 27, 17),
            id="offset",
        ),
        pytest.param(
            {TAKEN: "2021:09:06 16:27:17", OFFSET: "-09:30"}, (2021, 9, 7, 1, 57, 17), id="west"
        ),
        pytest.param({TAKEN: "2021:09:06 16:27:17", OFFSET: "Z"}, (2021, 9, 6, 16, 27, 17), id="Z"),
        pytest.param(
            {TAKEN: "2021:09:06 16:27:17", OFFSET: "   :  "},
            (2021, 9, 6, 7, 27, 17),
            id="an offset left blank",
        ),
        pytest.param(
            {TAKEN: "2021:09:06 16:27:17", OFFSET: "Seoul"},
            (2021, 9, 6, 7, 27, 17),
            id="an offset that is none",
        ),
        pytest.param({}, None, id="none"),
        pytest.param({OFFSET: "+09:00"}, None, id="offset alone"),
        pytest.param({TAKEN: "    :  :     :  :  "}, None, id="left blank"),
        pytest.param({TAKEN: "0000:00:00 00:00:00"}, None, id="zeros"),
        pytest.param({TAKEN: "2021:02:30 00:00:00"}, None, id="no such day"),
        pytest.param({TAKEN: "2021-09-06 16:27:17"}, None, id="another form"),
        pytest.param({TAKEN: 20210906}, None, id="a number"),
        pytest.param({TAKEN: "0001:01:01 00:00:00"}, None, id="year 1"),
        pytest.param(
            {TAKEN: "2021:09:06 16:27:17", OFFSET: "+02:00 \0"},
            (2021, 9, 6, 14, 27, 17),
            id="a padded offset",
        ),
        pytest.param({TAKEN: "1970:01:01 00:00:00"}, None, id="a clock never set"),
        pytest.param({TAKEN: "1989:12:31 23:59:59"}, None, id="before digital cameras"),
        pytest.param({TAKEN: "1990:01:01 12:00:00"}, (1990, 1, 1, 3, 0, 0), id="the first year"),
        pytest.param({TAKEN: "2100:12:31 12:00:00"}, None, id="the future"),
        pytest.param({TAKEN: "9999:12:31 23:59:59", OFFSET: "-09:00"}, None, id="year 9999"),
    ],
)
def test_time_of_capture(taken: dict[int, Any], expected: tuple[int, ...] | None) -> None:
    moment = datetime(*expected, tzinfo=UTC) if expected else None  # type: ignore[misc, arg-type]
    for form in ("JPEG", "PNG"):
        photo = read(saved(RGB, form, exif=exif_of({}, taken)))
        assert (photo.taken_at, photo.taken_at and photo.taken_at.tzinfo) == (
            moment,
            moment and UTC,
        )


NOT_AN_IMAGE = (
    "not_an_image",
    "the content is not an image in PNG, JPEG, BMP, GIF, TIFF, WEBP, AVIF, HEIC",
)
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(b"", ("empty_file", "the file has no bytes"), id="0 bytes"),
        pytest.param(b"\0" * 10_000, NOT_AN_IMAGE, id="zeros"),
        pytest.param("Lot,Time,pH\n1,오후,2\n".encode(), NOT_AN_IMAGE, id="text"),
        pytest.param(b"<svg xmlns='http://www.w3.org/2000/svg'/>", NOT_AN_IMAGE, id="SVG"),
        pytest.param(b"%PDF-1.4\n%%EOF", NOT_AN_IMAGE, id="PDF"),
        pytest.param(EPS, NOT_AN_IMAGE, id="PostScript is not run"),
        pytest.param(saved(RGB, "PPM"), NOT_AN_IMAGE, id="a format no camera has"),
        pytest.param(saved(RGB, "ICO", sizes=[(16, 16)]), NOT_AN_IMAGE, id="icon"),
        pytest.param(saved(RGB, "PNG")[:12], NOT_AN_IMAGE, id="cut in the header"),
    ],
)
def test_what_is_no_photo_is_refused(content: bytes, expected: tuple[str, str]) -> None:
    assert refusal(content) == expected


FRAMES = [RGB, RGB.transpose(Image.Transpose.ROTATE_180)]


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP", "TIFF"])
def test_several_frames_are_refused(form: str) -> None:
    content = saved(FRAMES[0], form, save_all=True, append_images=FRAMES[1:])
    assert len(list(ImageSequence.Iterator(Image.open(io.BytesIO(content))))) == 2
    assert refusal(content) == (
        "animated",
        "the image has several frames; which one shows the part?",
    )


def test_the_first_picture_of_a_cameras_mpo_is_the_photo() -> None:
    options = {"quality": 95, "subsampling": 0}
    content = saved(FRAMES[0], "MPO", save_all=True, append_images=FRAMES[1:], **options)
    photo = read(content)
    assert photo.format == "MPO"
    assert difference(photo.tensor, PIXELS) < 3


NOISE = np.random.default_rng(7).integers(-12, 12, PIXELS.shape)
GRAINY = Image.fromarray((PIXELS + NOISE).clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize(
    ("form", "options"),
    [
        ("PNG", {}),
        ("JPEG", {"quality": 90}),
        ("JPEG", {"quality": 90, "progressive": True}),
        ("JPEG", {"quality": 90, "restart_marker_blocks": 2}),
        ("BMP", {}),
        ("GIF", {}),
        ("TIFF", {}),
        ("TIFF", {"compression": "tiff_lzw"}),
        ("WEBP", {}),
    ],
)
@pytest.mark.parametrize("fill", [b"", b"\0", b"\xff"], ids=["cut", "zeros", "ones"])
def test_a_cut_photo_is_never_half_a_photo(form: str, options: dict[str, Any], fill: bytes) -> None:
    if fill and form not in ("PNG", "JPEG"):
        return  # Nothing in those formats says that the end is not the picture's own.
    content = saved(GRAINY, form, **options)
    whole = read(content).pixel_sha256
    lengths = {*range(0, len(content), max(1, len(content) // 80)), len(content) - 1}
    cuts = {length: content[:length] + fill * (len(content) - length) for length in lengths}
    found = {length: outcome(cut) for length, cut in cuts.items()}
    allowed = {whole, "empty_file", "not_an_image", "broken_image"}
    assert {length: what for length, what in found.items() if what not in allowed} == {}
    assert {"broken_image", "not_an_image"} & set(found.values())


def test_a_jpeg_without_its_end_says_so() -> None:
    assert refusal(saved(RGB, "JPEG")[:-2]) == (
        "broken_image",
        "the image is cut: its end is missing",
    )


@pytest.mark.parametrize("behind", [b"\0" * 99, b"trailer \xff\xd8\xff of a camera"])
def test_what_stands_behind_a_jpegs_end_does_not_matter(behind: bytes) -> None:
    content = saved(RGB, "JPEG", exif=exif_of({}, {TAKEN: "2021:09:06 16:27:17"}))
    assert read(content + behind).pixel_sha256 == read(content).pixel_sha256


def test_an_end_within_a_jpegs_preview_is_not_its_end() -> None:
    preview = saved(RGB.resize((9, 6)), "JPEG")
    content = saved(RGB, "JPEG", comment=preview, quality=95, subsampling=0)
    assert difference(seen(content), PIXELS) < 3
    assert refusal(content[:-2])[1] == "the image is cut: its end is missing"


def test_a_flipped_bit_of_a_png_is_found() -> None:
    content = saved(GRAINY, "PNG")
    found = set()
    for at in range(50, len(content) - 12, 71):
        damaged = bytearray(content)
        damaged[at] ^= 0x10
        found.add(outcome(bytes(damaged)))
    assert found == {"broken_image"}


def test_limits_of_pixels() -> None:
    content = saved(RGB, "PNG")
    assert read(content, max_photo_pixels=2400).width == WIDTH
    assert refusal(content, max_photo_pixels=2399) == (
        "too_many_pixels",
        "60 x 40 pixels; at most 2399 are read",
    )


def test_the_setting_rules_where_the_decoder_has_a_limit_of_its_own() -> None:
    """Decoding so many pixels takes gigabytes, so only the header is looked at."""
    content = png(14_000, 13_000, FEW_ROWS)
    assert refusal(content)[1] == "14000 x 13000 pixels; at most 50000000 are read"
    settings = Settings(max_photo_pixels=182_000_000)
    assert photos._opened(content, settings).size == (14_000, 13_000)


def webp_of(width: int, height: int) -> bytes:
    """A WebP whose header says that size."""
    content = bytearray(saved(Image.new("RGB", (16, 4)), "WEBP", lossless=True))
    flags = int.from_bytes(content[21:25], "little") >> 28 << 28
    content[21:25] = (flags | (width - 1) | (height - 1) << 14).to_bytes(4, "little")
    return bytes(content)


def gif_of(width: int, height: int) -> bytes:
    content = bytearray(saved(Image.new("P", (4, 4)), "GIF"))
    content[6:10] = struct.pack("<HH", width, height)
    return bytes(content)


def jpeg_of(width: int, height: int) -> bytes:
    content = bytearray(saved(RGB, "JPEG"))
    at = content.index(b"\xff\xc0") + 5
    content[at : at + 4] = struct.pack(">HH", height, width)
    return bytes(content)


def bmp_of(width: int, height: int) -> bytes:
    content = bytearray(saved(RGB, "BMP"))
    content[18:26] = struct.pack("<ii", width, height)
    return bytes(content)


def tiff_of(width: int, height: int) -> bytes:
    content = saved(Image.new("RGB", (9, 11)), "TIFF")
    for tag, old, new in ((256, 9, width), (257, 11, height)):
        entries = [struct.pack("<HHIHH", tag, 3, 1, old, 0), struct.pack("<HHII", tag, 4, 1, old)]
        [entry] = [entry for entry in entries if entry in content]
        content = content.replace(entry, struct.pack("<HHII", tag, 4, 1, new))
    return content


FEW_ROWS = b"\0" * (3 * 30_000 + 1) * 3
SMALL = rows_of(np.arange(0, 240, 5, np.uint8).reshape(4, 4, 3))


@cache
def bombs() -> dict[str, bytes]:
    """Small files that claim or hold too much. Making them takes a second: not to collect."""
    zeros = zlib.compress(b"\0" * 200_000_000, 9)
    return {
        "PNG": png(30_000, 30_000, FEW_ROWS),
        "PNG, below the decoder's own limit": png(8000, 8000, FEW_ROWS),
        "GIF": gif_of(65_535, 65_535),
        "GIF, below": gif_of(8000, 8000),
        "WebP": webp_of(16_383, 16_383),
        "WebP, below": webp_of(12_000, 12_000),
        "JPEG": jpeg_of(30_000, 30_000),
        "BMP": bmp_of(30_000, 30_000),
        "TIFF": tiff_of(30_000, 30_000),
        "text": png(4, 4, SMALL, chunk(b"zTXt", b"Comment\0\0" + zeros)),
        "text in UTF-8": png(4, 4, SMALL, chunk(b"iTXt", b"Comment\0\1\0\0\0" + zeros)),
        "colour profile": png(4, 4, SMALL, chunk(b"iCCP", b"profile\0\0" + zeros)),
        "text behind the picture": png(4, 4, SMALL)[:-12]
        + chunk(b"zTXt", b"Comment\0\0" + zeros)
        + chunk(b"IEND", b""),
        "rows": png(4, 4, SMALL + b"\0" * 200_000_000),
    }


IN_A_PROCESS = """
import json, resource, sys, time
from pathlib import Path
from lakehouse.settings import Settings
from lakehouse.files.photos import PhotoError, read_photo
from lakehouse.stage import load_stage

stage, settings = load_stage("chromate"), Settings()
for path in map(Path, sys.argv[1:]):  # The first is a photo, to have everything imported.
    content, started = path.read_bytes(), time.process_time()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        rule = read_photo(content, stage, settings).format
    except PhotoError as error:
        rule = error.rule
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(json.dumps([path.name, rule, time.process_time() - started, grown]))
"""


def test_bombs_cost_neither_time_nor_memory(tmp_path: Any) -> None:
    for name, content in {"a photo": saved(RGB, "PNG"), **bombs()}.items():
        (tmp_path / name).write_bytes(content)
    files = [str(tmp_path / name) for name in ("a photo", *bombs())]
    command = [sys.executable, "-c", IN_A_PROCESS, *files]
    ran = subprocess.run(command, check=True, capture_output=True, text=True)
    found = [json.loads(line) for line in ran.stdout.splitlines()][1:]
    rules = {name: rule for name, rule, _, _ in found}
    assert rules == {
        **dict.fromkeys(bombs(), "too_many_pixels"),
        **dict.fromkeys(
            [name for name in bombs() if "text" in name or "profile" in name], "broken_image"
        ),
        "rows": "PNG",
    }
    assert [name for name, _, seconds, _ in found if seconds > 1] == []
    assert [name for name, _, _, grown in found if grown > 32 << 10] == []  # KiB


def test_a_bombs_reason_names_its_size() -> None:
    assert refusal(bombs()["PNG"])[1] == "30000 x 30000 pixels; at most 50000000 are read"
    assert refusal(bombs()["PNG, below the decoder's own limit"])[1] == (
        "8000 x 8000 pixels; at most 50000000 are read"
    )


def test_text_in_a_png_is_no_fault() -> None:
    about = PngInfo()
    about.add_text("Comment", "도금 " * 1000, zip=True)
    assert np.array_equal(seen(saved(RGB, "PNG", pnginfo=about)), PIXELS)


@pytest.mark.parametrize("size", [(1, 2), (1, 3000), (3000, 1), (2, 2), (37, 1013)])
def test_the_tensor_has_the_configured_size(size: tuple[int, int]) -> None:
    image = Image.linear_gradient("L").transpose(Image.Transpose.TRANSVERSE).resize(size)
    image = Image.merge("RGB", [image, Image.linear_gradient("L").resize(size), image])
    photo = read(saved(image, "PNG"), width=48, height=32)
    assert (photo.width, photo.height) == size
    resized = image.resize((48, 32), Image.Resampling.BILINEAR, reducing_gap=3.0)
    assert np.array_equal(photo.tensor, np.asarray(resized))


def test_near_copies_have_near_hashes_and_others_have_far_ones() -> None:
    large = picture(480, 320)
    original = hex_to_hash(read(saved(large, "PNG")).phash)
    copies = [
        saved(large.resize((240, 160)), "PNG"),
        saved(large.resize((700, 470)), "JPEG", quality=70),
        saved(large, "JPEG", quality=50),
        saved(large.convert("L"), "PNG"),
    ]
    assert [original - hex_to_hash(read(copy).phash) <= 6 for copy in copies] == [True] * 4
    other = large.transpose(Image.Transpose.ROTATE_180)
    assert original - hex_to_hash(read(saved(other, "PNG")).phash) > 16


TINY = picture(12, 8)
SEEDS: list[Callable[[], bytes]] = [
    lambda: saved(TINY, "PNG", exif=exif_of({ORIENTATION: 6}, {TAKEN: "2021:09:06 16:27:17"})),
    lambda: saved(TINY, "JPEG", exif=exif_of({ORIENTATION: 6}, {TAKEN: "2021:09:06 16:27:17"})),
    lambda: saved(TINY, "GIF"),
    lambda: saved(TINY, "BMP"),
    lambda: saved(TINY, "TIFF", exif=exif_of({ORIENTATION: 6})),
    lambda: saved(TINY, "TIFF", compression="tiff_lzw"),
    lambda: saved(TINY, "WEBP"),
    lambda: saved(FRAMES[0], "MPO", save_all=True, append_images=FRAMES[1:]),
    lambda: saved(TINY, "AVIF"),
    lambda: saved(TINY.resize((64, 64)), "HEIF"),
    lambda: saved(Image.fromarray(SHADES), "TIFF"),
]


@hypothesis_settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(SEEDS),
    st.lists(st.tuples(st.floats(0, 0.999), st.binary(min_size=1, max_size=4)), max_size=6),
    st.floats(0.3, 1),
)
def test_damage_of_any_kind_is_a_photo_or_a_refusal(
    seed: Callable[[], bytes], damage: list[tuple[float, bytes]], kept: float
) -> None:
    content = bytearray(seed())
    for where, new in damage:
        at = int(where**2 * len(content))
        content[at : at + len(new)] = new
    found = outcome(bytes(content[: int(kept * len(content))]), max_photo_pixels=100_000)
    rules = {"broken_image", "not_an_image", "too_many_pixels", "animated", "pixel_type"}
    rules |= {"nearly_black", "nearly_white", "blank", "mosaic"}
    assert found in rules or len(found) == 64


@pytest.mark.parametrize(
    ("ahead", "is_believed"), [(timedelta(hours=23), True), (timedelta(hours=25), False)]
)
def test_a_clock_may_be_ahead_by_a_day(ahead: timedelta, is_believed: bool) -> None:
    at = datetime.now(UTC) + ahead
    taken = {TAKEN: f"{at:%Y:%m:%d %H:%M:%S}", OFFSET: "+00:00"}
    photo = read(saved(RGB, "JPEG", exif=exif_of({}, taken)))
    assert (photo.taken_at is not None) == is_believed == (photo.note is None)


def test_a_time_that_cannot_be_true_is_named() -> None:
    photo = read(saved(RGB, "JPEG", exif=exif_of({}, {TAKEN: "1980:01:01 00:00:00"})))
    said = "its time of capture, 1980-01-01 00:00:00, cannot be true; the file's time counts"
    assert (photo.taken_at, photo.note) == (None, said)
