"""What a running app consists of. It is built once and given to the pages."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from lakehouse.delta.lake import Lake
from lakehouse.settings import Settings
from lakehouse.sql.database import Database, SqlError
from lakehouse.stage import Stage
from ml.registry import Registry
from serving.access.accounts import Accounts
from serving.access.visitors import Visitors
from serving.lots import Lots
from serving.metrics import Metrics
from serving.records.inspections import Inspections
from serving.records.outbox import Outbox
from serving.records.review import Review
from serving.verdicts.champion import Champion
from serving.verdicts.inspector import Inspector
from serving.verdicts.landing_photos import LandingPhotos
from serving.verdicts.uploads import Uploads

COOKIE = "platelake_session"


@dataclass
class AppContext:
    """Stage, settings, and every service that the pages use."""

    stage: Stage
    settings: Settings
    accounts: Accounts
    visitors: Visitors
    outbox: Outbox
    inspections: Inspections
    review: Review
    photos: LandingPhotos
    photo_champion: Champion
    lot_champion: Champion
    inspector: Inspector
    lots: Lots
    uploads: Uploads
    metrics: Metrics
    sql_away: bool = False

    @property
    def cookie(self) -> str:
        """Name of the session cookie. With the prefix, no other host or path can set it."""
        return f"__Host-{COOKIE}" if self.settings.secure_cookies else COOKIE

    @property
    def mlflow_away(self) -> bool:
        """Whether the registry did not answer the last request."""
        return not (self.photo_champion.reachable and self.lot_champion.reachable)

    def warm(self) -> None:
        """Load what the first visitors would wait for: seconds at a start, nothing afterwards."""
        self.inspector.warm()
        self.lots.warm()

    def look_around(self) -> None:
        """Deliver waiting rows to SQL, and ask for new champions."""
        try:
            with self.accounts.database.transaction() as connection:
                connection.execute(sa.select(1))
            self.visitors.end_sessions()
            self.inspections.deliver()
            self.sql_away = False
        except SqlError:
            self.sql_away = True
        for champion in (self.photo_champion, self.lot_champion):
            champion.refresh()


def open_context(
    stage: Stage, settings: Settings, lake: Lake, landing: str, registry: Registry
) -> AppContext:
    """Return the context of an app on this lake. It does not load the champions yet."""
    folder = settings.app_address()
    outbox = Outbox(folder / "outbox.db")
    database = Database(settings.sql_address())
    accounts = Accounts(database, settings.sign_up)
    champions = {
        kind: Champion(registry, f"{stage.name}-{kind}", folder / "champions")
        for kind in ("photos", "lots")
    }
    inspections = Inspections(database, outbox, stage.name, stage.zone)
    photos = LandingPhotos(landing, stage)
    return AppContext(
        stage,
        settings,
        accounts,
        Visitors(accounts),
        outbox,
        inspections,
        Review(database, stage.name, [defect.name for defect in stage.defects]),
        photos,
        champions["photos"],
        champions["lots"],
        Inspector(stage, settings, champions["photos"], photos, inspections),
        Lots(lake, stage, settings, champions["lots"]),
        Uploads(folder / "uploads", settings.max_photo_bytes, settings.upload_files),
        Metrics(),
    )
