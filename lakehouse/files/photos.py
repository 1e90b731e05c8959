"""Read photo files as a person sees them, or refuse them with the reason."""

from __future__ import annotations

import base64
import hashlib
import io
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import imagehash
import numpy as np
import pillow_heif
from PIL import Image, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import TiffImageFile

from lakehouse.errors import PhotoError
from lakehouse.files import jpeg
from lakehouse.files.pixels import as_seen
from lakehouse.files.values import is_plausible
from lakehouse.settings import Settings
from lakehouse.stage import Stage
from lakehouse.stage_sections import Levels

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

__all__ = [
    "Photo",
    "PhotoError",
    "Tensor",
    "as_data_uri",
    "read_photo",
    "read_tensor",
    "read_upright",
]

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "AVIF", "HEIF")
"""Formats of cameras and drawing programs; decoders of other formats never run."""
pillow_heif.register_heif_opener()

HEIC = (b"heic", b"heix", b"hevc", b"heim", b"heis", b"hevm", b"hevs", b"mif1", b"msf1")
"""What stands behind `ftyp` in a phone's HEIC."""
AVIF = (b"avif", b"avis")
HEIC_REMEDY = "send it again, or set the phone's camera to Most Compatible, which takes JPEG"

EXIF_TAKEN, EXIF_OFFSET = 0x9003, 0x9011
EXIF_IFD = 0x8769

SMALLER_PAGE, PAGE_KIND, MOST_PAGES = 1, 254, 16
"""A TIFF's page that says it is a preview, the tag that says so, and the pages looked at."""

Image.MAX_IMAGE_PIXELS = None
"""Pillow's own limit is off: `max_photo_pixels` is the only one, in `_refuse_by_header`."""

Tensor = np.ndarray[Any, np.dtype[np.uint8]]
"""A decoded photo: RGB, uint8, shape (height, width, 3), values 0 to 255."""


