"""Read photo files as a person sees them, or refuse them with the reason."""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import imagehash
import numpy as np
from PIL import Image, UnidentifiedImageError

from lakehouse.settings import Settings
from lakehouse.stage import Stage

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP")
"""Formats of cameras and drawing programs; decoders of other formats never run."""

EXIF_TAKEN, EXIF_OFFSET = 0x9003, 0x9011
EXIF_IFD, EXIF_ORIENTATION = 0x8769, 0x0112
CAMERA_YEARS = range(1990, 2101)
"""Accepted years of capture; a clock that was never set says 1970 or 1980."""

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

JPEG_MARKER = re.compile(rb"\xff+([^\x00\xff\xd0-\xd7])")
JPEG_START, JPEG_END, JPEG_ALONE = 0xD8, 0xD9, 0x01


Image.MAX_IMAGE_PIXELS = None
"""Pillow's own limit is off: `max_photo_pixels` is the only one, in `_refuse_by_header`."""

Tensor = np.ndarray[Any, np.dtype[np.uint8]]
"""A decoded photo: RGB, uint8, shape (height, width, 3), values 0 to 255."""


class PhotoError(Exception):
    """A photo file that cannot be trusted; `rule` names the kind of reason."""

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(reason)
        self.rule = rule


@dataclass(frozen=True)
class Photo:
    """A photo file's content.

    `tensor` is RGB, uint8, shape (tensor_height, tensor_width, 3), values 0 to 255.
    `pixel_sha256` is the hash of the upright picture's size and RGB pixels. `taken_at` is in UTC.
    """

    sha256: str
    pixel_sha256: str
    phash: str
    format: str
    mode: str
    width: int
    height: int
    taken_at: datetime | None
    tensor: Tensor


def read_photo(content: bytes, stage: Stage, settings: Settings) -> Photo:
    """Decode a photo file.

    Args:
        content: The file's bytes.
        stage: A stage with photos: the tensor's width and height, and the plant's time zone.
        settings: Limits on bytes and pixels.

    Returns:
        The upright picture's hashes, size in pixels and tensor, shape (stage.photos.height,
        stage.photos.width, 3), and the file's format, pixel mode and time of capture.

    Raises:
        PhotoError: The photo cannot be trusted. It holds the rule and the reason.

    Example:
        >>> from lakehouse.settings import load_settings
        >>> from lakehouse.stage import load_stage
        >>> stage, settings = load_stage("chromate"), load_settings()
        >>> file = io.BytesIO()
        >>> Image.new("L", (640, 480), 255).save(file, "PNG")
        >>> photo = read_photo(file.getvalue(), stage, settings)
        >>> photo.format, photo.mode, photo.width, photo.height, photo.tensor.shape
        ('PNG', 'L', 640, 480, (224, 224, 3))
        >>> read_photo(b"no photo", stage, settings)
        Traceback (most recent call last):
        lakehouse.files.photos.PhotoError: the content is not an image in PNG, JPEG, BMP, GIF, ...
    """
    assert stage.photos is not None
    image, upright = _decoded(content, settings)
    pixels = np.asarray(upright)
    identity = hashlib.sha256(f"{upright.width}x{upright.height}:".encode())
    identity.update(pixels.data)
    return Photo(
        sha256=hashlib.sha256(content).hexdigest(),
        pixel_sha256=identity.hexdigest(),
        phash=str(imagehash.phash(upright)),
        format=image.format or "unknown",
        mode=image.mode,
        width=upright.width,
        height=upright.height,
        taken_at=_taken_at(image, stage.zone),
        tensor=_as_tensor(upright, stage.photos.width, stage.photos.height),
    )


def read_tensor(content: bytes, width: int, height: int, settings: Settings) -> Tensor:
    """Return the photo's tensor, as `read_photo` makes it, in that size; raises PhotoError."""
    return _as_tensor(_decoded(content, settings)[1], width, height)


def read_upright(content: bytes, settings: Settings) -> Image.Image:
    """Return the upright photo in RGB, in its own size; raises PhotoError."""
    return _decoded(content, settings)[1]


