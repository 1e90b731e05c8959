"""What a running app consists of. It is built once and given to the pages."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import sqlalchemy as sa

from lakehouse.delta.lake import Lake
from lakehouse.settings import Settings
from lakehouse.sql.database import Database, SqlError
from lakehouse.stage import Stage
from ml.registry import Registry
from serving.access.accounts import Accounts
from serving.access.sessions import User
from serving.access.visitors import Visitors
from serving.looks import Looks
from serving.lots import Lots
from serving.metrics import Metrics
from serving.origin import Sources
from serving.process import Process
from serving.records.costs import CostHistory
from serving.records.inspections import Inspections, Records
from serving.records.outbox import Outbox
from serving.records.review import Review
from serving.records.verdict_days import VerdictDays
from serving.verdicts.champion import Champion
from serving.verdicts.inspector import Inspector
from serving.verdicts.landing_photos import LandingPhotos
from serving.verdicts.uploads import Uploads

COOKIE = "platelake_session"


@dataclass
class StageContext:
    """One stage of the plant, and every service that knows only this stage.

    `app` is what all stages share.
    """

    app: AppContext
    stage: Stage
    inspections: Inspections
    review: Review
    verdict_days: VerdictDays
    photos: LandingPhotos | None
    photo_champion: Champion
    lot_champion: Champion
    inspector: Inspector
    lots: Lots
    process: Process

    @property
    def settings(self) -> Settings:
        """The settings of the app."""
        return self.app.settings

    @property
    def champions(self) -> dict[str, Champion]:
        """The champions by kind of model."""
        return {"photos": self.photo_champion, "lots": self.lot_champion}

    @property
    def sources(self) -> Sources:
        """Where the steps behind a verdict are read; without MLflow while it is away."""
        registry = None if self.app.mlflow_away else self.app.registry
        return Sources(self.lots.lake, self.stage, registry)

    def warm(self) -> None:
        """Load what the first visitors would wait for: seconds at a start, nothing afterwards."""
        self.inspector.warm()
        self.lots.warm()


@dataclass
class AppContext:
    """The services that all stages share, and the stages by name."""

    settings: Settings
    accounts: Accounts
    visitors: Visitors
    outbox: Outbox
    records: Records
    uploads: Uploads
    metrics: Metrics
    registry: Registry
    costs: CostHistory
    looks: Looks
    stages: dict[str, StageContext] = field(default_factory=dict)
    sql_away: bool = False

    @property
    def cookie(self) -> str:
        """Name of the session cookie. With `__Host-`, no other host or path can set it.

        Below a path the cookie is for this path alone, which `__Host-` does not allow.
        """
        if not self.settings.secure_cookies:
            return COOKIE
        return f"{'__Secure' if self.settings.root_path else '__Host'}-{COOKIE}"

    @property
    def first(self) -> StageContext:
        """The stage of a visitor who has chosen none."""
        return next(iter(self.stages.values()))

    def open_to(self, user: User | None) -> dict[str, StageContext]:
        """Return the stages that this user may open: the one place that decides it.

        In the setting `stage_access` the user's own line counts, else the line of the role; who has
        neither may open all.
        """
        lines = {name.casefold(): stages for name, stages in self.settings.stage_access.items()}
        mine = lines.get(user.name, lines.get(user.role)) if user else None
        if mine is None:
            return self.stages
        return {name: here for name, here in self.stages.items() if name in mine}

    @property
    def champions(self) -> list[Champion]:
        """The champions of all stages."""
        return [champion for here in self.stages.values() for champion in here.champions.values()]

    @property
    def mlflow_away(self) -> bool:
        """Whether the registry did not answer the last request."""
        return not all(champion.reachable for champion in self.champions)

    def warm(self) -> None:
        """Load what the first visitors of each stage would wait for."""
        for here in self.stages.values():
            here.warm()

    def look_around(self) -> None:
        """Deliver waiting rows to SQL, and ask for new champions."""
        try:
            with self.accounts.database.transaction() as connection:
                connection.execute(sa.select(1))
            self.visitors.end_sessions()
            self.records.deliver()
            self.sql_away = False
        except SqlError:
            self.sql_away = True
        for champion in self.champions:
            champion.refresh()


def open_context(
    stages: Iterable[tuple[Stage, Lake]], settings: Settings, landing: str, registry: Registry
) -> AppContext:
    """Return the context of an app for these stages. It does not load the champions yet."""
    folder = settings.app_address()
    outbox = Outbox(folder / "outbox.db")
    database = Database(settings.sql_address())
    accounts = Accounts(database, settings.sign_up)
    uploads = Uploads(folder / "uploads", settings.max_photo_bytes, settings.upload_files)
    app = AppContext(
        settings,
        accounts,
        Visitors(accounts),
        outbox,
        Records(database, outbox, pushed=bool(settings.verdict_webhook)),
        uploads,
        Metrics(),
        registry,
        CostHistory(database),
        Looks(uploads),
    )
    for stage, lake in stages:
        app.stages[stage.name] = _open_stage(app, stage, lake, landing, registry, folder)
    return app


def _open_stage(
    app: AppContext, stage: Stage, lake: Lake, landing: str, registry: Registry, folder: Path
) -> StageContext:
    database = app.records.database
    champions = {
        kind: Champion(registry, f"{stage.name}-{kind}", folder / "champions")
        for kind in ("photos", "lots")
    }
    takes_photos = stage.photos is not None and stage.photos.unlabelled
    photos = LandingPhotos(landing, stage) if takes_photos else None
    return StageContext(
        app,
        stage,
        Inspections(database, stage.name, stage.zone),
        Review(database, stage.name, [defect.name for defect in stage.defects]),
        VerdictDays(database, stage.name, stage.zone),
        photos,
        champions["photos"],
        champions["lots"],
        Inspector(stage, app.settings, champions["photos"], photos, app.records),
        Lots(lake, stage, app.settings, champions["lots"]),
        Process(lake, stage),
    )
