"""A photo becomes an inspection: judged, kept in the landing zone, and written down."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import random
import re
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime

from lakehouse.errors import PlatelakeError, UsageError
from lakehouse.files.photos import PhotoError
from lakehouse.settings import Settings
from lakehouse.stage import Stage
from ml.use.explain import grey_heat
from serving.access.accounts import User
from serving.records.inspections import Inspection, Inspections
from serving.verdicts.champion import Champion
from serving.verdicts.landing_photos import LandingPhotos

GOOD = "good"
LOT_LENGTH = 100


class NoChampionError(PlatelakeError):
    """There is no model yet to judge by; it says what to run."""


@dataclass(frozen=True)
class Lot:
    """The lot of a part. Days are the plant's."""

    day: date
    name: str


class Inspector:
    """Judges photos by the champion, as many at once as there are processors."""

    def __init__(
        self,
        stage: Stage,
        settings: Settings,
        champion: Champion,
        photos: LandingPhotos,
        inspections: Inspections,
    ) -> None:
        self.stage, self.settings = stage, settings
        self.champion, self.photos, self.inspections = champion, photos, inspections
        self._turn = threading.BoundedSemaphore(os.cpu_count() or 1)
        self.at_once = 2 * (os.cpu_count() or 1)
        """So many requests may be under way: one half decodes and judges, the other writes."""
        self._keeping = ThreadPoolExecutor(self.at_once, "keep-photos")
        self._chance = random.SystemRandom()

    def inspect(
        self, user: User, file_name: str, content: bytes, lot: Lot | None = None
    ) -> Inspection:
        """The verdict on a photo, which is kept with it before this returns.

        Raises PhotoError where the file is no photo, NoChampionError, or PlatelakeError where the
        photo cannot be kept.
        """
        model = self.champion.model
        if model is None:
            raise NoChampionError(f"platelake train cnn; platelake promote {self.champion.name}")
        if len(content) > self.settings.max_photo_bytes:
            raise PhotoError("too_large", f"more than {self.settings.max_photo_bytes} bytes")
        with self._turn:
            tensor = model.read(content, self.settings)
            # It is a photo: the disk takes it in while the model looks at it.
            keeping = self._keeping.submit(self._kept, content)
            verdict, heat = model.look(tensor)
        grey = io.BytesIO()
        grey_heat(heat).save(grey, "PNG")
        sha256 = keeping.result()
        share = self.settings.sampled_share
        one = Inspection(
            stage=self.stage.name,
            inspection_id=uuid.uuid4().hex,
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
            heat=base64.b64encode(grey.getvalue()).decode(),
            sampled=verdict.verdict == GOOD and self._chance.random() < share,
        )
        self.inspections.save(one)
        return one

    def _kept(self, content: bytes) -> str:
        """The hash of a photo, which is in the landing zone when this returns."""
        sha256 = hashlib.sha256(content).hexdigest()
        self.photos.keep(sha256, content)
        return sha256

    def lot(self, text: str) -> Lot | None:
        """The lot that somebody typed: `17`, of today, or `2021-09-06/17`; None for nothing.

        Raises UsageError.
        """
        text = text.strip()
        if not text:
            return None
        day, slash, name = text.rpartition("/")
        try:
            when = date.fromisoformat(day) if slash else datetime.now(self.stage.zone).date()
        except ValueError:
            raise UsageError(f"{day!r} is no day such as 2021-09-06") from None
        if len(name) > LOT_LENGTH or not re.fullmatch(self.stage.lot_pattern, name):
            raise UsageError(f"{name[:LOT_LENGTH]!r} is no lot of {self.stage.name}")
        return Lot(when, name)


def shown_name(name: str) -> str:
    """A file's name as it is kept: its last part, without what no screen shows."""
    last = re.split(r"[/\\]", name)[-1]
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in last)[:255]
