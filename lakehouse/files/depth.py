"""Bring photos of 10 to 16 bits a colour to 8 bits, as bright as the camera saw them.

Cameras store 10, 12 or 14 bits in the low bits of 16. Read as 16 bits, such a photo is black. So
the number of bits must be known, from the stage file or from the file itself.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image, ImageChops

from lakehouse.errors import PhotoError
from lakehouse.stage_sections import Levels

PHOTOMETRIC, BITS_PER_SAMPLE, MAX_SAMPLE_VALUE = 262, 258, 281
WHITE_IS_ZERO = 0
DARK = 0x0FFF
"""If no value of 16 bits is larger, the photo may hold 12 bits or fewer."""
OTHER_BYTE = {";16B": ";16L", ";16L": ";16B", ";16N": ";16B"}
"""Pillow keeps one byte of each 16-bit colour. How it is told to keep the other one."""
PNG_HEAD, PNG_DEPTH = 8, 24
"""Bytes before a PNG's first chunk, and the place of the number of bits."""

Wide = np.ndarray[Any, np.dtype[np.uint16]]
Levelled = np.ndarray[Any, Any]
"""Values of any type."""
Narrow = np.ndarray[Any, np.dtype[np.uint8]]


def in_8_bits(image: Image.Image, content: bytes, said: Levels | None) -> Image.Image:
    """Return a decoded image with 8 bits a colour; if it has 8 bits, as it is, or its negative.

    Args:
        image: The decoded image, as it is in the file.
        content: The file's bytes.
        said: Which values are black and white, as the stage file says; None: not said.

    Raises:
        PhotoError: Nothing says which value is white, or the value in the stage file is wrong.
    """
    bits, white = said or Levels()
    if image.mode in ("I", "F") and not white:
        raise PhotoError("pixel_type", "pixels of 32 bits do not say which value is white")
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return _grey(image, content, bits, white)
    if _has_wide_colours(image, content):
        return _colours(image, content, bits, white)
    is_negative = white == 0 and image.mode == "L" and _tag(image, PHOTOMETRIC) != WHITE_IS_ZERO
    return ImageChops.invert(image) if is_negative else image


def _grey(image: Image.Image, content: bytes, bits: int | None, white: int | None) -> Image.Image:
    wide = np.asarray(image)
    if white:
        narrow = _up_to(wide, white)
    else:
        narrow = (wide >> _shift(wide, _depth(image, content, wide, bits))).astype(np.uint8)
    if _tag(image, PHOTOMETRIC) == WHITE_IS_ZERO or white == 0:
        narrow = 255 - narrow
    narrow[wide == image.info.get("transparency", -1)] = 255
    return Image.fromarray(narrow)


def _up_to(wide: Levelled, white: int) -> Narrow:
    """Return 8 bits of values from 0 to that white; refuse others."""
    if not ((wide >= 0) & (wide <= white)).all():
        raise PhotoError(
            "pixel_type",
            f"values are not all from 0 to {white}; correct white in [photos] of the stage file",
        )
    return np.round(wide.astype(np.float64) * (255 / white)).astype(np.uint8)


def _colours(
    image: Image.Image, content: bytes, bits: int | None, white: int | None
) -> Image.Image:
    wide = _wide_colours(image, content)
    if white:
        alpha = wide[..., 3:]
        clear = _up_to(alpha, white if alpha.max(initial=0) <= white else 0xFFFF)
        found = Image.fromarray(np.concatenate([_up_to(wide[..., :3], white), clear], axis=2))
        found.info = dict(image.info)
        return found
    shift = _shift(wide[..., :3], _depth(image, content, wide[..., :3], bits))
    # Some programs scale transparency to 16 bits, and not the colours.
    alpha_shift = shift if not wide[..., 3:].any() or wide[..., 3:].max() >> shift <= 0xFF else 8
    shifts = np.array([shift, shift, shift, alpha_shift][: wide.shape[2]], np.uint16)
    found = Image.fromarray((wide >> shifts).astype(np.uint8))
    found.info = dict(image.info)
    return found


