"""Verdicts and reviews by the plant's day, and misses from the random sample."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta

import pytest
from scipy import stats

from lakehouse.sql.database import Database
from lakehouse.stage import load_stage
from serving.access.sessions import User
from serving.process import Period
from serving.quality import photo_figures
from serving.records.inspections import Inspection
from serving.records.review import Review
from serving.records.verdict_days import MOST_DAYS, VerdictDay, VerdictDays
from serving.tables import corrections, inspections
from tests.serving.records.test_outbox import ONE

ANN, BEN, KIM = User(2, "ann", "reviewer"), User(3, "ben", "reviewer"), User(1, "kim", "operator")
MONDAY = date(2021, 9, 6)
BEFORE_MIDNIGHT = datetime(2021, 9, 6, 14, 59)
"""23:59 in Seoul on that Monday, in UTC."""


class Desk:
    """Photos of one stage, and what people say of them."""

    def __init__(self, sql_url: str) -> None:
        database = Database(sql_url)
        self.database, self.made = database, 0
        self.review = Review(database, "chromate")
        self.verdicts = VerdictDays(database, "chromate", load_stage("chromate").zone)

    def photo(self, verdict: str, at: datetime, sampled: bool = False, **own: str) -> Inspection:
        self.made += 1
        name = {"inspection_id": f"{self.made}", "sha256": f"{self.made:064}"}
        made = vars(ONE) | name | {"verdict": verdict, "inspected_at": at, "sampled": sampled} | own
        with self.database.transaction(write=True) as connection:
            connection.execute(inspections.insert().values(made))
        return Inspection(**made)

    def label(self, one: Inspection, says: str) -> None:
        for person in (ANN, BEN):
            self.review.correct(person, one, says, "seen")

    def all_said_at(self, at: datetime) -> None:
        with self.database.transaction(write=True) as connection:
            connection.execute(corrections.update().values(corrected_at=at))


@pytest.fixture
def desk(sql_url: str) -> Iterator[Desk]:
    made = Desk(sql_url)
    yield made
    made.database.engine.dispose()


def test_verdicts_and_reviews_by_the_plants_day(desk: Desk) -> None:
    bad = desk.photo("bad", BEFORE_MIDNIGHT)
    unsure = desk.photo("needs_human", BEFORE_MIDNIGHT)
    desk.photo("needs_human", BEFORE_MIDNIGHT, sha256=unsure.sha256)  # The same photo again.
    desk.photo("good", BEFORE_MIDNIGHT, sampled=True)
    desk.photo("good", BEFORE_MIDNIGHT + timedelta(minutes=1))
    desk.photo("good", BEFORE_MIDNIGHT, stage="zinc")
    desk.review.correct(KIM, bad, "good", "an operator's word is no review")
    desk.label(unsure, "good")
    desk.all_said_at(BEFORE_MIDNIGHT + timedelta(days=2))
    assert desk.verdicts.days(None, MONDAY + timedelta(days=2)) == [
        VerdictDay(MONDAY + timedelta(days=2), {}, 0, 2),
        VerdictDay(MONDAY + timedelta(days=1), {"good": 1}, 0, 0),
        VerdictDay(MONDAY, {"bad": 1, "good": 1, "needs_human": 2}, 2, 0),
    ]
    assert [one.day for one in desk.verdicts.days(MONDAY, MONDAY)] == [MONDAY]
    late = desk.photo("bad", BEFORE_MIDNIGHT + timedelta(days=MOST_DAYS))
    (*_, first) = desk.verdicts.days(None, None)
    assert first.day == MONDAY + timedelta(days=1) and late.verdict == "bad"


def test_only_the_random_sample_says_how_many_are_missed(desk: Desk) -> None:
    """A good verdict that somebody disagrees with gets a label too, and must not count."""
    assert photo_figures(desk.verdicts, Period()).missed is None
    for number in range(12):
        desk.label(desk.photo("good", BEFORE_MIDNIGHT, True), "bad" if number < 2 else "good")
    for _ in range(5):
        desk.label(desk.photo("good", BEFORE_MIDNIGHT), "bad")
    for _ in range(3):
        desk.photo("good", BEFORE_MIDNIGHT, True)
    found = photo_figures(desk.verdicts, Period(MONDAY, MONDAY))
    assert vars(found.sample) == {"photos": 15, "labelled": 12, "bad": 2}
    known = stats.binomtest(2, 12).proportion_ci(0.95, "exact")
    assert found.missed == pytest.approx((2 / 12, known.low, known.high), abs=1e-9)
    tuesday = Period(MONDAY + timedelta(days=1))
    assert photo_figures(desk.verdicts, tuesday).missed is None
