"""A small plant with champions, once for all tests of the app; a fresh app for each test.

What is heavy is imported where it is used: `make check` imports this file for the light tests.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from starlette.testclient import TestClient

from tests.conftest import REAL

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from lakehouse.stage import Stage
    from ml.registry import Registry, Version
    from ml.study.context import TrainingContext
    from serving.context import AppContext

PASSWORD = "correct horse battery"
HOST = "https://app.test"


@dataclass(frozen=True)
class Plant:
    """Where its files and tables are; `good` and `bad` are photos of it, `sensor` a file."""

    landing: Path
    lake: Path
    good: list[Path]
    bad: list[Path]
    sensor: Path


@pytest.fixture(scope="session")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Plant:
    """Drawn sensor files, real photos where they are there, and a champion of each kind."""
    from jobs.options import Options
    from jobs.runner import CHAIN, begin, run_jobs
    from jobs.train import training_context
    from lakehouse.landing.sample_plant import make_sample_plant
    from ml.photos.recipe import recipe_for
    from ml.photos.weights import NETWORK
    from ml.study.context import Protocol
    from ml.study.lots import train_lots
    from ml.study.photos import train_photos
    from ml.trees.models import TreeRecipe

    folder = tmp_path_factory.mktemp("served")
    landing, lake = folder / "landing", folder / "lake"
    make_sample_plant(landing, days=4, lots_per_day=8, rows_per_lot=24, failed_lots=6, photos=24)
    real = REAL / "kamp" / "chromate" / "photos"
    if real.is_dir():
        shutil.rmtree(landing / "photos")
        shutil.copytree(real, landing / "photos")
    options = Options("chromate", landing=str(landing), lake=str(lake))
    run_jobs(CHAIN, options)
    shop = training_context(begin(Options("chromate", lake=str(lake))))
    crown(shop, train_lots(shop, [TreeRecipe("logistic")], Protocol("kfold", 3), "lot"))
    crown(shop, train_photos(shop, [recipe_for(NETWORK)], Protocol("kfold", 3)))
    run_jobs(["score_lots"], Options("chromate", lake=str(lake)))
    good, bad = (sorted((landing / "photos" / label).iterdir()) for label in ("good", "bad"))
    return Plant(landing, lake, good, bad, sorted((landing / "sensor").iterdir())[0])


def crown(shop: TrainingContext, version: Version) -> None:
    """Make it the champion, for no reason."""
    from ml.study.promotion import compare, promote

    found = compare(shop.registry, version, lambda version, splits: {})
    promote(shop.registry, found, "the test's", "test")


@pytest.fixture
def landing(tmp_path: Path) -> Path:
    return tmp_path / "landing"


def opened_context(
    folder: Path,
    landing: Path,
    stages: Sequence[Stage],
    registry: Registry | None = None,
    **options: Any,
) -> AppContext:
    """Parts of an app with a database of its own in the folder; settings as keywords."""
    from lakehouse.delta.lake import Lake
    from lakehouse.settings import load_settings
    from ml.registry import registry_of
    from serving.context import open_context

    given = {
        "sql_url": f"sqlite:///{folder / 'app.db'}",
        "app_folder": str(folder / "app"),
        "sampled_share": 0.0,
        "sign_up": "open",
        **options,
    }
    settings = load_settings(**given)

    def no_spark() -> SparkSession:
        raise AssertionError("the app starts no Spark")

    served = [(stage, Lake(settings.lake, stage.name, no_spark)) for stage in stages]
    context = open_context(served, settings, str(landing), registry or registry_of(settings))
    context.look_around()
    return context


@pytest.fixture
def make_context(
    plant: Plant, landing: Path, tmp_path: Path
) -> Iterator[Callable[..., AppContext]]:
    """Parts of an app of the plant; settings as keywords. `others`: further stages."""
    from lakehouse.stage import load_stage

    made: list[AppContext] = []

    def make(
        registry: Registry | None = None, others: Sequence[Stage] = (), **options: Any
    ) -> AppContext:
        options = {"lake": str(plant.lake), **options}
        stages = [load_stage("chromate"), *others]
        made.append(opened_context(tmp_path, landing, stages, registry, **options))
        return made[-1]

    landing.mkdir()
    yield make
    for context in made:
        context.outbox.close()
        context.accounts.database.engine.dispose()


@pytest.fixture
def context(make_context: Callable[..., AppContext]) -> AppContext:
    return make_context()


class Browser:
    """Somebody at the app: keeps cookies, sends where a form comes from, as browsers do."""

    def __init__(
        self, app: Any, context: AppContext, name: str = "", role: str = "operator"
    ) -> None:
        self.context, self.name = context, name
        self.http = TestClient(app, base_url=HOST, follow_redirects=False)
        self.http.headers |= {"origin": HOST, "accept": "text/html", "accept-language": "en"}
        if name:
            context.accounts.add(name, role, PASSWORD, by="test")
            self.log_in()

    def log_in(self, password: str = PASSWORD) -> Any:
        return self.http.post("/login", data={"name": self.name, "password": password})

    def get(self, path: str, **how: Any) -> Any:
        return self.http.get(path, **how)

    def csrf(self) -> str:
        found = re.search(r'name="csrf" value="([^"]+)"', self.get("/account").text)
        return found[1] if found else ""

    def post(self, path: str, **fields: str) -> Any:
        return self.http.post(path, data={"csrf": self.csrf(), **fields})

    def inspect_upload(self, *photos: Path | tuple[str, bytes], lot: str = "", **how: Any) -> Any:
        """Through the HTTP interface, by this session."""
        files = [
            ("files", one if isinstance(one, tuple) else (one.name, one.read_bytes()))
            for one in photos
        ]
        return self.http.post("/api/verdicts", files=files, data={"lot": lot}, **how)

    def inspected(self, photo: Path) -> str:
        """The id of a new inspection of that photo."""
        found: str = self.inspect_upload(photo).json()["results"][0]["verdict"]["inspection_id"]
        return found


@pytest.fixture
def gradio() -> bool:
    """Whether the app has Gradio's pages, which take seconds to build; tests of them say so."""
    return False


@pytest.fixture
def app(context: AppContext, gradio: bool) -> Any:
    from serving.app import create_app

    return create_app(context, gradio=gradio)


@pytest.fixture
def enter(app: Any, context: AppContext) -> Callable[..., Browser]:
    """Let somebody in: name and role."""
    return lambda name="kim", role="operator": Browser(app, context, name, role)
