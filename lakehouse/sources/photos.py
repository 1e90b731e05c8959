"""Photo files: read as a person would see them, or refused with the reason."""

from __future__ import annotations

import hashlib
import io
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import imagehash
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from lakehouse.settings import Settings
from lakehouse.stage import Stage

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

EXIF_TAKEN, EXIF_OFFSET = 0x9003, 0x9011
EXIF_IFD = 0x8769


class PhotoError(Exception):
    """A file that is no photo we can trust; `rule` names the reason's kind."""

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(reason)
        self.rule = rule


@dataclass(frozen=True)
class Photo:
    """A photo file's content.

    `tensor` is RGB, uint8, shape (tensor_height, tensor_width, 3), values 0 to 255.
    `pixel_sha256` is over the upright picture's size and RGB pixels.
    """

    sha256: str
    pixel_sha256: str
    phash: str
    format: str
    mode: str
    width: int
    height: int
    taken_at: datetime | None
    tensor: np.ndarray[Any, np.dtype[np.uint8]]


def read_photo(content: bytes, stage: Stage, settings: Settings) -> Photo:
    """Decode a photo file; raises PhotoError with rule and reason if it cannot be trusted."""
    assert stage.photos is not None
    if not content:
        raise PhotoError("empty_file", "the file has no bytes")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = Image.open(io.BytesIO(content))
            _refuse_by_header(image, settings)
            taken_at = _taken_at(image, stage.zone)
            upright = as_rgb(image)
        except UnidentifiedImageError:
            raise PhotoError("not_an_image", "the content is not an image") from None
        except (
            OSError,
            ValueError,
            SyntaxError,
            MemoryError,
            Image.DecompressionBombError,
        ) as e:
            raise PhotoError("broken_image", f"the image cannot be decoded: {e}") from None
    pixels = np.asarray(upright)
    size = (stage.photos.width, stage.photos.height)
    identity = hashlib.sha256(f"{upright.width}x{upright.height}:".encode() + pixels.tobytes())
    return Photo(
        sha256=hashlib.sha256(content).hexdigest(),
        pixel_sha256=identity.hexdigest(),
        phash=str(imagehash.phash(upright)),
        format=image.format or "unknown",
        mode=image.mode,
        width=upright.width,
        height=upright.height,
        taken_at=taken_at,
        tensor=np.asarray(upright.resize(size, Image.Resampling.BILINEAR, reducing_gap=3.0)),
    )


def as_rgb(image: Image.Image) -> Image.Image:
    """The picture as a person sees it: turned upright, 8 bits, RGB, transparency on white."""
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith("I;16") or upright.mode == "I":
        wide = np.asarray(upright).astype(np.uint32)
        return Image.fromarray((wide >> 8).clip(0, 255).astype(np.uint8)).convert("RGB")
    if upright.mode in ("RGBA", "LA", "PA") or "transparency" in upright.info:
        clear = upright.convert("RGBA")
        if clear.getchannel("A").getextrema() == (255, 255):
            return clear.convert("RGB")
        return Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear).convert("RGB")
    return upright.convert("RGB")


def _refuse_by_header(image: Image.Image, settings: Settings) -> None:
    """What the header alone forbids; nothing is decoded before."""
    pixels = image.width * image.height
    if pixels > settings.max_photo_pixels:
        raise PhotoError(
            "too_many_pixels",
            f"{image.width} x {image.height} pixels; at most {settings.max_photo_pixels} are read",
        )
    if getattr(image, "n_frames", 1) > 1:
        raise PhotoError("animated", "the image has several frames; which one shows the part?")


def _taken_at(image: Image.Image, zone: ZoneInfo) -> datetime | None:
    """EXIF's time of capture in UTC; without an offset it is the plant's time."""
    exif = image.getexif().get_ifd(EXIF_IFD)
    try:
        local = datetime.strptime(str(exif[EXIF_TAKEN]).strip("\0 "), "%Y:%m:%d %H:%M:%S")
        offset = str(exif.get(EXIF_OFFSET, "")).strip("\0 ")
        if offset:
            return datetime.strptime(
                f"{local.isoformat()}{offset}", "%Y-%m-%dT%H:%M:%S%z"
            ).astimezone(UTC)
        return local.replace(tzinfo=zone).astimezone(UTC)
    except (KeyError, ValueError):
        return None
