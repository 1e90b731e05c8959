"""The page of the process, on a generated plant without a champion."""

import getpass
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from lakehouse.delta.lake import Lake
from lakehouse.derive.control import cusum, individuals
from lakehouse.landing.sample_plant import make_sample_plant
from lakehouse.stage import Stage, load_stage
from lakehouse.tables.control_limits import CONTROL_LIMITS
from lakehouse.tables.lots import LOTS
from serving.html import share
from serving.process import CHARTS, KEPT_IN, MOST_POINTS, RULES, Period, Process
from serving.quality import failures_of
from serving.records.inspections import Inspection
from tests.serving.conftest import Browser, Plant
from tests.serving.records.test_outbox import ONE
from tests.serving.records.test_verdict_days import ANN, BEN

pytestmark = pytest.mark.heavy


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Plant:
    from jobs.options import Options
    from jobs.runner import run_jobs

    folder = tmp_path_factory.mktemp("process")
    landing, lake = folder / "landing", folder / "lake"
    make_sample_plant(landing, photos=4)
    jobs = ["ingest_readings", "ingest_error_lists", "label", "features"]
    run_jobs(jobs, Options("chromate", landing=str(landing), lake=str(lake)))
    return Plant(landing, lake, [], [], sorted((landing / "sensor").iterdir())[0])


def specified(lsl: float | None, usl: float | None) -> Stage:
    stage = load_stage("chromate")
    assert stage.readings
    first, *rest = stage.readings.variables
    variables = [first.model_copy(update={"lsl": lsl, "usl": usl}), *rest]
    readings = stage.readings.model_copy(update={"variables": variables})
    return stage.model_copy(update={"readings": readings})


def process(plant: Plant, stage: Stage | None = None) -> Process:
    stage = stage or load_stage("chromate")
    return Process(Lake(str(plant.lake), stage.name, lambda: pytest.fail("no Spark")), stage)


@pytest.mark.parametrize("chart", CHARTS)
def test_each_chart_is_drawn(plant: Plant, chart: str) -> None:
    made = process(plant)
    view = made.view(made.stage.variables[2], chart, Period(), Period())
    assert view.picture and len(view.points) == 264
    assert len(view.picture.dots) == 264 - (chart == "moving_range")
    assert view.base_lots == 256 and view.hidden == 0  # Eight lots failed.


def test_points_are_the_chart_of_the_lots_means(plant: Plant) -> None:
    made = process(plant)
    view = made.view(made.stage.variables[0], "individuals", Period(), Period())
    x = np.array([point.value for point in view.points])
    base = np.array([point.label != "failed" for point in view.points])
    known = individuals(x, base)
    assert [point.high for point in view.points] == pytest.approx(known.high.tolist(), abs=1e-9)
    outside = {(p.day, p.lot) for p, hit in zip(view.points, known.outside, strict=True) if hit}
    assert outside == {(p.day, p.lot) for p in view.points if "nelson_1" in p.rules}
    assert view.picture and sum(dot.is_failed for dot in view.picture.dots) == 8
    days = [point.day for point in view.points]
    some = made.view(made.stage.variables[0], "individuals", Period(days[-1]), Period(last=days[0]))
    assert len(some.points) == 22 and some.base_lots <= 22
    assert MOST_POINTS >= 264


def test_a_small_shift_that_lasts_is_on_the_cusum_and_rules_can_be_chosen(plant: Plant) -> None:
    made = process(plant)
    variable, whole = made.stage.variables[0], Period()
    view = made.view(variable, "cusum", whole, whole)
    x = np.array([p.value for p in made.view(variable, "individuals", whole, whole).points])
    base = np.array([point.label != "failed" for point in view.points])
    limits = individuals(x, base)
    high, low = cusum(x, float(limits.centre[0]), 0.5 * float(limits.sigma[0]))
    known = np.where(high >= low, high, -low)
    assert [point.value for point in view.points] == pytest.approx(known.tolist(), abs=1e-9)
    edge = 5 * float(limits.sigma[0])
    assert [p.high for p in view.points] == pytest.approx([edge] * len(known), abs=1e-9)
    assert [bool(p.rules) for p in view.points] == (np.abs(known) > edge).tolist()
    both = [made.view(variable, "individuals", whole, whole, one) for one in RULES]
    names = [{rule for point in one.points for rule in point.rules} for one in both]
    assert all(rule.startswith("nelson_") for rule in names[0])
    assert all(rule.startswith("western_") for rule in names[1])
    assert {p.lot for p in both[1].points if "western_1" in p.rules} == {
        p.lot for p in both[0].points if "nelson_1" in p.rules
    }


