"""Pages of a model's versions: what a promotion rests on, who may do it, and the way back."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ml.figures.cross_validation import CrossValidation
from ml.figures.metrics import Interval
from ml.figures.thresholds import Costs
from ml.registry import Version
from ml.study.context import TrainingContext
from ml.study.dossier import CUTS, _mistakes, _side, _slices
from serving.app import create_app
from serving.context import AppContext
from tests.serving.conftest import Browser, Plant

COSTS = Costs(escape=100, scrap=10, review=1)


def test_slices_and_mistakes_by_hand() -> None:
    y = np.array([0, 1, 0, 1, 0, 1])
    items = tuple(f"2021-{month:02}-01/{n}" for n, month in enumerate((9, 9, 9, 10, 10, 10)))
    fold = np.array([[0], [0], [1], [1], [0], [1]])
    sure, blind = np.array([[0.1], [0.9], [0.2], [0.8], [0.1], [0.9]]), np.full((6, 1), 0.5)
    sides = [
        _side(
            Version("chromate-lots", n, "run", ""),
            CrossValidation((), items, y, p, fold, items, np.zeros((6, 1), bool)),
            COSTS,
        )
        for n, p in ((2, sure), (1, blind))
    ]
    found = {one.name: one for one in _slices(sides)}
    assert set(found) == {"good", "bad", "2021-09", "2021-10"}
    assert (found["2021-10"].items, found["2021-10"].bad) == (3, 2)
    # Without any knowledge a person reviews all, which is the cheapest.
    assert found["bad"].reviews[1] == 3 and found["good"].reviews[1] == 3
    assert found["bad"].missed == (0, 0) and found["good"].alarms[1] == 0
    at = CUTS.index(0.5)
    assert sides[0].curve[at] == 0 and sides[1].curve[at] == 10 * 3 / 6
    assert [one.item for one in _mistakes(sides[0].tested)] == [items[2], items[3]]


@dataclass
class Trained:
    """A copy of the plant in which a second study has left a challenger."""

    training: TrainingContext
    challenger: Version


@pytest.fixture
def trained(plant: Plant, tmp_path: Path) -> Trained:
    from jobs.options import Options
    from jobs.runner import begin
    from jobs.train import training_context
    from ml.study.context import Protocol
    from ml.study.lots import train_lots
    from ml.trees.models import TreeRecipe

    lake = tmp_path / "lake"
    shutil.copytree(plant.lake, lake)
    training = training_context(begin(Options("chromate", lake=str(lake))))
    recipe = [TreeRecipe("decision_tree")]
    return Trained(training, train_lots(training, recipe, Protocol("kfold", 3), "lot"))


@pytest.mark.heavy
def test_promoted_and_rolled_back_by_an_engineer(
    trained: Trained, make_context: Callable[..., AppContext]
) -> None:
    context = make_context(lake=trained.training.settings.lake)
    app, registry = create_app(context), trained.training.registry
    kim, lee = Browser(app, context, "kim", "reviewer"), Browser(app, context, "lee", "engineer")
    page = "/models/lots/2"
    assert f'href="{page}"' in lee.get("/models").text
    seen, dossier = kim.get(page).text, lee.get(page).text
    about = registry.describe("chromate-lots", 2)
    assert about is not None
    for told in (*about["splits"], about["tags"]["data_sha256"], "decision_tree", "version 1"):
        assert told in seen and told in dossier
    assert f"{page}/promote" in dossier and f"{page}/promote" not in seen
    assert "Not shown to be better" in dossier and dossier.count('class="curve') == 4
    why = {"before": "1", "reason": "the line  was rebuilt"}
    assert kim.post(f"{page}/promote", **why).status_code == 403
    assert lee.post(f"{page}/promote", **why | {"reason": " "}).status_code == 400
    assert lee.post(f"{page}/promote", **why | {"before": ""}).status_code == 409
    assert context.first.lot_champion.model.version == 1
    answer = lee.post(f"{page}/promote", **why)
    assert answer.status_code == 303
    assert context.first.lot_champion.model.version == 2  # At once, in this process.
    now = lee.get(answer.headers["location"]).text
    assert "This version is in use now" in now and "the line was rebuilt" in now
    assert registry.history("chromate-lots")[-1]["by"] == "lee"
    assert lee.post(f"{page}/promote", **why | {"before": "2"}).status_code == 400

    assert kim.post(f"{page}/rollback", reason="x").status_code == 403
    assert lee.post(f"{page}/rollback").status_code == 400
    assert lee.post("/models/lots/1/rollback", reason="x").status_code == 409
    back = lee.post(f"{page}/rollback", reason="too many alarms")
    assert back.headers["location"].startswith("/models/lots/1?")
    assert context.first.lot_champion.model.version == 1
    assert "no model before" in lee.post("/models/lots/1/rollback", reason="x").text
    noted = {(e["user_name"], e["action"], e["object"]) for e in context.accounts.audit()}
    assert ("lee", "promoted", "chromate-lots version 2: the line was rebuilt") in noted
    assert ("lee", "rolled back", "chromate-lots version 2 to version 1: too many alarms") in noted
    assert ("kim", "refused", f"POST {page}/promote") in noted
    for path in ("/models/lots/9", "/models/people/1", "/models/photos/0"):
        assert lee.get(path).status_code == 404


@pytest.mark.heavy
def test_other_splits_are_compared_on_the_command_line_once(
    trained: Trained, make_context: Callable[..., AppContext]
) -> None:
    from ml.study.context import Protocol
    from ml.study.lots import train_lots
    from ml.study.promotion import compare
    from ml.study.reproduction import predict_again
    from ml.trees.models import TreeRecipe

    training, asked = trained.training, []
    third = train_lots(training, [TreeRecipe("decision_tree")], Protocol("kfold", 4), "lot")
    context = make_context(lake=training.settings.lake)
    lee = Browser(create_app(context), context, "lee", "engineer")
    page = f"/models/lots/{third.number}"
    before = lee.get(page).text
    assert "platelake promote chromate-lots@3" in before and f"{page}/promote" not in before
    assert lee.post(f"{page}/promote", before="1", reason="x").status_code == 409

    def again(version: Version, splits: list[str]) -> dict[str, Any]:
        asked.append(version.number)
        return predict_again(training, version, splits)

    found = [compare(training.registry, third, again) for _ in range(2)]
    assert asked == [1]  # The second time its predictions are there.
    assert found[0].differences == found[1].differences
    after = lee.get(page).text
    assert f"{page}/promote" in after and "Parts of the data" in after
    assert f"{found[0].differences['ap'].value:+.3f}" in after
    assert isinstance(found[0].differences["ap"], Interval)
    assert lee.post(f"{page}/promote", before="1", reason="x").status_code == 303
