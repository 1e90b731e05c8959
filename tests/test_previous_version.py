"""A lake and two champions of the previous version: opened, brought up to date, gone on with.

`tests/previous` holds them and says how they were made. The tests run in this order on one lake.
"""

import json
import tarfile
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from pyspark.sql import SparkSession

from jobs.cli.main import invoke
from jobs.context import RunContext
from jobs.options import Options
from jobs.runner import begin
from jobs.train import open_registry, training_context
from lakehouse.stage import Stage, load_stage
from lakehouse.tables.lot_verdicts import LOT_VERDICTS
from lakehouse.tables.lots import LOTS
from lakehouse.tables.photo_verdicts import PHOTO_VERDICTS
from lakehouse.tables.picture_names import PICTURE_NAMES
from ml.study.reproduction import reproduce
from ml.use.explain import explain_lot
from tests.conftest import Chain
from tests.digest import versions
from tests.plant import sensor_lines, write_sensor

pytestmark = pytest.mark.heavy

PACKED = Path(__file__).with_name("previous") / "lake.tar.gz"
LIST, LAST_DAY, NEXT_DAY = "Error Lot list.csv", date(2021, 9, 9), date(2021, 9, 10)


@pytest.fixture(scope="module")
def chain(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Chain:
    folder = tmp_path_factory.mktemp("previous")
    with tarfile.open(PACKED) as packed:
        packed.extractall(folder, filter="data")
    options = {"stage": None, "stage_file": folder / "chromate.toml"}
    return Chain(folder / "landing", folder / "lake", options)


@pytest.fixture(scope="module")
def stage(chain: Chain) -> Stage:
    return load_stage(None, chain.options["stage_file"])


@pytest.fixture
def work(chain: Chain) -> RunContext:
    """What a command has around it that needs no landing zone."""
    return begin(Options(lake=str(chain.lake_folder), **chain.options))


def where(chain: Chain) -> list[str]:
    return ["--lake", str(chain.lake_folder), "--stage-file", str(chain.options["stage_file"])]


def labels(chain: Chain) -> dict[tuple[str, str], str]:
    return {(str(row["day"]), row["lot"]): row["label"] for row in chain.lake().rows(LOTS)}


def facts(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(map(repr, rows))


def test_the_champions_are_there(chain: Chain, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["compare", *where(chain)]) == 0
    shown = capsys.readouterr().out
    assert "chromate-lots" in shown and "chromate-photos" in shown
    assert shown.count("\tchampion\n") == 2 and "logistic" in shown and "small" in shown


def test_they_say_of_a_lot_what_is_stored(chain: Chain, work: RunContext) -> None:
    stored = chain.lake().rows(LOT_VERDICTS)
    model = open_registry(work).load("chromate-lots")
    assert len(stored) == 32 and {row["verdict"] for row in stored} == {"good", "bad"}
    for row in stored[::8]:
        verdict, _ = explain_lot(work.lake, work.stage, model, row["day"], row["lot"])
        assert verdict.verdict == row["verdict"]
        assert verdict.probability == pytest.approx(row["probability"], abs=1e-6)
        assert row["model_sha256"] == model.sha256


def test_they_say_of_each_photo_what_is_stored(
    chain: Chain, capsys: pytest.CaptureFixture[str]
) -> None:
    lake = chain.lake()
    stored = {row["pixel_sha256"]: row for row in lake.rows(PHOTO_VERDICTS)}
    expected = {
        str(chain.landing / row["file"]): stored[row["pixel_sha256"]]
        for row in lake.rows(PICTURE_NAMES)
    }
    assert len(expected) == 19 and len(stored) == 20  # One is held back under its two labels.
    assert invoke(["predict", "--json", *expected, *where(chain)]) == 0
    for line in capsys.readouterr().out.splitlines():
        said = json.loads(line)
        row = expected.pop(said["file"])
        assert said["verdict"] == row["verdict"]
        assert said["probability"] == pytest.approx(row["probability"], abs=1e-6)
    assert expected == {}


def test_a_champion_is_trained_again_from_its_pinned_data(work: RunContext) -> None:
    shop = training_context(work)
    found = reproduce(shop, shop.registry.need("chromate-lots"))
    assert found.is_equal and found.largest_difference < 1e-6


def test_the_first_run_reads_a_doubtful_list_again_and_nothing_else(
    chain: Chain, stage: Stage
) -> None:
    """The previous version did not know doubts: it called every lot good that no row named."""
    before, then = versions(chain.lake(), stage), labels(chain)
    found = chain()
    assert found["files"] == dict(seen=1, loaded=1, duplicate=0, quarantined=0, known=25)
    assert found["sql"]["lots"] == 32
    after = versions(chain.lake(), stage)
    changed = {name for name in after if after[name] != before[name]}
    of_lists = {"files", "quarantine", "error_lists", "doubted_days"}
    assert changed == of_lists | {"lots", "label_report", "label_changes"}
    now = labels(chain)
    for lot, label in now.items():
        doubted = lot[0] < "2021-09-09" and label != "failed"
        assert label == ("unknown" if doubted else then[lot]), lot
    assert set(now.values()) == {"failed", "good", "unknown"}


def test_the_next_run_and_scoring_write_nothing(chain: Chain, stage: Stage) -> None:
    before = versions(chain.lake(), stage)
    found = chain()
    chain("score_lots", "score_photos")
    assert found["files"] == dict(seen=0, loaded=0, duplicate=0, quarantined=0, known=26)
    assert versions(chain.lake(), stage) == before


def test_a_further_day_is_added_and_scored(chain: Chain) -> None:
    """The old rows and verdicts stay. The list, mended, ends the doubts."""
    lake = chain.lake()
    old = {table: lake.rows(table) for table in (LOT_VERDICTS, PHOTO_VERDICTS)}
    readings = chain("ingest_readings")["readings"]
    write_sensor(chain.landing, NEXT_DAY, sensor_lines(lots=(1, 2)))
    text = (chain.landing / LIST).read_text().replace("2021-09-07,4\n", "2021-09-07,4,\n")
    (chain.landing / LIST).write_text(f"{text}{NEXT_DAY},2,\n")
    found = chain()
    assert (found["readings"], found["quarantined"]) == (readings + 6, 3)  # A row; a photo, twice.
    now = labels(chain)
    assert (now["2021-09-07", "4"], now["2021-09-07", "5"]) == ("failed", "good")
    assert (now[str(NEXT_DAY), "1"], now[str(NEXT_DAY), "2"]) == ("good", "failed")
    assert "unknown" not in now.values()

    chain("score_lots", "score_photos")
    lots = lake.rows(LOT_VERDICTS)
    assert facts([row for row in lots if row["day"] <= LAST_DAY]) == facts(old[LOT_VERDICTS])
    new = [(row["lot"], row["model_version"]) for row in lots if row["day"] == NEXT_DAY]
    assert sorted(new) == [("1", 1), ("2", 1)]
    assert facts(lake.rows(PHOTO_VERDICTS)) == facts(old[PHOTO_VERDICTS])
