"""Uploaded photos: stored in the landing zone under their hash, for the ordinary ingest."""

from __future__ import annotations

import io
import os
import posixpath
import uuid

from fsspec.implementations.local import LocalFileSystem
from PIL import Image

from lakehouse.errors import PlatelakeError, UsageError
from lakehouse.landing.leaving import move_to_new
from lakehouse.landing.matching import APP_FOLDER
from lakehouse.landing.zone import label_of, landing_root
from lakehouse.stage import Stage
from lakehouse.stage_sections import UNLABELLED

SUFFIXES = {
    "PNG": "png",
    "JPEG": "jpg",
    "MPO": "jpg",
    "BMP": "bmp",
    "GIF": "gif",
    "TIFF": "tif",
    "WEBP": "webp",
    "AVIF": "avif",
    "HEIF": "heic",
}


class LandingPhotos:
    """The unlabelled folder of a stage in the landing zone. The zone is a folder or URL."""

    def __init__(self, landing: str, stage: Stage) -> None:
        self._landing = landing
        _, root = landing_root(landing)
        if stage.photos is None or not stage.photos.unlabelled:
            raise UsageError(f"stage {stage.name} has no unlabelled photos to add uploads to")
        folder, _, self._name = stage.photos.unlabelled[0].rpartition("/")
        inside = "/".join(APP_FOLDER if "**" in step else step for step in folder.split("/"))
        self._folder = posixpath.join(root, inside)
        self._part = posixpath.join(root, APP_FOLDER, "incoming")
        example = posixpath.join(inside, self._file_name("0" * 64, "png"))
        if label_of(stage, example) != UNLABELLED:
            raise UsageError(
                f"stage {stage.name}: an upload would be {example}, which is not unlabelled "
                f"by the globs of its photos; use a glob such as **/unlabelled/*"
            )

    def _file_name(self, sha256: str, suffix: str) -> str:
        return self._name.replace("*", sha256 if "." in self._name else f"{sha256}.{suffix}")

    def keep(self, sha256: str, content: bytes) -> None:
        """Store the photo once, whole or not at all. Raises PlatelakeError if that fails."""
        image = Image.open(io.BytesIO(content))
        target = self._path(sha256, SUFFIXES.get(image.format or "", "bin"))
        part = posixpath.join(self._part, uuid.uuid4().hex)
        try:
            files, _ = landing_root(self._landing)
            if files.exists(target):
                return
            for folder in (self._folder, self._part):
                files.makedirs(folder, exist_ok=True)
            with files.open(part, "wb") as stream:
                stream.write(content)
                if isinstance(files, LocalFileSystem):
                    stream.flush()
                    os.fsync(stream.fileno())
            try:
                move_to_new(files, part, target)
            except FileExistsError:  # Two stored it at once; the content is the same.
                files.rm_file(part)
        except OSError as error:
            raise PlatelakeError(f"the photo cannot be stored in {self._folder}: {error}") from None

    def read(self, sha256: str) -> bytes | None:
        """Return the photo's bytes; None if it is no longer there."""
        files, _ = landing_root(self._landing)
        for suffix in dict.fromkeys(SUFFIXES.values()):
            try:
                with files.open(self._path(sha256, suffix), "rb") as stream:
                    content: bytes = stream.read()
                    return content
            except FileNotFoundError:
                continue
        return None

    def _path(self, sha256: str, suffix: str) -> str:
        return posixpath.join(self._folder, self._file_name(sha256, suffix))
