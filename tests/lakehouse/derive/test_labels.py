"""Labels of runs: what late and corrected lists change. The rule: test_transforms."""

import json
from datetime import date
from typing import Any

import pytest

from lakehouse.stage import Stage
from lakehouse.tables.label_changes import LABEL_CHANGES
from lakehouse.tables.label_report import LABEL_REPORT
from lakehouse.tables.lots import LOTS
from tests.conftest import Chain
from tests.digest import digests, versions
from tests.plant import sensor_lines, write_errors, write_sensor


def test_late_readings_of_a_failed_lot_settle_its_day(
    chain: Chain, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = ("ingest_readings", "ingest_error_lists", "label")
    write_sensor(chain.landing, date(2021, 9, 6), sensor_lines((1, 2)))
    write_errors(chain.landing, {"2021-09-06": ["3"]})
    chain(*jobs)
    assert labels(chain) == {(6, "1"): "unknown", (6, "2"): "unknown"}
    said = [json.loads(line) for line in capsys.readouterr().err.splitlines() if line[:1] == "{"]
    (warning,) = [one for one in said if one["level"] == "warning"]
    assert (warning["day"], warning["lots"], warning["lots_unknown"]) == ("2021-09-06", ["3"], 2)
    late = write_sensor(chain.landing, date(2021, 9, 6), sensor_lines((3,)))
    late.rename(late.with_name("late-" + late.name))
    chain(*jobs)
    assert labels(chain) == {(6, "1"): "good", (6, "2"): "good", (6, "3"): "failed"}
    assert "warning" not in capsys.readouterr().err


def labels(chain: Chain) -> dict[tuple[int, str], str]:
    return {(row["day"].day, row["lot"]): row["label"] for row in chain.lake().rows(LOTS)}


def relabelled(chain: Chain) -> list[tuple[int, str, Any, Any]]:
    rows = chain.lake().rows(LABEL_CHANGES)
    return sorted((r["day"].day, r["lot"], r["before"], r["after"]) for r in rows)


def test_late_and_corrected_lists(chain: Chain, stage: Stage) -> None:
    for day in (6, 7, 8):
        write_sensor(chain.landing, date(2021, 9, day), sensor_lines(level=day / 2))
    write_errors(chain.landing, {"2021-09-06": ["1.0"], "2021-09-09": ["3.0"]})
    chain()
    first = {(6, "1"): "failed", (6, "2"): "good"}
    unknown = {(day, lot): "unknown" for day in (7, 8) for lot in ("1", "2")}
    assert labels(chain) == {**first, **unknown}
    assert relabelled(chain) == []  # the first label of a lot is no change

    # A late list labels its day, and only that.
    late = write_errors(chain.landing, {"2021-09-07": ["2.0"]}, "Error Lot list late.csv")
    before = versions(chain.lake(), stage)
    chain()
    now = {(7, "1"): "good", (7, "2"): "failed"}
    assert labels(chain) == {**first, **unknown, **now}
    assert relabelled(chain) == [(7, "1", "unknown", "good"), (7, "2", "unknown", "failed")]
    after = versions(chain.lake(), stage)
    assert after["lots"] == before["lots"] + 1
    assert after["lot_features"] == before["lot_features"]  # labels are not their business

    # A corrected list relabels, with the difference.
    write_errors(chain.landing, {"2021-09-07": ["1.0"]}, late.name)
    chain()
    assert len(relabelled(chain)) == 4
    assert labels(chain)[7, "1"] == "failed" and labels(chain)[7, "2"] == "good"
    report = {row["day"].day: row for row in chain.lake().rows(LABEL_REPORT)}
    assert report[9]["unmatched_lots"] == ["3"] and report[9]["coverage"] is None
    assert (report[8]["listed"], report[8]["lots_unknown"]) == (False, 2)

    # All of it equals a lake that got everything at once, and running again changes nothing.
    once = Chain(chain.landing, chain.lake_folder.with_name("once"))
    once()
    step_by_step, at_once = digests(chain.lake(), stage), digests(once.lake(), stage)
    assert step_by_step.pop("label_changes") != at_once.pop("label_changes")
    del step_by_step["files"], at_once["files"]
    assert step_by_step == at_once
    still = versions(chain.lake(), stage)
    chain()
    assert versions(chain.lake(), stage) == still


def test_a_lot_whose_readings_are_gone_is_gone(chain: Chain) -> None:
    write_sensor(chain.landing, date(2021, 9, 6), sensor_lines(lots=(1, 2)))
    write_errors(chain.landing, {"2021-09-06": []})
    chain()
    write_sensor(chain.landing, date(2021, 9, 6), sensor_lines(lots=(2,)))
    found = chain()
    assert labels(chain) == {(6, "2"): "good"}
    assert relabelled(chain) == [(6, "1", "good", None)]
    assert found["sql"]["lots"] == 1
