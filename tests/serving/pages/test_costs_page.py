"""The page of the costs: what they do before they are saved, and who may save them."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from jobs.options import Options
from jobs.runner import begin
from lakehouse.stage import load_stage
from ml.figures.thresholds import Costs
from ml.figures.what_if import expected
from serving.app import create_app
from serving.context import AppContext
from serving.records.costs import CostsError, checked
from tests.serving.conftest import Browser, Plant, opened_context

BEFORE = Costs(escape=100, scrap=10, review=1)


@pytest.fixture
def empty(tmp_path: Path, landing: Path) -> Iterator[AppContext]:
    """A plant without a model."""
    lake = str(tmp_path / "lake")
    made = opened_context(tmp_path, landing, [load_stage("chromate")], lake=lake)
    yield made
    made.outbox.close()
    made.accounts.database.engine.dispose()


def table(page: str) -> list[list[str]]:
    """The cells of what follows, each row from its heading on, without intervals."""
    body = page.partition('id="expected"')[2].partition("</table>")[0]
    cells = re.findall(r"<tr>(.*?)</tr>", body.partition("<tbody>")[2])
    plain = [re.sub(r"<br><small.*?</small>", "", row) for row in cells]
    return [re.findall(r"<t[hd][^>]*>\s*(.*?)\s*</t[hd]>", row) for row in plain]


def test_costs_are_saved_by_an_engineer_and_audited(empty: AppContext) -> None:
    app = create_app(empty)
    kim, lee = Browser(app, empty, "kim", "reviewer"), Browser(app, empty, "lee", "engineer")
    assert "/costs" not in kim.get("/quality").text and "/costs" in lee.get("/quality").text
    form = {"kind": "photos", "escape": "250", "scrap": "10", "review": "0.5"}
    assert kim.get("/costs").status_code == 403
    assert kim.post("/costs", **form, reason="x").status_code == 403
    assert "There is no model in use" in lee.get("/costs").text
    answer = lee.post("/costs", **form, reason=" <b>a recall</b>  in May ")
    assert answer.status_code == 303
    page = lee.get(answer.headers["location"]).text
    assert "The next training uses these costs" in page and "&lt;b&gt;a recall" in page
    (saved,) = empty.costs.of("chromate-photos")
    assert (saved.costs, saved.set_by) == (Costs(250, 10, 0.5), "lee")
    assert empty.costs.now("chromate-lots", empty.settings) == BEFORE  # Lots have their own.
    noted = [(e["user_name"], e["action"], e["object"]) for e in empty.accounts.audit()]
    told = "chromate-photos: escape 250, scrap 10, review 0.5: <b>a recall</b> in May"
    assert ("lee", "costs set", told) in noted
    assert {("kim", "refused", f"{how} /costs") for how in ("GET", "POST")} <= set(noted)
    assert "set the costs" in Browser(app, empty, "boss", "admin").get("/audit").text


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"escape": "0"}, "above 0"),
        ({"scrap": "-1"}, "above 0"),
        ({"review": "nan"}, "above 0"),
        ({"review": "inf"}, "above 0"),
        ({"escape": "1e10"}, "above 0"),
        ({"escape": "much"}, "above 0"),
        ({"reason": " "}, "Say why"),
        ({"reason": "x" * 1_001}, "Say why"),
    ],
)
def test_costs_that_cannot_be_meant(empty: AppContext, given: dict[str, str], why: str) -> None:
    lee = Browser(create_app(empty), empty, "lee", "engineer")
    answer = lee.post("/costs", **{"kind": "photos", "escape": "7", "reason": "why", **given})
    assert answer.status_code == 400 and why in answer.text
    assert empty.costs.of("chromate-photos") == []
    if "reason" in given:
        assert answer.text.count('value="7"') == 2  # What was typed is kept.


def test_a_cost_that_is_not_named_stays() -> None:
    assert checked({"review": " 2 "}, BEFORE) == Costs(100, 10, 2)
    with pytest.raises(CostsError):
        checked({"review": "1e999"}, BEFORE)


def test_another_kind_and_a_wrong_number_in_the_address(empty: AppContext) -> None:
    lee = Browser(create_app(empty), empty, "lee", "engineer")
    assert lee.get("/costs?kind=people").status_code == 422
    wrong = lee.get("/costs?kind=lots&escape=-4")
    assert wrong.status_code == 422 and 'value="100"' in wrong.text


@pytest.mark.heavy
def test_costs_move_before_they_are_saved_and_count_for_the_next_study(
    enter: Callable[..., Browser], context: AppContext, plant: Plant, tmp_path: Path
) -> None:
    from jobs.train import training_context

    lee, kept = enter("lee", "engineer"), context.first.photo_champion.model
    now = table(lee.get("/costs?kind=photos").text)
    assert len(now) == 7 and all(before == after for _, before, after in now)
    moved = table(lee.get("/costs?kind=photos&escape=1&scrap=1&review=50").text)
    rows = {row[0]: row[1:] for row in moved}
    assert [row[1] for row in moved] == [row[1] for row in now]
    tested = context.first.photo_champion.tested()
    assert tested is not None
    for at, costs in enumerate((BEFORE, Costs(1, 1, 50))):
        found = expected(tested, costs)
        assert found.review and rows["Share that people review, %"][at] == (
            f"{100 * found.review.value:.3g}"
        )
        assert rows["Cost of each part"][at] == f"{found.cost:.3g}"
    assert len(set(rows["Cost of each part"])) == 2
    assert context.costs.of("chromate-photos") == []  # Nothing is saved yet.

    lee.post("/costs", kind="photos", escape="1", scrap="1", review="50", reason="a trial")
    sql = context.settings.sql_url
    training = training_context(begin(Options("chromate", lake=str(plant.lake), sql_url=sql)))
    assert training.costs("photos") == Costs(1, 1, 50) and training.costs("lots") == BEFORE
    verdict = lee.inspect_upload(plant.bad[0]).json()["results"][0]["verdict"]
    thresholds = kept.thresholds  # A verdict has those of its own model.
    assert (verdict["low"], verdict["high"]) == (thresholds.low, thresholds.high)
    assert kept.card["costs"] == vars(BEFORE)
