"""Turn a decoded image into what a person sees, or refuse it if it shows nothing."""

from __future__ import annotations

import functools
import io
from itertools import product

import numpy as np
from PIL import Image, ImageCms

from lakehouse.errors import PhotoError
from lakehouse.files.depth import in_8_bits
from lakehouse.stage_sections import Levels

EXIF_ORIENTATION = 0x0112
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""How to turn a picture upright, by its EXIF orientation."""
WITH_ALPHA = ("RGBA", "RGBa", "LA", "La", "PA")

FLAT_DEVIATION, FLAT_RANGE = 1.0, 16
"""A photo shows nothing if its values, of 255, differ by so little."""
BLACK_UP_TO, WHITE_FROM = 32, 223

TILE, TILES = 16, 64
"""A mosaic is looked for in the middle: pixels of a tile's side, and tiles across and down."""
MOSAIC_STEP, MOSAIC_SHARE = 4.0, 0.5
"""A mosaic steps by so much of 255 from pixel to pixel, in that share of the tiles."""

SPACES = {"L": "GRAY", "RGB": "RGB", "CMYK": "CMYK"}
"""Pixel modes that a colour profile may describe, and the profile's word for them."""
SAME_COLOUR = 2
"""Colours move by at most so much of 255 if a profile is that of sRGB."""


def as_seen(image: Image.Image, content: bytes, bits: Levels | None) -> Image.Image:
    """Return the picture as a person sees it: upright, 8 bits, sRGB, transparency on white.

    Args:
        image: The decoded image, as it is in the file.
        content: The file's bytes.
        bits: Which values are black and white, as the stage file says; None: not said.

    Raises:
        PhotoError: Nothing says how the pixels look, or they show nothing.
    """
    picture = _upright(image, in_8_bits(image, content, bits))
    profile = image.info.get("icc_profile")
    seen = _in_srgb(_on_white(picture), profile if isinstance(profile, bytes) else b"")
    _refuse_flat(seen)
    if image.mode not in ("1", "P", "PA") and _is_mosaic(seen):
        raise PhotoError(
            "mosaic",
            "grey pixels in the pattern of a colour sensor (Bayer); let the camera save colours",
        )
    return seen


def _upright(image: Image.Image, picture: Image.Image) -> Image.Image:
    """Turn the picture as the image's EXIF says; ignore invalid EXIF, as a viewer does."""
    try:
        turn = UPRIGHT.get(image.getexif().get(EXIF_ORIENTATION, 1))
    except Exception:
        return picture
    return picture if turn is None else picture.transpose(turn)


def _on_white(picture: Image.Image) -> Image.Image:
    """Return the picture without transparency, as a viewer shows it on a white page."""
    if picture.mode not in WITH_ALPHA and "transparency" not in picture.info:
        return picture
    clear = picture.convert("RGBA")
    if clear.getchannel("A").getextrema() == (0, 0):
        reason = "every pixel is transparent; save the photo without an alpha channel"
        raise PhotoError("blank", reason)
    return Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear).convert("RGB")


def _in_srgb(picture: Image.Image, profile: bytes) -> Image.Image:
    """Convert colours by the profile; a broken one, or one of other pixels, is ignored."""
    if picture.mode not in (*SPACES, "LAB"):
        picture = picture.convert("RGB")
    convert = _conversion(profile, picture.mode) if profile or picture.mode == "LAB" else None
    if convert is None:
        return picture if picture.mode == "RGB" else picture.convert("RGB")
    seen = ImageCms.applyTransform(picture, convert)
    assert seen is not None
    return seen


@functools.lru_cache(maxsize=8)
def _conversion(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return how to convert pixels to sRGB; None if they are to be taken as they are."""
    try:
        if mode == "LAB":
            source = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
        else:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
            if source.profile.xcolor_space.strip() != SPACES[mode]:
                return None
        convert = ImageCms.buildTransform(
            source,
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return None
    if mode in ("CMYK", "LAB"):
        return convert
    chart = _chart().convert(mode)
    shown = np.asarray(ImageCms.applyTransform(chart, convert), np.int16)
    is_srgb = np.abs(shown - np.asarray(chart.convert("RGB"), np.int16)).max() <= SAME_COLOUR
    return None if is_srgb else convert


def _chart() -> Image.Image:
    """Return a picture of colours from the whole range."""
    steps = range(0, 256, 15)
    colours = np.array(list(product(steps, steps, steps)), np.uint8)
    return Image.fromarray(colours.reshape(len(steps), -1, 3))


def _refuse_flat(picture: Image.Image) -> None:
    """Refuse a picture that shows nothing: two such files would count as one picture."""
    levels = np.arange(256)
    means = []
    for count in np.reshape(picture.histogram(), (-1, 256)):
        share, there = count / count.sum(), np.flatnonzero(count)
        mean = float(levels @ share)
        deviation = float(np.sqrt(((levels - mean) ** 2) @ share))
        if deviation > FLAT_DEVIATION or there[-1] - there[0] > FLAT_RANGE:
            return
        means.append(mean)
    what = "take the photo again, or check light, shutter and the stage file's bits and white"
    if max(means) <= BLACK_UP_TO:
        raise PhotoError("nearly_black", f"every pixel is nearly black; {what}")
    if min(means) >= WHITE_FROM:
        raise PhotoError("nearly_white", f"every pixel is nearly white; {what}")
    raise PhotoError("blank", f"every pixel has nearly one colour; {what}")


def _is_mosaic(picture: Image.Image) -> bool:
    """Return whether a grey picture is a colour sensor's raw pattern: R G over G B, repeated.

    Then green pixels differ from red and blue ones in the same way all over a tile. In a photo
    such steps cancel out.
    """
    down, across = (min(side // TILE, TILES) for side in (picture.height, picture.width))
    if not down or not across:
        return False
    top, left = (picture.height - down * TILE) // 4 * 2, (picture.width - across * TILE) // 4 * 2
    middle = np.asarray(picture.crop((left, top, left + across * TILE, top + down * TILE)))
    some, grey = middle[::TILE], middle[..., 0]  # In colours, a few rows show that there are some.
    if (some != some[..., :1]).any() or (middle != grey[..., None]).any():
        return False
    fours = grey.reshape(down, TILE // 2, 2, across, TILE // 2, 2).astype(np.float32)
    steps = (fours[:, :, 0, :, :, 0] + fours[:, :, 1, :, :, 1]) / 2
    steps -= (fours[:, :, 0, :, :, 1] + fours[:, :, 1, :, :, 0]) / 2
    mean, deviation = steps.mean((1, 3)), steps.std((1, 3))
    certain = np.abs(mean) > np.maximum(MOSAIC_STEP, deviation)
    return bool(certain.mean() >= MOSAIC_SHARE)
