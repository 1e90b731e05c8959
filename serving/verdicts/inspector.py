"""Inspect a photo: predict the verdict, store the photo in the landing zone, record the verdict."""

from __future__ import annotations

import base64
import hashlib
import os
import random
import re
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime

import numpy as np

from lakehouse.errors import PlatelakeError, UsageError
from lakehouse.files.photos import PhotoError, read_upright
from lakehouse.settings import Settings
from lakehouse.stage import Stage
from serving.access.sessions import User
from serving.records.inspections import Inspection, Records
from serving.verdicts.champion import Champion
from serving.verdicts.landing_photos import LandingPhotos
from serving.verdicts.maps import as_png

GOOD = "good"
LOT_LENGTH = 100
AT_ONCE = 2 * (os.cpu_count() or 1)
"""Requests at the same time: one half decodes and predicts, the other half writes."""


class NoPhotosError(PlatelakeError):
    """The stage takes no photos."""


class NoChampionError(PlatelakeError):
    """There is no model yet. The message says what to run."""


@dataclass(frozen=True)
class Lot:
    """The lot of a part. Days are the plant's."""

    day: date
    name: str


class Inspector:
    """Inspects photos with the champion, as many at once as there are processors."""

    def __init__(
        self,
        stage: Stage,
        settings: Settings,
        champion: Champion,
        photos: LandingPhotos | None,
        records: Records,
    ) -> None:
        self.stage, self.settings = stage, settings
        self.champion, self.photos, self.records = champion, photos, records
        self._turn = threading.BoundedSemaphore(os.cpu_count() or 1)
        self._keeping = ThreadPoolExecutor(AT_ONCE, "keep-photos")
        self._warmed: object = None
        self._chance = random.SystemRandom()

    def inspect(
        self, user: User, file_name: str, content: bytes, lot: Lot | None = None, key: str = ""
    ) -> Inspection:
        """Inspect a photo. Photo and verdict are stored before this returns.

        Args:
            user: Who inspects.
            file_name: Name of the file as it came.
            content: Bytes of the file, at most `max_photo_bytes`.
            lot: Lot of the part, if known.
            key: Id of the inspection, drawn at random; empty: it is drawn here.

        Raises:
            PhotoError: The file is not a photo that can be read.
            NoPhotosError: The stage takes no photos.
            NoChampionError: There is no model yet.
            PlatelakeError: The photo cannot be stored.
        """
        photos, model = self.photos, self.champion.model
        if photos is None:
            raise NoPhotosError(f"stage {self.stage.name} takes no photos")
        if model is None:
            raise NoChampionError(f"platelake train photos; platelake promote {self.champion.name}")
        if len(content) > self.settings.max_photo_bytes:
            raise PhotoError("too_large", f"more than {self.settings.max_photo_bytes} bytes")
        with self._turn:
            photo = read_upright(content, self.settings, self.stage.photo_bits)
            # The file is a photo. Store it while the model inspects it.
            keeping = self._keeping.submit(_kept, photos, content)
            verdict, heat = model.inspect(photo)
        grey = as_png(heat, model.points)
        sha256 = keeping.result()
        share = self.settings.sampled_share
        one = Inspection(
            stage=self.stage.name,
            inspection_id=key or uuid.uuid4().hex,
            inspected_at=datetime.now(UTC).replace(tzinfo=None),
            user_name=user.name,
            file_name=shown_name(file_name),
            sha256=sha256,
            size=len(content),
            day=lot.day if lot else None,
            lot=lot.name if lot else None,
            model_version=verdict.version,
            model=verdict.model,
            model_sha256=model.sha256,
            verdict=verdict.verdict,
            probability=verdict.probability,
            low=verdict.low,
            high=verdict.high,
            heat=base64.b64encode(grey).decode(),
            sampled=verdict.verdict == GOOD and self._chance.random() < share,
            reason=verdict.reason,
        )
        self.records.save(one)
        return one

    def warm(self) -> None:
        """Let the model inspect a grey picture, so that no visitor waits for what that loads."""
        model = self.champion.model
        if model is not None and model is not self._warmed:
            model.look(np.full((model.height, model.width, 3), 128, np.uint8))
            self._warmed = model

    def lot(self, text: str) -> Lot | None:
        """Parse a lot: `17` (of today) or `2021-09-06/17`. Return None for an empty text.

        Raises UsageError if the text is not a lot.
        """
        text = text.strip()
        if not text:
            return None
        day, slash, name = text.rpartition("/")
        try:
            when = date.fromisoformat(day) if slash else self.stage.production_day()
        except ValueError:
            raise UsageError(f"{day!r} is not a day such as 2021-09-06") from None
        if len(name) > LOT_LENGTH or not self.stage.is_lot(name):
            raise UsageError(f"{name[:LOT_LENGTH]!r} is not a lot of {self.stage.name}")
        return Lot(when, name)


def _kept(photos: LandingPhotos, content: bytes) -> str:
    """Store the photo in the landing zone, then return its hash."""
    sha256 = hashlib.sha256(content).hexdigest()
    photos.keep(sha256, content)
    return sha256


def shown_name(name: str) -> str:
    """Return a file's name to store: its last part, with U+FFFD for each invisible character.

    >>> shown_name("C:/photos/part 1.png")
    'part 1.png'
    """
    last = re.split(r"[/\\]", name)[-1]
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in last)[:255]
