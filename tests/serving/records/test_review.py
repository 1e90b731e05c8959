"""What people say of a photo: kinds of defect."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from lakehouse.sql.database import Database
from serving.access.sessions import User
from serving.records.inspections import Inspection
from serving.records.review import CorrectionError, Review
from serving.tables import corrections, inspections
from tests.serving.records.test_outbox import ONE

GOOD = Inspection(**vars(ONE) | {"verdict": "good"})
ANN = User(2, "ann", "reviewer")


@pytest.fixture
def review(tmp_path: Path) -> Review:
    database = Database(f"sqlite:///{tmp_path / 'app.db'}")
    with database.transaction(write=True) as connection:
        connection.execute(inspections.insert().values(vars(GOOD)))
    return Review(database, "chromate", ["scratch", "stain"])


def test_a_kind_of_defect_is_reason_enough(review: Review) -> None:
    review.correct(ANN, GOOD, "bad", "", "stain")
    with review.database.transaction() as connection:
        (kept,) = connection.execute(sa.select(corrections))
    assert (kept.says, kept.reason, kept.defect) == ("bad", "", "stain")


@pytest.mark.parametrize(
    ("says", "defect", "why"),
    [("bad", "dent", "defect"), ("good", "stain", "defect"), ("bad", "", "reason")],
)
def test_a_kind_that_the_stage_does_not_have(
    review: Review, says: str, defect: str, why: str
) -> None:
    with pytest.raises(CorrectionError) as error:
        review.correct(ANN, GOOD, says, "", defect)
    assert error.value.why == why