def test_capability_needs_specification_limits(plant: Plant) -> None:
    view = process(plant, specified(1.5, 2.5))
    found = view.view(view.stage.variables[0], "individuals", Period(), Period())
    assert found.within and found.total and found.within.potential
    assert found.within.potential == pytest.approx(1 / (6 * 0.118), rel=0.1)
    assert found.picture and {"lsl", "usl"} <= {line.name for line in found.picture.lines}
    plain = process(plant)
    assert plain.view(plain.stage.variables[0], "run", Period(), Period()).within is None


def test_an_empty_lake_has_an_empty_page(tmp_path: Path) -> None:
    stage = load_stage("chromate")
    made = Process(Lake(str(tmp_path), stage.name, lambda: pytest.fail("no Spark")), stage)
    view = made.view(stage.variables[0], "individuals", Period(), Period())
    assert view.picture is None and view.points == []


def test_the_page_shows_chart_table_and_csv(enter: Any) -> None:
    kim = enter()
    page = kim.get("/process?variable=voltage").text
    assert page.count('class="failed') == 9  # Eight lots, and the legend.
    assert "Limits from" in page and "1: outside the limits" in page
    assert 'href="/lots/2021-11-0' in page and "no specification limits" in page
    lines = kim.get("/process.csv?variable=voltage").text.splitlines()
    assert len(lines) == 265 and lines[0].endswith("day,lot,label,voltage,lower,upper,rules")
    ko = kim.get("/process?chart=ewma", headers={"accept-language": "ko"}).text
    assert "관리상한" in ko and "EWMA" in ko
    empty = kim.get("/process?first_day=2030-01-01").text
    assert "No lots in this period" in empty