@dataclass(frozen=True)
class Photo:
    """A photo file's content.

    `tensor` is RGB, uint8, shape (tensor_height, tensor_width, 3), values 0 to 255.
    `pixel_sha256` is the hash of the upright picture's size and RGB pixels. `taken_at` is in UTC;
    None if the file has no time of capture, or one that cannot be true, as `note` says.
    """

    sha256: str
    pixel_sha256: str
    phash: str
    format: str
    mode: str
    width: int
    height: int
    taken_at: datetime | None
    note: str | None
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
        >>> Image.linear_gradient("L").resize((640, 480)).save(file, "PNG")
        >>> photo = read_photo(file.getvalue(), stage, settings)
        >>> photo.format, photo.mode, photo.width, photo.height, photo.tensor.shape
        ('PNG', 'L', 640, 480, (224, 224, 3))
        >>> read_photo(b"no photo", stage, settings)
        Traceback (most recent call last):
        lakehouse.errors.PhotoError: the content is not an image in PNG, JPEG, BMP, GIF, ...
    """
    assert stage.photos is not None
    image, upright = _decoded(content, settings, stage.photo_bits)
    pixels = np.asarray(upright)
    taken_at, note = _taken_at(image, stage.zone)
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
        taken_at=taken_at,
        note=note,
        tensor=as_tensor(upright, stage.photos.width, stage.photos.height),
    )


def read_tensor(
    content: bytes, width: int, height: int, settings: Settings, bits: Levels | None = None
) -> Tensor:
    """Return the photo's tensor in that size, as `read_photo` makes it; raises PhotoError.

    `bits` is that of the stage file.
    """
    return as_tensor(_decoded(content, settings, bits)[1], width, height)


def read_upright(content: bytes, settings: Settings, bits: Levels | None = None) -> Image.Image:
    """Return the upright photo in RGB, in its own size; `bits` as above; raises PhotoError."""
    return _decoded(content, settings, bits)[1]


def _decoded(
    content: bytes, settings: Settings, bits: Levels | None
) -> tuple[Image.Image, Image.Image]:
    """Return the image as it is in the file, and as a person sees it."""
    if not content:
        raise PhotoError("empty_file", "the file has no bytes")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = _opened(content, settings)
            image.load()
            return image, as_seen(image, content, bits)
        except PhotoError:
            raise
        except UnidentifiedImageError:
            raise _not_an_image(content) from None
        except Exception as e:  # A decoder may fail in any way: then this file is bad.
            remedy = f"; {HEIC_REMEDY}" if _has_brand(content, HEIC) else ""
            reason = f"the image cannot be decoded: {e}{remedy}"
            raise PhotoError("broken_image", reason) from None


def _has_brand(content: bytes, brands: tuple[bytes, ...]) -> bool:
    return content[4:8] == b"ftyp" and content[8:12] in brands


def _not_an_image(content: bytes) -> PhotoError:
    if _has_brand(content, HEIC):
        return PhotoError("broken_image", f"the HEIC photo cannot be read: {HEIC_REMEDY}")
    if _has_brand(content, AVIF):
        return PhotoError("broken_image", "the AVIF photo is cut or damaged: it cannot be opened")
    names = ", ".join(FORMATS).replace("HEIF", "HEIC")
    return PhotoError("not_an_image", f"the content is not an image in {names}")


def as_tensor(upright: Image.Image, width: int, height: int) -> Tensor:
    return np.asarray(upright.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=3.0))


def _opened(content: bytes, settings: Settings) -> Image.Image:
    """Open the image and decode only its header; check header and checksums."""
    image = Image.open(io.BytesIO(content), formats=FORMATS)
    _refuse_by_header(image, content, settings)
    if image.format == "PNG":
        Image.open(io.BytesIO(content), formats=("PNG",)).verify()
    elif isinstance(image, JpegImageFile) and (reason := jpeg.damage(content)):
        # The decoder would invent the missing part.
        raise PhotoError("broken_image", reason)
    return image


def _refuse_by_header(image: Image.Image, content: bytes, settings: Settings) -> None:
    """Refuse what the header alone forbids, before anything is decoded."""
    pixels = image.width * image.height
    if pixels > settings.max_photo_pixels:
        raise PhotoError(
            "too_many_pixels",
            f"{image.width} x {image.height} pixels; at most {settings.max_photo_pixels} are read",
        )
    # A camera's MPO is one photo with its previews, and the first picture is the photo.
    if not getattr(image, "is_animated", False) or image.format == "MPO":
        return
    if image.format != "TIFF" or not _other_pages_are_previews(content):
        raise PhotoError("animated", "the image has several frames; which one shows the part?")


def _other_pages_are_previews(content: bytes) -> bool:
    """Return whether each further page of a TIFF is smaller than the first, or says so itself."""
    pages = Image.open(io.BytesIO(content), formats=("TIFF",))
    assert isinstance(pages, TiffImageFile)
    width, height = pages.size
    for page in range(1, MOST_PAGES):
        try:
            pages.seek(page)
        except EOFError:
            return True
        is_smaller = pages.width < width and pages.height < height
        if not is_smaller and not pages.tag_v2.get(PAGE_KIND, 0) & SMALLER_PAGE:
            return False
    return False


def _taken_at(image: Image.Image, zone: ZoneInfo) -> tuple[datetime | None, str | None]:
    """Return EXIF's time of capture in UTC; or None, and why it is not believed.

    Without a valid offset it is in the plant's time.
    """
    try:
        exif = image.getexif().get_ifd(EXIF_IFD)
        local = datetime.strptime(str(exif[EXIF_TAKEN]).strip("\0 "), "%Y:%m:%d %H:%M:%S")
    except Exception:  # Invalid EXIF does not make the picture bad.
        return None, None
    offset = str(exif.get(EXIF_OFFSET, "")).strip("\0 ")
    try:
        taken_at = datetime.strptime(f"{local.isoformat()}{offset}", "%Y-%m-%dT%H:%M:%S%z")
    except ValueError:
        taken_at = local.replace(tzinfo=zone)
    if is_plausible(taken_at):
        return taken_at.astimezone(UTC), None
    return None, f"its time of capture, {local}, cannot be true; the file's time counts"


def as_data_uri(picture: Image.Image, side: int, quality: int) -> str:
    """Return a small copy of the picture, as a JPEG in a data URI.

    Args:
        picture: RGB.
        side: The longest side that the copy may have, in pixels.
        quality: Of the JPEG, 1 to 95.
    """
    small = picture.copy()
    small.thumbnail((side, side))
    content = io.BytesIO()
    small.save(content, "JPEG", quality=quality)
    return f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode('ascii')}"
