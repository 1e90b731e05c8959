"""The model card says what was tested, where the model fails, and shows examples."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from ml.data.pictures import picture_frame
from ml.data.splits import Item, Round, Split, make_split
from ml.figures.cross_validation import Answers, CrossValidation, cross_validate, verdicts
from ml.figures.thresholds import Costs
from ml.study.examples import photo_examples
from ml.study.model_card import CARD_FILE, CARD_PAGE, Example, card_of, chosen, slices, write_card
from tests.ml.photo_lake import photo_lake

COSTS = Costs(escape=10, scrap=5, review=2)
ITEMS = [Item(f"p{n:03}", n % 2, f"tile-{n // 4}") for n in range(40)]
FOUND = np.array([["good"], ["bad"]] * 20, "<U11")
"""Right verdicts, but for those that a test changes."""


@pytest.fixture
def evaluated() -> CrossValidation:
    p = np.where(np.arange(40) % 2 == 1, 0.9, 0.1)

    def fit(split: Split, one: Round) -> Answers:
        return Answers(p[one.test])

    split = make_split("photos", ITEMS, {}, folds=2)
    return cross_validate((split,), fit, lambda done, total: None)


def test_slices_count_verdicts_by_label_and_kind(evaluated: CrossValidation) -> None:
    found = FOUND.copy()
    found[1], found[3] = "good", "needs_human"
    kinds = {"p001": "crack", "p003": "crack", "p005": "hole", "p000": "of a good one"}
    rows = {one.name: one for one in slices(evaluated, found, kinds)}
    assert set(rows) == {"good", "bad", "crack", "hole"}
    assert (rows["crack"].items, rows["crack"].good, rows["crack"].needs_human) == (2, 0.5, 0.5)
    assert rows["bad"].bad == pytest.approx(18 / 20)
    assert rows["good"].good == 1


def test_mistakes_are_chosen_first_and_one_of_a_group(evaluated: CrossValidation) -> None:
    found = FOUND.copy()
    found[[1, 3, 5]], found[8] = "good", "bad"  # 1 and 3 are of one tile.
    evaluated.p[[1, 3, 5], 0] = 0.2, 0.05, 0.1
    picked = chosen(evaluated, found)
    by_outcome: dict[str, list[int]] = {}
    for outcome, at in picked:
        by_outcome.setdefault(outcome, []).append(at)
    assert by_outcome["missed"] == [3, 5]
    assert by_outcome["false_alarm"] == [8]
    assert len(by_outcome["found"]) == len(by_outcome["passed"]) == 3
    assert len({evaluated.groups[at] for at in by_outcome["found"]}) == 3


def test_labels_that_contradict_the_model_are_doubtful(evaluated: CrossValidation) -> None:
    evaluated.p[[2, 6, 7], 0] = 0.95, 0.99, 0.02  # Two good ones, and a bad one of 6's group.
    evaluated.p[9, 0] = 0.45
    doubtful = [at for outcome, at in chosen(evaluated, FOUND) if outcome == "doubtful"]
    assert doubtful == [6, 2, 9]


def _about() -> dict[str, object]:
    return {
        "model": "press-photos",
        "candidate": "patches",
        "made": "2026-11-30",
        "commit": "abc",
        "versions": {"pictures": 3},
        "protocol": {"protocol": "kfold", "folds": 2},
        "thresholds": {"low": 0.2, "high": 0.8},
        "costs": vars(COSTS),
        "metrics": {"auroc": 0.9, "auroc_low": 0.8, "auroc_high": 0.95, "bad": 20.0},
        "recipe": {"masks": "folder"},
        "card": {"width": 320, "height": 320, "limits": {"dark": 0.1}},
    }


def test_the_page_needs_no_other_file_and_trusts_no_name(
    evaluated: CrossValidation, tmp_path: Path
) -> None:
    shown = Example("missed", "p001", "<script>.png", 0.05, "crack", "data:image/jpeg;base64,AA")
    found = verdicts(evaluated, COSTS)
    card = card_of(_about(), evaluated, found, {"p001": "crack"}, [shown])
    write_card(card, tmp_path)
    assert json.loads((tmp_path / CARD_FILE).read_text()) == card
    page = (tmp_path / CARD_PAGE).read_text()
    assert "40 items in 10 groups, 20 of them bad" in re.sub(r"\s+", " ", page)
    assert "0.800 to 0.950" in page and "Bad, and called good" in page and "crack" in page
    assert "Masks taught" in page and "dark 0.1" in page
    assert "<script>" not in page and "&lt;script&gt;.png" in page
    assert not re.search(r'(?:src|href)="(?!data:)', page)


def test_without_verdicts_there_are_no_slices(evaluated: CrossValidation, tmp_path: Path) -> None:
    card = card_of(_about(), evaluated, None, {}, [])
    write_card(card, tmp_path)
    assert card["slices"] == [] and "By label" not in (tmp_path / CARD_PAGE).read_text()


def test_examples_have_the_photo_and_the_map_that_points(
    evaluated: CrossValidation, tmp_path: Path
) -> None:
    frame = picture_frame(photo_lake(tmp_path, count=40))
    found = FOUND.copy()
    found[1], evaluated.p[1] = "good", 0.2
    heat = np.zeros((4, 4), np.float32)
    heat[0, 0], heat[3, 3] = 0.9, 0.4
    examples = photo_examples(frame, {1: heat}, {"p001": "spot"}, evaluated, found)
    missed = next(one for one in examples if one.outcome == "missed")
    assert (missed.item, missed.name, missed.kind) == ("p001", "p001.png", "spot")
    assert missed.picture.startswith("data:image/jpeg;base64,") and missed.map != missed.picture
    assert (missed.label, missed.probability) == ("bad", 0.2)
    assert [one.item for one in examples if one.outcome == "doubtful"] == ["p001"]
    others = [one for one in examples if one.item != "p001"]
    assert others and all(one.picture and not one.map for one in others)