def _decoded(content: bytes, settings: Settings) -> tuple[Image.Image, Image.Image]:
    """Return the image as it is in the file, and as a person sees it."""
    if not content:
        raise PhotoError("empty_file", "the file has no bytes")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = _opened(content, settings)
        try:
            image.load()
            return image, as_rgb(image)
        except PhotoError:
            raise
        except Exception as e:  # A decoder may fail in any way: then this file is bad.
            raise PhotoError("broken_image", f"the image cannot be decoded: {e}") from None


def _as_tensor(upright: Image.Image, width: int, height: int) -> Tensor:
    return np.asarray(upright.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=3.0))


def as_rgb(image: Image.Image) -> Image.Image:
    """Return the picture as a person sees it: upright, 8 bits, RGB, transparency on white."""
    upright = _upright(image)
    if upright.mode in ("I", "F"):
        raise PhotoError("pixel_type", "pixels of 32 bits do not say which value is white")
    if upright.mode.startswith("I;16"):
        wide = np.asarray(upright)
        grey = (wide >> 8).astype(np.uint8)
        grey[wide == upright.info.get("transparency", -1)] = 255
        return Image.fromarray(grey).convert("RGB")
    if upright.mode in ("RGBA", "LA", "PA") or "transparency" in upright.info:
        clear = upright.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear).convert("RGB")
    return upright if upright.mode == "RGB" else upright.convert("RGB")


def _opened(content: bytes, settings: Settings) -> Image.Image:
    """Open the image and decode only its header; check header and checksums."""
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
        _refuse_by_header(image, settings)
        if image.format == "PNG":
            Image.open(io.BytesIO(content), formats=("PNG",)).verify()
        elif image.format in ("JPEG", "MPO") and not _jpeg_ends(content):
            raise PhotoError("broken_image", "the image is cut: its end is missing")
    except PhotoError:
        raise
    except UnidentifiedImageError:
        reason = f"the content is not an image in {', '.join(FORMATS)}"
        raise PhotoError("not_an_image", reason) from None
    except Exception as e:  # As above.
        raise PhotoError("broken_image", f"the image cannot be decoded: {e}") from None
    return image


def _refuse_by_header(image: Image.Image, settings: Settings) -> None:
    """Refuse what the header alone forbids, before anything is decoded."""
    pixels = image.width * image.height
    if pixels > settings.max_photo_pixels:
        raise PhotoError(
            "too_many_pixels",
            f"{image.width} x {image.height} pixels; at most {settings.max_photo_pixels} are read",
        )
    # A camera's MPO is one photo with its previews, and the first picture is the photo.
    if getattr(image, "is_animated", False) and image.format != "MPO":
        raise PhotoError("animated", "the image has several frames; which one shows the part?")


def _jpeg_ends(content: bytes) -> bool:
    """Return whether the picture has its end marker; the decoder would invent a missing part."""
    at = 0
    while marker := JPEG_MARKER.search(content, at):
        kind, at = marker[1][0], marker.end()
        if kind == JPEG_END:
            return True
        if kind not in (JPEG_START, JPEG_ALONE):
            at += max(2, int.from_bytes(content[at : at + 2], "big"))
    return False


def _upright(image: Image.Image) -> Image.Image:
    """Turn the image as EXIF says; ignore invalid EXIF, as a viewer does."""
    try:
        turn = UPRIGHT.get(image.getexif().get(EXIF_ORIENTATION, 1))
    except Exception:
        return image
    return image if turn is None else image.transpose(turn)


def _taken_at(image: Image.Image, zone: ZoneInfo) -> datetime | None:
    """Return EXIF's time of capture in UTC; without a valid offset it is in the plant's time."""
    try:
        exif = image.getexif().get_ifd(EXIF_IFD)
        local = datetime.strptime(str(exif[EXIF_TAKEN]).strip("\0 "), "%Y:%m:%d %H:%M:%S")
    except Exception:  # Invalid EXIF does not make the picture bad.
        return None
    if local.year not in CAMERA_YEARS:
        return None
    offset = str(exif.get(EXIF_OFFSET, "")).strip("\0 ")
    try:
        taken_at = datetime.strptime(f"{local.isoformat()}{offset}", "%Y-%m-%dT%H:%M:%S%z")
    except ValueError:
        taken_at = local.replace(tzinfo=zone)
    return taken_at.astimezone(UTC)