def test_limits_that_somebody_set_are_used_and_explained(
    plant: Plant, tmp_path: Path, make_context: Any
) -> None:
    """They stay when lots come later; another version takes their place, and both are kept."""
    from jobs.cli.main import invoke
    from serving.app import create_app

    lake = tmp_path / "lake"
    shutil.copytree(plant.lake, lake)
    made = process(replace(plant, lake=lake))
    variable = made.stage.variables[2]
    days = sorted({row["day"] for row in made.lake.rows(LOTS)})
    own = ["control-limits", "--stage", "chromate", "--lake", str(lake), "--variable"]
    own += [variable.name, "--from", f"{days[0]}"]
    assert invoke([*own, "--to", f"{days[2]}", "--reason", "new bath"]) == 0
    assert invoke([*own, "--to", f"{days[4]}", "--reason", "after <the> repair"]) == 0
    rows = made.lake.rows(CONTROL_LIMITS)
    assert sorted((row["version"], row["chart"]) for row in rows) == [
        (1, "individuals"), (1, "means"), (2, "individuals"), (2, "means")
    ]  # fmt: skip
    for chart in KEPT_IN:
        used = made.view(variable, chart, Period(), Period())
        tried = made.view(variable, chart, Period(), Period(days[0], days[4]))
        assert used.kept and used.kept.version == 2 and tried.kept is None
        assert used.base_lots == tried.base_lots
        for one, other in zip(used.points[1:], tried.points[1:], strict=True):
            assert (one.low, one.high) == pytest.approx((other.low, other.high), abs=1e-9)
            assert one.rules == other.rules
    kept = next(row for row in rows if (row["version"], row["chart"]) == (2, "individuals"))
    point = made.view(variable, "individuals", Period(), Period()).points[0]
    assert (kept["low"], kept["high"]) == pytest.approx((point.low, point.high), abs=1e-12)
    assert made.view(made.stage.variables[0], "individuals", Period(), Period()).kept is None
    context = make_context(lake=str(lake))
    page = Browser(create_app(context, gradio=False), context, "kim").get(
        f"/process?variable={variable.name}"
    )
    assert "after &lt;the&gt; repair" in page.text and f"{days[0]} to {days[4]}" in page.text
    assert getpass.getuser() in page.text and "version 2" in page.text


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"--variable": "x"}, "no variable x"),
        ({"--reason": " "}, "no reason"),
        ({"--to": "2001-01-01"}, "before it begins"),
        ({"--from": "2001-01-01", "--to": "2001-01-02"}, "fewer than two lots"),
    ],
)
def test_limits_that_cannot_be_set_are_refused(
    plant: Plant, changed: dict[str, str], why: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from jobs.cli.main import invoke

    given = {"--variable": "voltage", "--from": "2021-11-01", "--to": "2021-11-09"}
    given |= {"--reason": "why", "--stage": "chromate", "--lake": str(plant.lake)} | changed
    assert invoke(["control-limits", *(word for pair in given.items() for word in pair)]) == 2
    assert why in capsys.readouterr().err
    assert process(plant).lake.rows(CONTROL_LIMITS) == []


@pytest.mark.parametrize("query", ["variable=x", "chart=pie", "first_day=abc"])
def test_a_filter_that_cannot_be_meant_is_refused(enter: Any, query: str) -> None:
    assert enter().get(f"/process?{query}").status_code == 422
    assert enter("lee").get(f"/process.csv?{query}").status_code == 422


def test_failed_lots_by_week_and_the_variables_behind_them(plant: Plant, enter: Any) -> None:
    made = process(plant)
    found = failures_of(made.lake, made.stage, "week", Period())
    assert [one.first.isoweekday() for one in found.groups] == [1, 1, 1]
    assert sum(one.failed for one in found.groups) == sum(n for _, n in found.behind) == 8
    for one in found.groups:
        known = stats.binomtest(one.failed, one.total).proportion_ci(0.95, "exact")
        assert (one.low, one.high) == pytest.approx((known.low, known.high), abs=1e-9)
    day = failures_of(made.lake, made.stage, "day", Period(last=found.groups[0].last))
    assert len(day.groups) == 5 and sum(one.failed for one in day.groups) == found.groups[0].failed
    kim = enter("ann")
    page = kim.get("/quality").text  # Quality, a week, a variable, a lot: four clicks.
    week = f"/quality?by=day&amp;first_day={found.groups[0].first}&amp;last_day="
    assert week in page and "/process?variable=" in page
    page = kim.get("/quality?by=day&first_day=2021-11-01&last_day=2021-11-07").text
    name = next(name for name, _ in day.behind if name)
    assert f"/process?variable={name}&amp;first_day=2021-11-01&amp;last_day=2021-11-07" in page
    assert 'href="/lots?day=2021-11-0' in page
    assert kim.get("/quality?by=year").status_code == 422
    assert "No lots with a label" in kim.get("/quality?first_day=2030-01-01").text


def test_reviewers_see_verdicts_reviews_and_misses(context: Any, enter: Any) -> None:
    """Of four photos in the random sample one is bad, two are good, and one has no label yet."""
    for number, says in enumerate(["bad", "good", "good", ""]):
        own = {"inspection_id": f"{number}", "sha256": f"{number:064}", "verdict": "good"}
        one = Inspection(**vars(ONE) | own | {"sampled": True})
        assert context.records.save(one)
        for person in (ANN, BEN) if says else ():
            context.first.review.correct(person, one, says, "seen")
    ann = enter("ann", "reviewer")
    page = ann.get("/quality").text
    known = stats.binomtest(1, 3).proportion_ci(0.95, "exact")
    assert "1 of 3 photos of the random sample are bad: 33 %." in page
    assert f"{share(known.low)} to {share(known.high)}." in page
    assert "1 photos of the sample have no label yet" in page
    assert "/inspections?first_day=2021-09-06&amp;last_day=2021-09-06" in page
    assert "4 (100 %)" in page
    ko = ann.get("/quality?first_day=2030-01-01", headers={"accept-language": "ko"}).text
    assert "무작위 표본에 확정된 사진이 없습니다" in ko and "검사한 사진이 없습니다" in ko
    assert "random sample" not in enter().get("/quality").text
