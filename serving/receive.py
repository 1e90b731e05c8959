"""Turn received files into results: an inspection, or what is wrong with the file."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime

import structlog

from lakehouse.errors import PlatelakeError
from lakehouse.files.photos import PhotoError
from lakehouse.sql.database import SqlError
from serving.access.sessions import User
from serving.context import AppContext, StageContext
from serving.records.inspections import Inspection
from serving.texts import Texts
from serving.verdicts.inspector import Lot, NoChampionError, NoPhotosError
from serving.verdicts.uploads import Received

NO_CHAMPION = "no_champion"


@dataclass(frozen=True)
class EarlierInspection:
    """An earlier inspection of the photo. `link` is its id, if the user may see it, else empty."""

    at: datetime
    link: str


@dataclass(frozen=True)
class Result:
    """The result of one file. Without an inspection, `rule` and `said` tell why."""

    name: str
    inspection: Inspection | None = None
    seen: EarlierInspection | None = None
    rule: str = ""
    said: str = ""


def inspect_upload(
    here: StageContext, t: Texts, user: User, one: Received, lot: Lot | None, key: str = ""
) -> Result:
    """Inspect one received file, and remove it from the uploads.

    `key` is the id that the inspection gets. If the user has it already, it is not done again.
    """
    start = time.perf_counter()
    try:
        before = _stored(here, key)
        if before and (before.stage, before.user_name) == (here.stage.name, user.name):
            # The connection broke before its answer.
            return Result(before.file_name, before, _seen(here, user, before))
        result = _inspected(here, t, user, one, lot, "" if before else key)
    finally:
        here.app.uploads.drop(one)
    if result.inspection:
        here.app.metrics.verdicts.labels(result.inspection.verdict).inc()
        here.app.metrics.seconds.observe(time.perf_counter() - start)
    else:
        here.app.metrics.refused.labels(result.rule).inc()
    return result


def _stored(here: StageContext, key: str) -> Inspection | None:
    """Return the inspection of this id, if there is one already."""
    try:
        return here.app.records.find(key) if key else None
    except SqlError:
        return None  # A row of the same id is stored once, whenever SQL comes back.


def _inspected(
    here: StageContext, t: Texts, user: User, one: Received, lot: Lot | None, key: str
) -> Result:
    if one.fault:
        return refused(here.app, t, one.name, one.fault)
    try:
        content = one.path.read_bytes()
        found = here.inspector.inspect(user, one.name, content, lot, key)
    except OSError:
        return refused(here.app, t, one.name, "gone")
    except PhotoError as error:
        return refused(here.app, t, one.name, error.rule)
    except NoPhotosError:
        return refused(here.app, t, one.name, "no_photos")
    except NoChampionError as error:
        return Result(one.name, rule=NO_CHAMPION, said=f"{t('inspect.none')} {error}")
    except PlatelakeError as error:
        structlog.get_logger().error("photo not inspected", file=one.name, error=str(error))
        return refused(here.app, t, one.name, "not_kept")
    return Result(found.file_name, found, _seen(here, user, found))


def refused(context: AppContext, t: Texts, name: str, rule: str) -> Result:
    """Return the result of a file that breaks a rule, in the user's language."""
    key = f"fault.{rule}" if f"fault.{rule}" in t.sentences else "fault.other"
    settings = context.settings
    known = {
        "size": f"{settings.max_photo_bytes / (1 << 20):.3g}",
        "files": settings.upload_files,
        "pixels": f"{settings.max_photo_pixels:,}",
    }
    return Result(name, rule=rule, said=t(key, **known))


def _seen(here: StageContext, user: User, one: Inspection) -> EarlierInspection | None:
    """Return the last inspection of the same photo before this one."""
    try:
        known = here.inspections.earlier(one.sha256)
    except SqlError:
        return None
    before = [other for other in known if other.inspection_id != one.inspection_id]
    own = [other for other in before if other.may_be_seen_by(user)]
    if own:
        return EarlierInspection(own[0].inspected_at, own[0].inspection_id)
    return EarlierInspection(before[0].inspected_at, "") if before else None
