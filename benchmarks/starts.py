"""What it costs to start: help, a job by Spark, and a plant's day of ten jobs."""

import shlex
import shutil
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path

import compare
import inputs
import scoring
from case import PLATELAKE, PYTHON, ROOT, STAGE, Case, Suite, do, platelake, script

BY_SPARK = ["env", "PLATELAKE_HERE_BYTES=0", "PLATELAKE_HERE_ROWS=0"]
SUBMIT = str(ROOT / ".venv" / "bin" / "spark-submit")
DELTA = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    "spark.sql.session.timeZone": "UTC",
}
READING = ("ingest_readings", "ingest_error_lists", "ingest_photos")
JOBS = (
    *READING,
    "label",
    "features",
    "summarise",
    "sync",
    "score_lots",
    "score_photos",
    "maintain",
)
DAYS, ROWS, PHOTOS = 20, 2_500, 32
"""Of the lake that is there: a file of so many rows each day, and photos."""


def cases(suite: Suite) -> Iterator[Case]:
    """From the smallest to a day's work."""
    yield Case("platelake --help", {"lake": lambda _: [PLATELAKE, "--help"]})
    plant = Plant(suite.folder / "plant")
    yield Case(
        f"label {DAYS} days by Spark",
        {"lake": plant.label, "spark": partial(plant.submit_peer, "label")},
        plant.prepare,
        plant.copy,
    )
    yield Case(
        "ten jobs for a day with a file more",
        {"lake": plant.commands, "spark-submit": plant.submits, "spark": plant.peers},
        plant.prepare,
        plant.next_day,
        plant.check,
        rounds=3,
    )


class Plant:
    """A landing zone and two lakes made of it, with models: ours, and the peer's."""

    def __init__(self, folder: Path) -> None:
        self.landing, self.lake, self.peer = (folder / n for n in ("landing", "lake", "peer"))
        self.prepare = cache(self._prepare)

    def _prepare(self) -> None:
        inputs.make_readings(self.landing, DAYS, ROWS)
        inputs.make_photos(self.landing / "photos", PHOTOS)
        do(platelake(self.lake, "run", "--landing", str(self.landing)))
        for kind in scoring.KEYS:
            scoring.make_model(self.lake, kind)
            do(platelake(self.lake, f"score-{kind}"))
        shutil.copytree(self.landing, self.peer / "before")
        do(self._submit_peer("all", self.peer / "before", self.peer / "lake"))

    def copy(self, folder: Path) -> None:
        """What a side begins with: `lake`, and the peer's tables."""
        shutil.copytree(self.peer / "lake" if folder.name == "spark" else self.lake, folder)

    def next_day(self, folder: Path) -> None:
        """The same, and a file more in the landing zone."""
        self.copy(folder)
        if len(list((self.landing / "sensor").iterdir())) == DAYS:
            inputs.make_readings(self.landing, 1, ROWS, seed=8, first=DAYS)

    def label(self, folder: Path) -> list[str]:
        """One job whose rows Spark's workers compute."""
        return [*BY_SPARK, *platelake(folder, "label", "--whole")]

    def commands(self, folder: Path) -> list[str]:
        """The day, by the commands."""
        return _in_turn([platelake(folder, *self._job(job, job.replace("_", "-"))) for job in JOBS])

    def submits(self, folder: Path) -> list[str]:
        """The day, by the scripts."""
        where = ["--stage", STAGE, "--lake", str(folder)]
        scripts = [[*self._job(job, str(ROOT / "jobs" / f"{job}.py")), *where] for job in JOBS]
        return _in_turn([[SUBMIT, *words] for words in scripts])

    def peers(self, folder: Path) -> list[str]:
        """The day as a person would write it."""
        return _in_turn([self.submit_peer(job, folder) for job in JOBS])

    def submit_peer(self, job: str, folder: Path) -> list[str]:
        """One of these jobs."""
        return self._submit_peer(job, self.landing, folder)

    def _submit_peer(self, job: str, landing: Path, folder: Path) -> list[str]:
        """By Spark's own default settings: Delta is all that they are told of."""
        conf = [word for pair in DELTA.items() for word in ("--conf", "=".join(pair))]
        models = [scoring.model_of(self.lake, kind) for kind in scoring.KEYS]
        python = [f"PYSPARK_PYTHON={PYTHON}", f"SPARK_CONF_DIR={self.peer}"]
        words = script("peer_jobs", job, landing, folder, *models)[1:]
        return ["env", *python, SUBMIT, *conf, *words]

    def _job(self, job: str, name: str) -> list[str]:
        return [name, *(["--landing", str(self.landing)] if job in READING else [])]

    def check(self, folders: dict[str, Path]) -> None:
        """Raise AssertionError if the sides' lots, features or verdicts differ."""
        compare.chains(folders)
        for kind, keys in scoring.KEYS.items():
            compare.verdicts(folders, scoring.TABLES[kind], keys)


def _in_turn(commands: list[list[str]]) -> list[str]:
    return ["sh", "-ec", "\n".join(map(shlex.join, commands))]
