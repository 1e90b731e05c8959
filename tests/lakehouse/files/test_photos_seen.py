"""Photos of any plant: seen as a person sees them, or refused because nobody can know."""

import hashlib
import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms, TiffImagePlugin
from pydantic import ValidationError

from lakehouse.errors import PhotoError
from lakehouse.files.photos import Photo, read_photo, read_tensor, read_upright
from lakehouse.settings import Settings
from lakehouse.stage import Stage, load_stage
from lakehouse.stage_sections import Levels, Photos

Array = np.ndarray[Any, np.dtype[Any]]

WIDTH, HEIGHT = 64, 48
EXIF_ORIENTATION = 0x0112


def stage_of(bits: int | None = None, white: int | None = None) -> Stage:
    stage = load_stage("chromate")
    assert stage.photos is not None
    what = {"width": WIDTH, "height": HEIGHT, "bits": bits, "white": white}
    return stage.model_copy(update={"photos": stage.photos.model_copy(update=what)})


def read(content: bytes, bits: int | None = None, white: int | None = None) -> Photo:
    return read_photo(content, stage_of(bits, white), Settings())


def refusal(content: bytes, bits: int | None = None, white: int | None = None) -> tuple[str, str]:
    with pytest.raises(PhotoError) as error:
        read(content, bits, white)
    return error.value.rule, str(error.value)


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def tiff(image: Image.Image, tags: dict[int, Any], **options: Any) -> bytes:
    info = TiffImagePlugin.ImageFileDirectory_v2()
    for tag, value in tags.items():
        info[tag] = value
    return saved(image, "TIFF", tiffinfo=info, **options)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(pixels: Array, colour: int, *extra: bytes) -> bytes:
    """A PNG of 16 bits by hand."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", WIDTH, HEIGHT, 16, colour, 0, 0, 0))
    body = header + b"".join(extra) + chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


def colour_tiff(pixels: Array, packed: bool) -> bytes:
    """A TIFF of three or four colours of 16 bits by hand; Pillow writes none."""
    data, colours = pixels.astype("<u2").tobytes(), pixels.shape[2]
    data = zlib.compress(data) if packed else data
    entries = [
        (256, 4, 1, WIDTH),
        (257, 4, 1, HEIGHT),
        (258, 3, colours, 0),
        (259, 3, 1, 8 if packed else 1),
    ]
    entries += [(262, 3, 1, 2), (273, 4, 1, 0), (277, 3, 1, colours), (278, 4, 1, HEIGHT)]
    entries += [(279, 4, 1, len(data)), *([(338, 3, 1, 2)] if colours == 4 else [])]
    behind = 8 + 2 + 12 * len(entries) + 4
    places = {258: behind, 273: behind + 2 * colours}
    head = b"II*\0" + struct.pack("<IH", 8, len(entries))
    body = b"".join(struct.pack("<HHII", *e[:3], places.get(e[0], e[3])) for e in entries)
    return head + body + b"\0" * 4 + struct.pack(f"<{colours}H", *[16] * colours) + data


SHADES = np.arange(WIDTH * HEIGHT, dtype=np.uint16).reshape(HEIGHT, WIDTH)
"""12 bits: 0 to 3071, every value once."""
TEN = SHADES // 3
BRIGHT = SHADES * 21
COLOURS = np.stack([SHADES, SHADES[::-1], SHADES // 2], -1)


def grey(eight: Array) -> Array:
    return np.repeat(eight.astype(np.uint8)[..., None], 3, -1)


# 10, 12 or 14 bits in 16.


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
@pytest.mark.parametrize(("pixels", "bits"), [(TEN, 10), (SHADES, 12), (SHADES * 5, 14)])
def test_the_stage_says_how_many_bits_there_are(form: str, pixels: Array, bits: int) -> None:
    content = saved(Image.fromarray(pixels), form)
    photo = read(content, bits)
    assert np.array_equal(photo.tensor, grey(pixels >> (bits - 8)))
    assert photo.mode == "I;16"
    levels = Levels(bits)
    tensor = read_tensor(content, WIDTH, HEIGHT, Settings(), levels)
    assert np.array_equal(tensor, photo.tensor)
    assert np.array_equal(np.asarray(read_upright(content, Settings(), levels)), photo.tensor)


@pytest.mark.parametrize("bits", [8, 9, 15, 16])
def test_eight_bits_are_read_as_ever_whatever_the_stage_says(bits: int) -> None:
    content = saved(Image.fromarray(grey(SHADES >> 4)), "PNG")
    assert read(content, bits).pixel_sha256 == read(content).pixel_sha256


@pytest.mark.parametrize(("pixels", "bits"), [(TEN, 10), (SHADES, 12), (SHADES // 12, 8)])
def test_a_photo_that_looks_black_is_refused_and_says_what_to_do(pixels: Array, bits: int) -> None:
    assert refusal(saved(Image.fromarray(pixels), "TIFF")) == (
        "nearly_black",
        f"no value of its 16 bits is above {pixels.max()}, so it looks black; set bits in [photos] "
        "of the stage file to the number that the camera has, such as bits = 12",
    )
    assert read(saved(Image.fromarray(pixels), "TIFF"), bits).tensor.max() > 100


def test_a_dark_photo_of_16_bits_is_read_if_the_stage_says_16() -> None:
    content = saved(Image.fromarray(SHADES), "TIFF")
    assert np.array_equal(read(content, 16).tensor, grey(SHADES >> 8))
    assert read(saved(Image.fromarray(SHADES + 4096 - 3071), "PNG")).tensor.max() == 16


def test_a_value_that_the_bits_cannot_hold_is_refused() -> None:
    rule, reason = refusal(saved(Image.fromarray(SHADES), "TIFF"), 10)
    assert (rule, reason) == (
        "pixel_type",
        "a value is 3071, but 10 bits end at 1023; correct bits in [photos] of the stage file",
    )


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        pytest.param(1023, TEN >> 2, id="10 bits"),
        pytest.param(4095, TEN >> 4, id="12 bits"),
        pytest.param(1500, None, id="a value that ends no number of bits"),
        pytest.param(1000, None, id="a value that is exceeded"),
        pytest.param(511, None, id="less than occurs"),
        pytest.param(127, None, id="fewer than 8 bits"),
    ],
)
def test_a_tiff_may_say_its_largest_value(said: int, expected: Array | None) -> None:
    content = tiff(Image.fromarray(TEN), {281: said})
    if expected is None:
        assert refusal(content)[0] == "nearly_black"
    else:
        assert np.array_equal(read(content).tensor, grey(expected))


def test_a_png_may_say_its_significant_bits() -> None:
    ten = chunk(b"sBIT", b"\x0a")
    assert np.array_equal(read(png(TEN, 0, ten)).tensor, grey(TEN >> 2))
    # By PNG's own rule, the values are scaled to 16 bits. So this one is a dark photo.
    scaled = (TEN.astype(float) / 1023 * 15).astype(np.uint16) * 64
    assert refusal(png(scaled, 0, ten))[0] == "nearly_black"
    assert np.array_equal(read(png(TEN * 64, 0, ten)).tensor, grey(TEN >> 2))
    assert refusal(png(SHADES, 0, ten))[0] == "nearly_black"
    assert refusal(png(TEN, 0, chunk(b"sBIT", b"\0")))[0] == "nearly_black"


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(png(COLOURS, 2), id="PNG"),
        pytest.param(colour_tiff(COLOURS, packed=False), id="TIFF"),
        pytest.param(colour_tiff(COLOURS, packed=True), id="TIFF, deflate"),
    ],
)
def test_colours_of_12_bits_keep_them_all(content: bytes) -> None:
    assert np.array_equal(read(content, 12).tensor, (COLOURS >> 4).astype(np.uint8))
    assert refusal(content)[0] == "nearly_black"
    assert refusal(content, 10)[0] == "pixel_type"


@pytest.mark.parametrize("form", ["PNG", "TIFF"])
def test_the_stage_says_which_value_is_white(form: str) -> None:
    content = saved(Image.fromarray(SHADES), form)
    assert np.array_equal(read(content, white=3071).tensor, grey(np.round(SHADES / 3071 * 255)))
    assert read(content, white=6142).tensor.max() == 128
    assert refusal(content, white=3070)[0] == "pixel_type"


def test_the_white_of_colours_and_of_32_bits() -> None:
    expected = np.round(COLOURS / 3071 * 255).astype(np.uint8)
    for content in (png(COLOURS, 2), colour_tiff(COLOURS, packed=True)):
        assert np.array_equal(read(content, white=3071).tensor, expected)
    for kind in (np.int32, np.float32):
        content = saved(Image.fromarray(SHADES.astype(kind)), "TIFF")
        assert np.array_equal(read(content, white=3071).tensor, grey(np.round(SHADES / 3071 * 255)))
        below = saved(Image.fromarray(SHADES.astype(kind) - 1), "TIFF")
        assert refusal(below, white=3071)[0] == "pixel_type"
    nothing = SHADES.astype(np.float32)
    nothing[0, 0] = np.nan
    assert refusal(saved(Image.fromarray(nothing), "TIFF"), white=3071)[0] == "pixel_type"


def test_the_stage_says_that_white_is_zero() -> None:
    content = saved(Image.fromarray(SHADES), "TIFF")
    assert np.array_equal(read(content, 12, 0).tensor, 255 - grey(SHADES >> 4))
    eight = saved(Image.fromarray((SHADES >> 4).astype(np.uint8)), "PNG")
    assert np.array_equal(read(eight, white=0).tensor, 255 - grey(SHADES >> 4))
    says_so = tiff(Image.fromarray(SHADES), {262: 0})
    assert np.array_equal(read(says_so, 12, 0).tensor, read(says_so, 12).tensor)


@pytest.mark.parametrize("said", [{"white": 4095, "bits": 12}, {"white": 12}, {"white": 65536}])
def test_a_white_that_cannot_be_meant(said: dict[str, int]) -> None:
    with pytest.raises(ValidationError, match="white"):
        Photos.model_validate({"labels": {"good": "*"}, **said})


@pytest.mark.parametrize("alpha", [4095, 65535])
def test_the_alpha_of_12_bits_may_have_16(alpha: int) -> None:
    clear = np.full_like(SHADES, alpha)
    clear[:, :32] = 0
    pixels = np.dstack([COLOURS, clear])
    expected = (COLOURS >> 4).astype(np.uint8)
    expected[:, :32] = 255
    for content in (png(pixels, 6), colour_tiff(pixels, packed=False)):
        assert np.abs(read(content, 12).tensor.astype(int) - expected).max() <= 1


def test_colours_of_16_bits_are_read_as_ever() -> None:
    pixels = COLOURS * 21
    for content in (png(pixels, 2), colour_tiff(pixels, packed=True)):
        assert np.array_equal(read(content).tensor, (pixels >> 8).astype(np.uint8))


# White is zero.


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_adobe_deflate", "packbits"])
def test_white_is_zero(compression: str | None) -> None:
    drawn = Image.fromarray((SHADES >> 4).astype(np.uint8))
    for image in (drawn, drawn.convert("1")):
        content = tiff(image, {262: 0}, compression=compression)
        assert np.array_equal(read(content).tensor, np.asarray(image.convert("RGB")))
    # Pillow stores 16 bits as they are.
    content = tiff(Image.fromarray(BRIGHT), {262: 0}, compression=compression)
    assert np.array_equal(read(content).tensor, grey(255 - (BRIGHT >> 8)))
    content = tiff(Image.fromarray(SHADES), {262: 0}, compression=compression)
    assert np.array_equal(read(content, 12).tensor, grey(255 - (SHADES >> 4)))
    assert refusal(content)[0] == "nearly_black"


# Nothing is seen.


def noisy(value: int, spread: int) -> Image.Image:
    noise = np.random.default_rng(value).integers(-spread, spread + 1, (HEIGHT, WIDTH, 3))
    return Image.fromarray((noise + value).clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize(
    ("image", "rule"),
    [
        pytest.param(Image.new("L", (64, 48)), "nearly_black", id="black"),
        pytest.param(noisy(4, 1), "nearly_black", id="a covered lens"),
        pytest.param(Image.new("1", (64, 48), 1), "nearly_white", id="white"),
        pytest.param(noisy(254, 1), "nearly_white", id="too much light"),
        pytest.param(Image.new("RGB", (64, 48), (9, 99, 199)), "blank", id="one colour"),
        pytest.param(noisy(128, 1), "blank", id="one grey"),
        pytest.param(Image.new("RGB", (1, 1)), "nearly_black", id="one pixel"),
    ],
)
def test_a_photo_that_shows_nothing_is_refused(image: Image.Image, rule: str) -> None:
    assert refusal(saved(image, "PNG"))[0] == rule


def test_a_small_mark_is_something() -> None:
    image = Image.new("L", (640, 480))
    image.paste(120, (300, 200, 303, 203))
    assert read(saved(image, "PNG")).width == 640
    assert read(saved(noisy(128, 3), "PNG")).width == 64


def test_what_is_transparent_everywhere_is_refused() -> None:
    image = noisy(128, 90)
    image.putalpha(0)
    for form in ("PNG", "TIFF"):
        assert refusal(saved(image, form)) == (
            "blank",
            "every pixel is transparent; save the photo without an alpha channel",
        )
    all_clear = Image.new("P", (64, 48))
    assert refusal(saved(all_clear, "PNG", transparency=0))[0] == "blank"


# Raw mosaics.


def scene(width: int, height: int) -> Array:
    """A yellow metal with a blue spot, in light that changes."""
    y, x = np.mgrid[:height, :width] / max(width, height)
    light = 120 + 60 * np.sin(3 * x + 2 * y)
    colours = np.stack([light, light * 0.8, light * 0.35], -1)
    colours[height // 4 : height // 2, width // 4 : width // 2] = (40, 60, 150)
    noise = np.random.default_rng(1).normal(0, 4, colours.shape)
    return (colours + noise).clip(0, 255)


@pytest.mark.parametrize("order", ["RGGB", "GRBG", "BGGR"])
@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_a_raw_mosaic_is_refused(order: str, form: str) -> None:
    colours = scene(213, 161)
    mosaic = np.empty(colours.shape[:2], np.uint8)
    for at, colour in enumerate(order):
        mosaic[at // 2 :: 2, at % 2 :: 2] = colours[at // 2 :: 2, at % 2 :: 2, "RGB".index(colour)]
    content = saved(Image.fromarray(mosaic), form, quality=95)
    assert refusal(content)[0] == "mosaic"
    if form == "PNG":
        assert refusal(saved(Image.fromarray(mosaic).convert("RGB"), form))[0] == "mosaic"
        wide = saved(Image.fromarray(mosaic.astype(np.uint16) << 8), form)
        assert refusal(wide)[0] == "mosaic"


def test_stripes_edges_and_noise_are_no_mosaic() -> None:
    noise = np.random.default_rng(2).integers(0, 256, (160, 208)).astype(np.uint8)
    stripes = np.tile(np.array([[40, 200]], np.uint8), (160, 104))
    light = scene(208, 160).mean(-1).astype(np.uint8)
    edges = np.where(np.indices((160, 208)).sum(0) // 7 % 2, 30, 220).astype(np.uint8)
    for pixels in (noise, stripes, stripes.T[:160, :160].copy(), light, edges):
        assert read(saved(Image.fromarray(pixels), "PNG")).format == "PNG"


# Colour profiles.


def other_profile() -> bytes:
    """A profile whose colours are far from sRGB: red and blue are exchanged."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    tags = {bytes(profile[at : at + 4]): at for at in range(132, 132 + 12 * profile[131], 12)}
    red, blue = tags[b"rXYZ"], tags[b"bXYZ"]
    profile[red : red + 4], profile[blue : blue + 4] = b"bXYZ", b"rXYZ"
    return bytes(profile)


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
PHOTO = Image.fromarray(scene(WIDTH, HEIGHT).astype(np.uint8))


