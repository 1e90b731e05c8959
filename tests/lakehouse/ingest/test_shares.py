"""A run says of which files and days it quarantined much, and fails above a limit."""

from collections import Counter
from datetime import UTC, datetime

import pytest

from lakehouse.files.layout import FileReport
from lakehouse.ingest.ledger import LOADED, QUARANTINED, Counts, Delivery
from lakehouse.ingest.shares import LargeShare, RowCounts, large_shares, too_large
from lakehouse.landing.files import LandedFile
from lakehouse.settings import Settings

DAY = "2021-09-06"


def counts(**by_rule: int) -> RowCounts:
    return Counter({("a.csv", DAY, rule.strip("_")): count for rule, count in by_rule.items()})


def shares(found: RowCounts) -> list[LargeShare]:
    return [one for one in large_shares("readings", found, [], 0.05) if one.of == "a.csv"]


@pytest.mark.parametrize(
    ("by_rule", "share", "fails"),
    [
        ({"_": 95, "time": 5}, None, False),  # Exactly 5 % is not more.
        ({"_": 94, "time": 6}, 0.06, False),
        ({"_": 50, "time": 50}, 0.5, False),
        ({"_": 49, "time": 31, "lot": 20}, 0.51, True),
        ({"time": 100}, 1.0, True),
        ({"_": 20, "duplicate_key": 80}, 0.8, False),  # Another row stands for each.
        ({"time": 19}, None, False),  # Too few rows to say anything.
    ],
)
def test_the_share_of_a_file(by_rule: dict[str, int], share: float | None, fails: bool) -> None:
    found = shares(counts(**by_rule))
    assert [one.share for one in found] == ([] if share is None else [share])
    assert [one.of for one in too_large(found, Settings())] == (["a.csv"] if fails else [])


def test_many_small_files_are_one_day() -> None:
    found: RowCounts = Counter({(f"{at}.csv", DAY, "time" if at else ""): 2 for at in range(30)})
    [one] = large_shares("readings", found, [], 0.05)
    assert (one.of, one.rows, one.quarantined, one.rule) == (DAY, 60, 58, "time")


def test_the_sentence_names_the_rule_that_most_rows_broke() -> None:
    [one] = shares(counts(_=20, time=31, lot=20))
    assert str(one) == "a.csv: 51 of 71 quarantined, most by time"


def test_files_that_are_quarantined_as_a_whole_are_said_too() -> None:
    def delivery(name: str, status: str) -> Delivery:
        landed = LandedFile("readings", name, name, 9, datetime.now(UTC))
        return Delivery(landed, FileReport("1f", rule="missing_column"), 1, status)

    some = [delivery("a", QUARANTINED), delivery("b", QUARANTINED), delivery("c", LOADED)]
    [one] = large_shares("readings", Counter(), some, 0.05)
    assert str(one) == "files as a whole: 2 of 3 quarantined, most by missing_column"


def test_the_shares_of_two_jobs_come_together() -> None:
    one = LargeShare("readings", "a.csv", 100, 60, 60, "time")
    assert (Counts(seen=1, large_shares=(one,)) + Counts(seen=2)).large_shares == (one,)
