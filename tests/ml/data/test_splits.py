"""Splits: groups stay together, the guard fails on a leak, and the table gives a split back."""

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest

from lakehouse.delta.lake import Lake
from lakehouse.errors import PlatelakeError, UsageError
from lakehouse.tables.splits import SPLITS
from ml.data.errors import LeakError, TooFewError
from ml.data.splits import Item, Split, load_split, make_split, store_split

VERSIONS = {"readings": 3, "lots": 1}


def items(count: int = 60, bad: int = 12, per_group: int = 1) -> list[Item]:
    """Items of which every fifth is bad, in groups of neighbours, on days one after the other."""
    return [
        Item(
            f"item-{n:03d}",
            int(n % (count // bad) == 0),
            f"group-{n // per_group:03d}",
            date(2021, 9, 6) + timedelta(days=n // 4),
        )
        for n in range(count)
    ]


def sides(split: Split) -> list[tuple[set[str], set[str]]]:
    return [
        ({split.groups[at] for at in one.train}, {split.groups[at] for at in one.test})
        for one in split.rounds()
    ]


@pytest.mark.parametrize("per_group", [1, 3])
def test_each_item_is_judged_once_and_no_group_is_on_both_sides(per_group: int) -> None:
    split = make_split("lots", items(per_group=per_group), VERSIONS, seed=1)
    evaluated = np.concatenate([one.test for one in split.rounds()])
    assert sorted(evaluated) == list(range(60))
    assert all(not train & test for train, test in sides(split))
    bad = [int(split.labels[one.test].sum()) for one in split.rounds()]
    assert min(bad) >= 1 and sum(bad) == 12


def test_the_order_of_arrival_decides_nothing() -> None:
    forward, backward = items(), list(reversed(items()))
    one, other = make_split("lots", forward, VERSIONS), make_split("lots", backward, VERSIONS)
    assert one.split_id == other.split_id
    assert make_split("lots", forward, VERSIONS, seed=1).split_id != one.split_id
    assert make_split("lots", forward, {"readings": 4, "lots": 1}).split_id != one.split_id


def test_a_planted_leak_stops_the_training() -> None:
    split = make_split("photos", items(per_group=3), VERSIONS)
    fold = split.fold.copy()
    fold[0] = (fold[0] + 1) % split.folds  # one of three pictures of one part goes elsewhere
    with pytest.raises(LeakError, match=r"1 groups are in both training and test.*group-000"):
        list(replace(split, fold=fold).rounds())


def test_an_item_that_stands_twice_is_a_leak() -> None:
    with pytest.raises(LeakError, match="are listed twice"):
        make_split("photos", [*items(), items()[0]], VERSIONS)


def test_inner_folds_keep_groups_together_within_the_training_items() -> None:
    split = make_split("photos", items(per_group=3), VERSIONS)
    one = next(split.rounds())
    pairs = split.inner(one.train, 3, seed=0)
    assert sorted(np.concatenate([validate for _, validate in pairs])) == sorted(one.train)
    for fit, validate in pairs:
        assert not {split.groups[at] for at in fit} & {split.groups[at] for at in validate}
        assert not set(fit) & set(one.test) and not set(validate) & set(one.test)


def test_inner_folds_with_the_same_item_on_both_sides_are_a_leak() -> None:
    split = make_split("photos", items(), VERSIONS)
    same = replace(split, items=("item-000",) * len(split.items))
    with pytest.raises(LeakError, match=r"1 groups are in both training and test.*item-000"):
        same.inner(np.arange(len(same.items)), 3, seed=0)


def test_forward_in_time_judges_later_days_only() -> None:
    given = items()
    split = make_split("lots", given, VERSIONS, "forward")
    days = {item.item: item.day for item in given}
    (one,) = split.rounds()
    train = [days[split.items[at]] for at in one.train]
    test = [days[split.items[at]] for at in one.test]
    assert max(d for d in train if d) < min(d for d in test if d)
    assert len({*train}) == 10 and len({*test}) == 5


def test_a_group_that_reaches_into_the_judged_days_is_not_judged() -> None:
    given = [
        replace(item, group="one part") if n in (3, 55) else item for n, item in enumerate(items())
    ]
    split = make_split("photos", given, VERSIONS, "forward")
    assert split.fold[split.items.index("item-055")] == -1


def test_leave_one_group_out_has_a_round_a_group() -> None:
    split = make_split("photos", items(per_group=6), VERSIONS, "leave_one_group_out")
    assert split.folds == 10
    assert [len(test) for _, test in sides(split)] == [1] * 10


@pytest.mark.parametrize(
    ("given", "wanted", "said"),
    [
        ([replace(i, label=0) for i in items()], {}, "table lots has 60 labelled lots, 0 of them"),
        ([], {}, "table lots has 0 labelled lots"),
        (items(12, 3), {"folds": 5}, "3 groups of lots are bad, fewer than the 5 folds"),
        (items(), {"protocol": "random"}, "no protocol 'random'; known: kfold"),
        ([replace(i, day=date(2021, 9, 6)) for i in items()], {"protocol": "forward"}, "1 days"),
    ],
)
def test_what_cannot_be_split_is_said(
    given: list[Item], wanted: dict[str, object], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        make_split("lots", given, VERSIONS, **wanted)  # type: ignore[arg-type]


def test_the_table_gives_the_split_back(lake: Lake) -> None:
    split = make_split("photos", items(per_group=3), VERSIONS, seed=2)
    store_split(lake, split)
    store_split(lake, split)
    found = load_split(lake, split.split_id)
    assert found.split_id == split.split_id
    assert [list(o.test) for o in found.rounds()] == [list(o.test) for o in split.rounds()]


def test_a_split_that_was_changed_is_refused(lake: Lake) -> None:
    split = make_split("lots", items(), VERSIONS)
    store_split(lake, split)
    rows = lake.rows(SPLITS)
    for row in rows:
        row["fold"] += row["item"] == "item-007"
    assert lake.upsert_rows(SPLITS, rows) == 1
    with pytest.raises(PlatelakeError, match="changed after it was made"):
        load_split(lake, split.split_id)


def test_a_round_that_would_train_on_one_class_is_said() -> None:
    alone = [Item(f"item-{n}", int(n < 3), f"group-{n // 3}") for n in range(12)]
    with pytest.raises(TooFewError, match=r"in the training of fold 0, 0 are bad") as caught:
        make_split("photos", alone, VERSIONS, "leave_one_group_out")
    assert caught.value.table == "picture_names"
    day = date(2021, 9, 6)
    late = [Item(f"item-{n}", int(n == 2), f"g-{n}", day + timedelta(n)) for n in range(12)]
    crossing = Item("item-99", 1, "g-2", day + timedelta(11))
    with pytest.raises(UsageError, match=r"in the tested ones, 0 are bad"):
        make_split("lots", [*late, crossing], VERSIONS, "forward")


def test_inner_folds_are_as_many_as_the_groups_allow() -> None:
    few = [Item(f"item-{n:02d}", int(n < 5), f"group-{n}") for n in range(30)]
    split = make_split("photos", few, VERSIONS, folds=2)
    counts = [len(split.inner(one.train, 5, 0)) for one in split.rounds()]
    assert sorted(counts) == [2, 3]
    one = next(make_split("photos", few[3:], VERSIONS, folds=2).rounds())
    with pytest.raises(UsageError, match=r"table picture_names: .* trains on 1 group of one"):
        make_split("photos", few[3:], VERSIONS, folds=2).inner(one.train, 5, 0)