@pytest.mark.parametrize("form", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_colours_are_converted_by_their_profile(form: str) -> None:
    plain = read(saved(PHOTO, form)).tensor
    found = read(saved(PHOTO, form, icc_profile=other_profile())).tensor
    assert np.abs(found.astype(int) - plain[..., ::-1]).max() <= 2
    assert np.array_equal(read(saved(PHOTO, form, icc_profile=SRGB)).tensor, plain)


@pytest.mark.parametrize(
    "profile", [b"no profile", SRGB[:200], b"\0" * 128, SRGB[:128] + b"\xff" * 400]
)
def test_a_broken_profile_is_ignored(profile: bytes) -> None:
    expected = read(saved(PHOTO, "PNG")).pixel_sha256
    assert read(saved(PHOTO, "PNG", icc_profile=profile)).pixel_sha256 == expected


def test_a_profile_of_other_pixels_is_ignored() -> None:
    shades = PHOTO.convert("L")
    content = saved(shades, "PNG", icc_profile=other_profile())
    assert read(content).pixel_sha256 == read(saved(shades, "PNG")).pixel_sha256
    inks = saved(PHOTO.convert("CMYK"), "TIFF", icc_profile=SRGB)
    assert np.abs(read(inks).tensor.astype(int) - np.asarray(PHOTO)).max() <= 2


def test_lab_is_seen_in_its_colours() -> None:
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    stored = ImageCms.profileToProfile(PHOTO, srgb, lab, outputMode="LAB")
    assert stored is not None
    photo = read(saved(stored, "TIFF"))
    assert photo.mode == "LAB"
    assert np.abs(photo.tensor.astype(int) - np.asarray(PHOTO)).mean() < 3


# Phones, and several pages.


@pytest.mark.parametrize(("form", "name"), [("HEIF", "HEIF"), ("AVIF", "AVIF")])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_a_phones_photo_is_upright_once(form: str, name: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[EXIF_ORIENTATION] = orientation
    turn = {
        3: Image.Transpose.ROTATE_180,
        6: Image.Transpose.ROTATE_90,
        8: Image.Transpose.ROTATE_270,
    }
    stored = PHOTO.transpose(turn[orientation]) if orientation in turn else PHOTO
    photo = read(saved(stored, form, exif=exif.tobytes(), quality=95))
    assert (photo.format, photo.mode, photo.width, photo.height) == (name, "RGB", WIDTH, HEIGHT)
    assert np.abs(photo.tensor.astype(int) - np.asarray(PHOTO)).mean() < 6


@pytest.mark.parametrize("kept", [24, 200, 0.5])
def test_a_heic_that_cannot_be_read_says_what_to_do(kept: float) -> None:
    content = saved(PHOTO, "HEIF")
    content = content[: int(kept * len(content)) if kept < 1 else int(kept)]
    rule, reason = refusal(content)
    assert rule == "broken_image"
    assert "HEIC" in reason or "Most Compatible" in reason
    assert "Most Compatible" in reason


@pytest.mark.parametrize("form", ["HEIF", "AVIF", "WEBP"])
def test_a_cut_photo_of_these_formats_is_broken(form: str) -> None:
    content = saved(PHOTO, form)
    for share in (0.1, 0.3, 0.6, 0.9, 0.99):
        assert refusal(content[: int(share * len(content))])[0] == "broken_image"


def test_a_tiffs_previews_are_passed_over() -> None:
    small = PHOTO.resize((20, 15))
    content = saved(PHOTO, "TIFF", save_all=True, append_images=[small, small.resize((8, 6))])
    assert np.array_equal(read(content).tensor, np.asarray(PHOTO))


def test_a_page_that_says_it_is_a_preview_is_passed_over() -> None:
    other = PHOTO.transpose(Image.Transpose.ROTATE_180)
    other.encoderinfo = {"tiffinfo": {254: 1}}  # type: ignore[attr-defined]
    content = saved(PHOTO, "TIFF", save_all=True, append_images=[other])
    assert np.array_equal(read(content).tensor, np.asarray(PHOTO))


@pytest.mark.parametrize(
    "pages",
    [
        pytest.param([PHOTO, PHOTO.transpose(Image.Transpose.ROTATE_180)], id="of equal size"),
        pytest.param([PHOTO.resize((20, 15)), PHOTO], id="the first is the preview"),
        pytest.param([PHOTO, *[PHOTO.resize((20, 15))] * 20], id="too many"),
    ],
)
def test_several_pages_are_refused(pages: list[Image.Image]) -> None:
    content = saved(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    assert refusal(content)[0] == "animated"


# The published photos.


def test_published_photos_are_read_with_the_pixels_they_always_had(chromate: Path) -> None:
    files = sorted(chromate.glob("photos/*/*.png"))
    found = "".join(read(file.read_bytes()).pixel_sha256 for file in files)
    assert (len(files), hashlib.sha256(found.encode()).hexdigest()) == (
        46,
        "db8d06e5e626dc3ccaa65f2bc573cb6e33051255700bf1319f715d72b2825ec4",
    )


def test_published_jpegs_raise_no_false_alarm(chromate: Path) -> None:
    files = sorted((chromate.parents[1] / "magnetic-tile").glob("*/*.jpg"))[::5]
    if not files:
        pytest.skip("the magnetic tiles are not there")
    for file in files:
        pixels = np.asarray(Image.open(file).convert("RGB"))
        assert np.array_equal(read_upright(file.read_bytes(), Settings()), pixels), file.name