def _shift(wide: Wide, depth: int | None) -> int:
    """Return by how many bits the values are above 8; refuse them if that cannot be right."""
    largest = int(wide.max())
    if depth is None and largest <= DARK:
        raise PhotoError(
            "nearly_black",
            f"no value of its 16 bits is above {largest}, so it looks black; set bits in [photos] "
            "of the stage file to the number that the camera has, such as bits = 12",
        )
    if depth is not None and largest >> depth:
        raise PhotoError(
            "pixel_type",
            f"a value is {largest}, but {depth} bits end at {(1 << depth) - 1}; "
            "correct bits in [photos] of the stage file",
        )
    return (depth or 16) - 8


def _tag(image: Image.Image, tag: int) -> Any:
    return getattr(image, "tag_v2", {}).get(tag)


def _depth(image: Image.Image, content: bytes, wide: Wide, bits: int | None) -> int | None:
    """Return the number of bits by the stage file or else the file; None if none can be used."""
    packed = _tag(image, BITS_PER_SAMPLE)
    if packed and packed[0] < 16:
        return int(packed[0])  # Pillow unpacks 12 bits without scaling them.
    if bits:
        return bits
    largest = int(wide.max())
    # Some programs write the largest value that occurs. Only the end of a whole number of bits
    # says how many there are.
    said = _tag(image, MAX_SAMPLE_VALUE)
    said = said[0] if isinstance(said, tuple) else said
    if isinstance(said, int) and said & (said + 1) == 0 and said >= 0xFF and largest <= said:
        return said.bit_length()
    bits = _significant_bits(content) if image.format == "PNG" else None
    if not bits or not 8 <= bits < 16 or largest >> bits:
        return None
    # PNG's own rule is that values are scaled to 16 bits. Then fewer levels are possible.
    levels = largest >> (16 - bits)
    return bits if len(np.unique(wide)) > levels + 1 else None


def _significant_bits(content: bytes) -> int | None:
    """Return the number in a PNG's chunk sBIT, if it has one and all colours agree."""
    at = PNG_HEAD
    while (kind := content[at + 4 : at + 8]) not in (b"IDAT", b""):
        length = int.from_bytes(content[at : at + 4], "big")
        if kind == b"sBIT":
            said = set(content[at + 8 : at + 8 + length])
            return said.pop() if len(said) == 1 else None
        at += 12 + length
    return None


def _has_wide_colours(image: Image.Image, content: bytes) -> bool:
    """Return whether the file has 16 bits for each of several colours; Pillow decodes 8."""
    if image.mode not in ("RGB", "RGBA"):
        return False
    if image.format == "PNG":
        return content[PNG_DEPTH] == 16
    return image.format == "TIFF" and max(_tag(image, BITS_PER_SAMPLE) or (1,)) == 16


def _wide_colours(image: Image.Image, content: bytes) -> Wide:
    """Return all 16 bits of each colour, by decoding the file again for the low bytes."""
    low = Image.open(io.BytesIO(content), formats=(image.format or "",))
    low.tile = [tile._replace(args=_other_byte(tile.args)) for tile in low.tile]
    high: Wide = np.asarray(image).astype(np.uint16)
    try:
        low.load()
    except ValueError:  # Grey with transparency: Pillow has only the high byte.
        return high * np.uint16(0x101)
    both: Wide = high << np.uint16(8) | np.asarray(low).astype(np.uint16)
    return both


def _other_byte(args: Any) -> Any:
    """Return a decoder's arguments, of which the first is the form of the pixels, changed so."""
    form, rest = (args, None) if isinstance(args, str) else (args[0], args[1:])
    for this, other in OTHER_BYTE.items():
        if form.endswith(this):
            form = form.removesuffix(this) + other
            break
    return form if rest is None else (form, *rest)
