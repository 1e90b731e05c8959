"""Answers of the HTTP interface, as JSON."""

from datetime import UTC, date, datetime

from pydantic import BaseModel, Field

from serving.receive import Result
from serving.records.inspections import Inspection


class Verdict(BaseModel):
    """The verdict on one photo, as it is kept."""

    inspection_id: str
    link: str = Field(description="Path of its page")
    inspected_at: datetime = Field(description="UTC, with its zone")
    file: str
    sha256: str
    day: date | None
    lot: str | None
    verdict: str = Field(description="good, bad or needs_human")
    probability: float = Field(description="Probability of bad")
    low: float = Field(description="Below it the verdict is good")
    high: float = Field(description="From it on the verdict is bad; between, a person looks")
    model: str
    model_version: int
    model_sha256: str
    reason: str | None = Field(None, description="Why it needs a human, such as unlike")


class Judged(BaseModel):
    """What came of one file: a verdict, or the rule that it breaks."""

    file: str
    verdict: Verdict | None = None
    seen_before: bool = False
    rule: str | None = Field(None, description="Such as not_an_image, too_large, too_many")
    message: str | None = Field(None, description="The same in words, by Accept-Language")


class Answer(BaseModel):
    """A result for each file, in the order of the request."""

    results: list[Judged]


class LotsOfDay(BaseModel):
    """The lots that the lake has of a day."""

    day: date
    lots: list[str]


def as_json(one: Result, root: str) -> Judged:
    """Return a result as the interface gives it, of an app below the path `root`."""
    if one.inspection is None:
        return Judged(file=one.name, rule=one.rule, message=one.said)
    verdict = as_verdict(one.inspection, root)
    return Judged(file=one.name, verdict=verdict, seen_before=one.seen is not None)


def as_verdict(one: Inspection, root: str) -> Verdict:
    """Return an inspection as the interface gives it, of an app below the path `root`."""
    link = f"{root}/inspections/{one.inspection_id}"
    known = vars(one) | {"link": link, "file": one.file_name}
    known["inspected_at"] = one.inspected_at.replace(tzinfo=UTC)
    return Verdict(**{name: known[name] for name in Verdict.model_fields})
