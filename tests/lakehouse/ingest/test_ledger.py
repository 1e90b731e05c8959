"""The ledger's decisions: what is new, what is a duplicate of what, and who inherits content.

A file's content is a word, which is also its hash; "" is one that cannot be read. Words with
`bad` in them are faulty as a whole.
"""

from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from lakehouse.files.layout import FileReport
from lakehouse.ingest.events import STATE, last_events, overlooked, related_states
from lakehouse.ingest.ledger import (
    DUPLICATE,
    LOADED,
    QUARANTINED,
    SAME_TICK,
    WITHDRAWN,
    Counts,
    FileState,
    Plan,
    candidates,
    count,
    heirs,
    plan,
)
from lakehouse.ingest.stale_copies import copies, superseders
from lakehouse.landing.files import LandedFile, LandedFiles
from lakehouse.table import Table
from lakehouse.tables.files import FILES

LONG_AGO = datetime(2021, 9, 6, 7, 0, tzinfo=UTC)
CONTENTS = ["apple", "pear", "bad egg", "bad luck", ""]

Zone = dict[str, LandedFile]
Ledger = dict[str, FileState]
Outcome = tuple[str, int, str, str | None, str | None]


def zone(label: str | None = None, **files: str) -> Zone:
    """Files that lie in the landing zone; a trailing ! is a later modification."""
    return {
        name: LandedFile(
            kind="photos" if label else "readings",
            file=name,
            url=content.rstrip("!"),
            size=len(content.rstrip("!")),
            modified_at=LONG_AGO + timedelta(hours=content.count("!")),
            label=label,
        )
        for name, content in files.items()
    }


def facts_of(file: LandedFile) -> FileReport:
    """What is found in the file: of a photo only the hash; of a text also whether it is sound."""
    if file.url == "":
        return FileReport(rule="unreadable", reason="cannot be read: Permission denied")
    if file.kind == "photos":
        return FileReport(sha256=file.url)
    if "bad" in file.url:
        return FileReport(sha256=file.url, rule="header_only")
    report = FileReport(sha256=file.url, encoding="utf-8", header=["Lot"], rows=1)
    if file.file.startswith("undated"):
        report.fault("no_date", "the file name has no date")
    return report


def listed(landed: Zone) -> LandedFiles:
    kinds = {file.kind for file in landed.values()} or {"readings"}
    return LandedFiles.of(kinds.pop(), landed.values())


def events_of(ledger: Ledger) -> pa.Table:
    """The last event of each file."""
    schema = pa.schema([FILES.arrow_schema().field(name).with_nullable(True) for name in STATE])
    return pa.Table.from_pylist(
        [{name: getattr(state, name) for name in STATE} for state in ledger.values()], schema
    )


def decide(
    landed: Zone,
    ledger: Ledger,
    again: Collection[str] = (),
    at_once: bool = False,
    last: pa.Table | None = None,
) -> Plan:
    """A run's plan, step by step as an ingest makes it.

    A run that follows `at_once` cannot believe any time stamp, and reads every file.
    """
    files = listed(landed)
    last = events_of(ledger) if last is None else last
    read = files if at_once else candidates(files, last, again)
    report = {file.file: facts_of(file) for file in read}
    report |= {file.file: facts_of(file) for file in heirs(files, ledger, report)}
    stale = {
        file.file: facts_of(file)
        for file in copies(files, ledger, report, again)
        if file.kind == "readings"
    }
    return plan(files, ledger, report | stale, {*again, *stale})


def after(decided: Plan, ledger: Ledger | None = None) -> Ledger:
    """The ledger once the plan is recorded; a photo that cannot be decoded is held back then."""
    for delivery in decided.deliveries:
        if delivery.status == LOADED and "bad" in delivery.report.sha256:
            delivery.status = QUARANTINED
    known, told, now = ledger or {}, [*decided.deliveries, *decided.released], datetime.now(UTC)
    states = {d.landed.file: replace(d.as_known(), seen_at=now) for d in told}
    return known | {name: state.since(known.get(name)) for name, state in states.items()}


def outcome(decided: Plan) -> list[Outcome]:
    return [
        (d.landed.file, d.event, d.status, d.duplicate_of, d.replaces) for d in decided.deliveries
    ]


def history(*zones: Zone | tuple[Zone, set[str]]) -> list[list[Outcome]]:
    """What is decided in each of several runs."""
    ledger: Ledger = {}
    found = []
    for step in zones:
        landed, again = step if isinstance(step, tuple) else (step, set[str]())
        decided = decide(landed, ledger, again)
        assert decided.known == len(landed) - len(decided.deliveries)
        found.append(outcome(decided))
        ledger = after(decided, ledger)
    return found


NEW = ("a", 1, LOADED, None, None)
COPY = ("b", 1, DUPLICATE, "a", None)


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        pytest.param([zone()], [[]], id="nothing lies there"),
        pytest.param([zone(a="apple")], [[NEW]], id="new"),
        pytest.param([zone(a="apple"), zone(a="apple")], [[NEW], []], id="unchanged"),
        pytest.param([zone(a="apple"), zone(a="apple!")], [[NEW], []], id="touched"),
        pytest.param([zone(a="apple"), zone()], [[NEW], []], id="taken away"),
        pytest.param([zone(a="apple"), zone(), zone(a="apple")], [[NEW], [], []], id="back again"),
        pytest.param(
            [zone(a="apple"), zone(a="pear")],
            [[NEW], [("a", 2, LOADED, None, "apple")]],
            id="other content",
        ),
        pytest.param(
            [zone(a="apple"), zone(a="pear!"), zone(a="apple!!")],
            [[NEW], [("a", 2, LOADED, None, "apple")], [("a", 3, LOADED, None, "pear")]],
            id="there and back",
        ),
        pytest.param([zone(a="apple", b="apple")], [[NEW, COPY]], id="twice in one run"),
        pytest.param(
            [zone(b="apple"), zone(a="apple", b="apple")],
            [[("b", 1, LOADED, None, None)], [("a", 1, DUPLICATE, "b", None)]],
            id="twice in two runs: the first holds it",
        ),
        pytest.param(
            [zone(a="apple"), zone(b="apple")], [[NEW], [COPY]], id="renamed: known content"
        ),
        pytest.param(
            [zone(a="apple", b="apple"), zone(a="apple!", b="apple!")],
            [[NEW, COPY], []],
            id="duplicate touched",
        ),
        pytest.param(
            [zone(a="apple", b="apple"), zone(a="pear!", b="apple")],
            [[NEW, COPY], [("a", 2, LOADED, None, "apple"), ("b", 2, LOADED, None, "apple")]],
            id="an heir takes over",
        ),
        pytest.param(
            [zone(a="apple", b="apple"), zone(a="pear!", b="apple!")],
            [[NEW, COPY], [("a", 2, LOADED, None, "apple"), ("b", 2, LOADED, None, "apple")]],
            id="an heir that was touched takes over",
        ),
        pytest.param(
            [zone(a="apple", b="apple", c="apple"), zone(a="pear!", b="apple", c="apple")],
            [
                [NEW, COPY, ("c", 1, DUPLICATE, "a", None)],
                [("a", 2, LOADED, None, "apple"), ("b", 2, LOADED, None, "apple")],
            ],
            id="one heir of two",
        ),
        pytest.param(
            [zone(a="apple", b="apple"), zone(a="apple", b="pear!")],
            [
                [NEW, COPY],
                [("a", 2, LOADED, None, "apple"), ("b", 2, LOADED, None, "apple")],
            ],
            id="a duplicate gets content of its own: the other is a copy, and judged again",
        ),
        pytest.param(
            [zone(label="good", a="apple", b="apple"), zone(label="good", a="apple", b="pear!")],
            [[NEW, COPY], [("b", 2, LOADED, None, "apple")]],
            id="a photo that was a duplicate gets content of its own",
        ),
        pytest.param(
            [zone(a="apple", b="apple"), zone(a="pear!", b="apple"), zone(a="plum!!", b="apple")],
            [
                [NEW, COPY],
                [("a", 2, LOADED, None, "apple"), ("b", 2, LOADED, None, "apple")],
                [("a", 3, LOADED, None, "pear"), ("b", 3, LOADED, None, "apple")],
            ],
            id="a copy is judged again at each correction",
        ),
        pytest.param(
            [zone(a="apple", b="apple"), zone(a="pear!", b="apple"), zone(a="apple!!", b="apple")],
            [
                [NEW, COPY],
                [("a", 2, LOADED, None, "apple"), ("b", 2, LOADED, None, "apple")],
                [("a", 3, LOADED, None, "pear")],
            ],
            id="content returns under its own name",
        ),
        pytest.param(
            [zone(a="apple", b="apple"), zone(a="", b="apple"), zone(a="apple!", b="apple")],
            [
                [NEW, COPY],
                [("a", 2, QUARANTINED, None, "apple")],
                [("a", 3, LOADED, None, "")],
            ],
            id="a holder that cannot be read for a moment still holds",
        ),
        pytest.param(
            [zone(a="apple", c="apple"), zone(a="pear!", b="apple", c="apple")],
            [
                [NEW, ("c", 1, DUPLICATE, "a", None)],
                [
                    ("a", 2, LOADED, None, "apple"),
                    ("b", 1, LOADED, None, None),
                ],
            ],
            id="a new file before the heir holds it",
        ),
        pytest.param(
            [zone(a="apple", b="pear"), zone(a="pear!", b="apple!")],
            [
                [NEW, ("b", 1, LOADED, None, None)],
                [("a", 2, LOADED, None, "apple"), ("b", 2, LOADED, None, "pear")],
            ],
            id="two files change places",
        ),
        pytest.param(
            [zone(a="apple", b="apple", c="pear"), zone(a="pear!", b="apple", c="pear")],
            [
                [NEW, COPY, ("c", 1, LOADED, None, None)],
                [("a", 2, DUPLICATE, "c", "apple"), ("b", 2, LOADED, None, "apple")],
            ],
            id="a holder becomes a duplicate",
        ),
        pytest.param(
            [zone(a="apple", b="apple"), zone(a="pear"), zone(a="pear", b="apple")],
            [
                [NEW, COPY],
                [("a", 2, LOADED, None, "apple")],
                [("b", 2, LOADED, None, "apple")],
            ],
            id="an heir that a run did not look at takes over later",
        ),
        pytest.param(
            [zone(a="apple"), (zone(a="apple"), {"a"})],
            [[NEW], [("a", 2, LOADED, None, "apple")]],
            id="again",
        ),
        pytest.param(
            [zone(a="apple", b="apple"), (zone(a="apple", b="apple"), {"b"})],
            [[NEW, COPY], [("b", 2, DUPLICATE, "a", "apple")]],
            id="a duplicate again",
        ),
        pytest.param(
            [zone(a="apple"), (zone(b="pear"), {"a", "no"})],
            [[NEW], [("b", 1, LOADED, None, None)]],
            id="again, but not there",
        ),
        pytest.param(
            [zone(a="bad egg"), zone(a="bad egg"), zone(a="bad egg!")],
            [[("a", 1, QUARANTINED, None, None)], [], []],
            id="quarantined, unchanged, touched",
        ),
        pytest.param(
            [zone(a="bad egg"), zone(a="apple!")],
            [[("a", 1, QUARANTINED, None, None)], [("a", 2, LOADED, None, "bad egg")]],
            id="quarantined, then mended",
        ),
        pytest.param(
            [zone(a="bad egg", b="bad egg"), zone(a="apple!", b="bad egg")],
            [
                [("a", 1, QUARANTINED, None, None), COPY],
                [("a", 2, LOADED, None, "bad egg"), ("b", 2, QUARANTINED, None, "bad egg")],
            ],
            id="the heir of bad content",
        ),
        pytest.param(
            [zone(a="bad egg"), zone(a="bad egg", b="bad egg")],
            [[("a", 1, QUARANTINED, None, None)], [COPY]],
            id="bad content under another name",
        ),
        pytest.param(
            [zone(label="good", a="bad egg"), zone(label="good", a="bad egg", b="bad egg")],
            [[NEW], [COPY]],
            id="a bad photo under another name",
        ),
        pytest.param(
            [zone(undated="apple"), zone(undated="apple", v="apple")],
            [[("undated", 1, QUARANTINED, None, None)], [("v", 1, LOADED, None, None)]],
            id="a bad name, then a good one",
        ),
        pytest.param(
            [zone(undated="apple", v="apple", w="apple"), zone(undated="apple", v="apple")],
            [
                [
                    ("undated", 1, QUARANTINED, None, None),
                    ("v", 1, LOADED, None, None),
                    ("w", 1, DUPLICATE, "v", None),
                ],
                [],
            ],
            id="a bad name beside good ones",
        ),
        pytest.param(
            [zone(undated="apple", v="apple"), zone(undated="apple", v="apple", x="apple")],
            [
                [("undated", 1, QUARANTINED, None, None), ("v", 1, LOADED, None, None)],
                [("x", 1, DUPLICATE, "v", None)],
            ],
            id="of a bad name and a good one the good one holds the content",
        ),
        pytest.param(
            [
                zone(undated="apple", v="apple", w="apple"),
                zone(undated="apple", v="pear!", w="apple"),
            ],
            [
                [
                    ("undated", 1, QUARANTINED, None, None),
                    ("v", 1, LOADED, None, None),
                    ("w", 1, DUPLICATE, "v", None),
                ],
                [("v", 2, LOADED, None, "apple"), ("w", 2, LOADED, None, "apple")],
            ],
            id="a good name inherits, not a bad one",
        ),
        pytest.param(
            [zone(a="apple"), zone(a="apple", undated="apple"), zone(a="pear!", undated="apple")],
            [
                [NEW],
                [("undated", 1, DUPLICATE, "a", None)],
                [("a", 2, LOADED, None, "apple"), ("undated", 2, QUARANTINED, None, "apple")],
            ],
            id="a bad name inherits only what nobody else has",
        ),
        pytest.param(
            [zone(a="", b=""), zone(a="", b="")],
            [[("a", 1, QUARANTINED, None, None), ("b", 1, QUARANTINED, None, None)], []],
            id="unreadable files are no duplicates",
        ),
    ],
)
def test_runs(runs: list[Any], expected: list[list[Outcome]]) -> None:
    assert history(*runs) == expected


def test_the_good_name_holds_the_content_in_whatever_order_the_ledger_is_read() -> None:
    ledger = after(decide(zone(undated="apple", v="apple"), {}))
    landed = zone(undated="apple", v="apple", w="apple")
    for order in (list(ledger), list(reversed(ledger))):
        decided = decide(landed, {name: ledger[name] for name in order})
        assert outcome(decided) == [("w", 1, DUPLICATE, "v", None)]


def test_a_file_that_becomes_readable_is_read_though_its_time_stays() -> None:
    unreadable = zone(a="")["a"]
    ledger = after(decide({"a": unreadable}, {}))
    readable = replace(unreadable, url="apple")
    decided = decide({"a": readable}, ledger)
    assert outcome(decided) == [("a", 2, LOADED, None, "")]


def superseded(*zones: Zone) -> dict[str, set[str]]:
    """After these runs: the copies whose days another file's may supersede."""
    ledger: Ledger = {}
    for landed in zones[:-1]:
        ledger = after(decide(landed, ledger), ledger)
    decided = decide(zones[-1], ledger, set(zones[-1]))
    return superseders([*decided.deliveries, *decided.released], ledger)


@pytest.mark.parametrize(
    ("zones", "expected"),
    [
        ([zone(a="apple", b="apple"), zone(a="pear!", b="apple")], {"b": {"a"}}),
        ([zone(a="apple", b="apple"), zone(a="apple", b="pear!")], {"a": {"b"}}),
        ([zone(a="apple"), zone(a="pear!", b="apple")], {"b": {"a"}}),
        ([zone(a="apple"), zone(a="pear!"), zone(a="plum!!", b="apple")], {"b": {"a"}}),
        ([zone(a="apple", b="pear"), zone(a="pear!", b="apple!")], {}),
        ([zone(a="apple", b="apple"), zone(a="bad egg", b="apple")], {}),
        ([zone(a="apple", b="apple"), zone(a="", b="apple")], {}),
        (
            [zone(a="apple", b="apple", c="pear"), zone(a="pear!", b="apple", c="pear")],
            {"b": {"c"}},
        ),
        ([zone(a="apple", b="apple"), zone(a="pear!", b="plum!")], {}),
    ],
    ids=[
        "an heir",
        "the duplicate was corrected",
        "a copy that comes with the correction",
        "a copy of what was corrected twice",
        "two files change places",
        "the correction is held back",
        "the original cannot be read",
        "the correction is a duplicate",
        "both are corrected",
    ],
)
def test_whose_days_supersede_a_copy(zones: list[Zone], expected: dict[str, set[str]]) -> None:
    assert superseded(*zones) == expected


JUDGED_AGAIN = ("b", 2, LOADED, None, "apple")
"""The outcome for a copy of what is corrected, that was stored before."""


@pytest.mark.parametrize("at_once", [False, True])
def test_a_copy_is_judged_again_however_soon_the_run_follows(at_once: bool) -> None:
    ledger = after(decide(zone(b="apple"), {}))
    ledger = after(decide(zone(a="apple", b="apple"), ledger), ledger)
    decided = decide(zone(a="pear!", b="apple"), ledger, at_once=at_once)
    assert outcome(decided) == [("a", 2, LOADED, None, "apple"), JUDGED_AGAIN]


def test_a_copy_is_judged_again_although_it_is_touched() -> None:
    ledger = after(decide(zone(b="apple"), {}))
    ledger = after(decide(zone(a="apple", b="apple"), ledger), ledger)
    assert JUDGED_AGAIN in outcome(decide(zone(a="pear!", b="apple!!"), ledger))


def test_a_copy_that_a_run_did_not_look_at_is_judged_again_by_the_next() -> None:
    """It still grew, as it seemed, or was away, when the correction came."""
    ledger = after(decide(zone(b="apple"), {}))
    for landed in (zone(a="apple", b="apple"), zone(a="pear!")):
        ledger = after(decide(landed, ledger), ledger)
    for _ in range(2):
        decided = decide(zone(a="pear!", b="apple"), ledger)
        assert outcome(decided) == [JUDGED_AGAIN]
        assert superseders(decided.deliveries, ledger) == {"b": {"a"}}
    ledger = after(decided, ledger)
    assert outcome(decide(zone(a="pear!", b="apple"), ledger)) == []


def test_a_copy_is_judged_again_with_the_correction_that_is_asked_for_again() -> None:
    """By other rules it may hold other days than before."""
    ledger = after(decide(zone(b="apple"), {}))
    for landed in (zone(a="apple", b="apple"), zone(a="pear!", b="apple")):
        ledger = after(decide(landed, ledger), ledger)
    decided = decide(zone(a="pear!", b="apple"), ledger, {"a"})
    assert [one[:3] for one in outcome(decided)] == [("a", 3, LOADED), ("b", 3, LOADED)]


def test_a_copy_gives_its_content_back_although_it_is_gone() -> None:
    ledger: Ledger = {}
    for landed in (zone(a="apple", b="apple"), zone(a="pear!", b="apple")):
        ledger = after(decide(landed, ledger), ledger)
    decided = decide(zone(a="apple!!"), ledger)
    [released] = decided.released
    assert (released.landed.file, released.event, released.status) == ("b", 3, DUPLICATE)
    assert (released.duplicate_of, released.landed.kind) == ("a", "readings")


def test_the_same_photo_under_another_label_is_told_again() -> None:
    ledger = after(decide(zone(label="good", a="apple"), {}))
    decided = decide(zone(label="bad", a="apple"), ledger)
    assert outcome(decided) == [("a", 2, LOADED, None, "apple")]
    assert after(decided)["a"].label == "bad"


def known(status: str = LOADED, **changes: Any) -> FileState:
    state = FileState(
        file="a",
        event=7,
        sha256="apple",
        size=5,
        modified_at=LONG_AGO,
        status=status,
        label=None,
        seen_at=LONG_AGO + timedelta(days=1),
    )
    return replace(state, **changes)


def is_unchanged(state: FileState) -> bool:
    """Whether the ledger's state shows that the file `a` need not be read."""
    return not len(candidates(listed(zone(a="apple")), events_of({"a": state}), ()))


@pytest.mark.parametrize("status", [LOADED, DUPLICATE, QUARANTINED])
def test_known_and_unchanged(status: str) -> None:
    assert is_unchanged(known(status))


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"size": 6}, id="size"),
        pytest.param({"modified_at": LONG_AGO + timedelta(microseconds=1)}, id="later"),
        pytest.param({"modified_at": LONG_AGO - timedelta(days=1)}, id="earlier"),
        pytest.param({"label": "good"}, id="label"),
        pytest.param({"status": WITHDRAWN}, id="withdrawn"),
        pytest.param({"sha256": ""}, id="never read"),
        pytest.param({"seen_at": LONG_AGO}, id="seen when it was modified"),
        pytest.param({"seen_at": LONG_AGO + SAME_TICK}, id="seen within the same tick"),
        pytest.param({"seen_at": LONG_AGO - timedelta(days=9)}, id="modified in the future"),
    ],
)
def test_known_but_perhaps_changed(changes: dict[str, Any]) -> None:
    assert not is_unchanged(known(**changes))


def test_a_file_seen_just_behind_the_tick_is_unchanged() -> None:
    seen_at = LONG_AGO + SAME_TICK + timedelta(microseconds=1)
    assert is_unchanged(known(seen_at=seen_at))
    assert timedelta(seconds=2) <= SAME_TICK


@pytest.mark.parametrize(
    ("content", "expected"),
    [("apple", []), ("grape", [("a", 8, LOADED, None, "apple")])],
    ids=["same content", "changed within the tick"],
)
def test_a_racy_time_stamp_is_not_believed(content: str, expected: list[Outcome]) -> None:
    ledger = {"a": known(seen_at=LONG_AGO + timedelta(seconds=1))}
    assert outcome(decide(zone(a=content), ledger)) == expected


def test_a_withdrawn_file_that_returns_is_delivered() -> None:
    ledger = {"a": known(WITHDRAWN)}
    assert outcome(decide(zone(a="apple"), ledger)) == [("a", 8, LOADED, None, "apple")]


def test_a_withdrawn_file_that_returns_may_be_a_duplicate_by_now() -> None:
    ledger = after(decide(zone(b="apple"), {"a": known(WITHDRAWN)}), {"a": known(WITHDRAWN)})
    assert ledger["b"].status == LOADED
    decided = decide(zone(a="apple", b="apple"), ledger)
    assert outcome(decided) == [("a", 8, DUPLICATE, "b", "apple")]


def test_a_withdrawn_file_holds_nothing() -> None:
    decided = decide(zone(b="apple"), {"a": known(WITHDRAWN)})
    assert outcome(decided) == [("b", 1, LOADED, None, None)]


def test_candidates_are_new_or_changed_or_asked_for() -> None:
    files = zone(a="apple", b="pear!", c="apple", d="apple", e="pear")
    ledger = {name: known(file=name) for name in "abcd"}
    found = candidates(listed(files), events_of(ledger), {"c", "x"})
    assert [file.file for file in found] == ["b", "c", "e"]


def test_heirs_are_the_unchanged_files_of_content_that_its_holder_loses() -> None:
    files = zone(a="pear!", b="apple", c="apple", d="plum", e="apple")
    ledger = {
        "a": known(),
        "b": known(DUPLICATE, file="b"),
        "c": known(DUPLICATE, file="c"),
        "d": known(file="d", sha256="plum", size=4),
        "gone": known(DUPLICATE, file="gone"),
    }
    report = {
        "a": FileReport(sha256="pear"),
        "c": FileReport(sha256="apple"),
        "e": FileReport(sha256="apple"),
    }
    assert [file.file for file in heirs(listed(files), ledger, report)] == ["b"]
    same = {"a": FileReport(sha256="apple")}
    assert heirs(listed(files), ledger, same) == []
    withdrawn = ledger | {"gone": known(WITHDRAWN, file="gone")}
    del withdrawn["a"]
    assert [file.file for file in heirs(listed(files), withdrawn, {})] == ["b", "c"]
    changed_duplicate = {"b": FileReport(sha256="pear")}
    assert heirs(listed(files), ledger, changed_duplicate) == []


def test_what_becomes_known_of_a_delivery() -> None:
    [delivery] = decide(zone(label="good", a="apple!"), {}).deliveries
    state = delivery.as_known()
    assert timedelta(0) <= datetime.now(UTC) - state.seen_at < timedelta(minutes=1)
    assert replace(state, seen_at=LONG_AGO) == FileState(
        "a", 1, "apple", 5, LONG_AGO + timedelta(hours=1), LOADED, "good", LONG_AGO
    )


def test_nothing_planned_counts_nothing() -> None:
    assert count(Plan()) == Counts()


def test_statuses_are_those_that_the_table_knows() -> None:
    [known_status] = [check for check in FILES.checks if check.name == "known_status"]
    statuses = ", ".join(f"'{status}'" for status in (LOADED, DUPLICATE, QUARANTINED, WITHDRAWN))
    assert known_status.condition == f"status IN ({statuses})"


def test_counts_are_of_files_and_rows() -> None:
    ledger = after(decide(zone(k="plum"), {}))
    decided = decide(zone(a="apple", b="apple", c="bad egg", d="pear", k="plum"), ledger)
    rows = {"a": (9, 7, 2), "d": (5, 5, 0)}
    for delivery in decided.deliveries:
        read, stored, held_back = rows.get(delivery.landed.file, (0, 0, 0))
        delivery.rows_read, delivery.rows_stored = read, stored
        delivery.rows_quarantined = held_back
    counts = count(decided)
    assert counts == Counts(
        seen=4,
        loaded=2,
        duplicate=1,
        quarantined=1,
        known=1,
        rows_read=14,
        rows_stored=12,
        rows_quarantined=2,
    )
    assert counts + Counts() == counts
    assert counts + counts == Counts(8, 4, 2, 2, 2, 28, 24, 4)


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        (Counts(), True),
        (Counts(3, 1, 1, 1, 99, 5, 3, 2), True),
        (Counts(seen=1), False),
        (Counts(seen=1, loaded=1, duplicate=1), False),
        (Counts(seen=1, loaded=1, rows_read=2, rows_stored=1), False),
        (Counts(rows_quarantined=1), False),
    ],
)
def test_counts_that_add_up(counts: Counts, expected: bool) -> None:
    assert counts.reconciled is expected


NAMES = ["a", "b", "c", "d", "e"]
DELIVERED = st.tuples(st.sampled_from(CONTENTS), st.integers(0, 2)).map(
    lambda of: of[0] + "!" * (3 * CONTENTS.index(of[0]) + of[1])
)
ZONES = st.dictionaries(st.sampled_from(NAMES), DELIVERED, max_size=len(NAMES))
RUNS = st.lists(st.tuples(ZONES, st.sets(st.sampled_from(NAMES), max_size=2)), max_size=7)


def withdraw(ledger: Ledger, landed: Zone, again: Collection[str]) -> set[str]:
    """Withdraw what is asked for but gone, as the ingest of photos does; the contents let go."""
    let_go = set()
    for name in again:
        if name in ledger and name not in landed:
            state = ledger[name]
            let_go |= {state.sha256, state.kept}
            ledger[name] = replace(state, status=WITHDRAWN, event=state.event + 1)
    return let_go


TAKEN_OVER = [  # A file is now the only one with its content, and corrects nothing by that.
    ({"d": "apple"}, set()),
    ({"a": "apple", "b": "bad luck!!!!!!!!!", "d": "bad luck!!!!!!!!!"}, set()),
    ({"a": "apple", "b": "apple", "d": "bad luck!!!!!!!!!"}, set()),
]
EXCHANGED = [  # Of each content, one of two files now has the other.
    ({"a": "apple", "b": "apple", "c": "pear!!!", "d": "pear!!!"}, set()),
    ({"a": "apple", "b": "pear!!!", "c": "pear!!!", "d": "apple"}, set()),
]
RETURNED = [  # A file gives its content back to another, and corrects nothing by that.
    ({"a": "apple", "b": "pear!!!", "d": "pear!!!"}, set()),
    ({"d": "apple", "b": "pear!!!", "a": "bad egg!!!!!!"}, set()),
    ({"a": "apple", "b": "pear!!!"}, set()),
]


@settings(max_examples=500, deadline=None)
@given(RUNS, st.sampled_from([None, "good"]))
@example(EXCHANGED, None)
@example(RETURNED, None)
@example(TAKEN_OVER, None)
def test_whatever_is_delivered_every_content_has_one_holder(
    runs: list[tuple[dict[str, str], set[str]]], label: str | None
) -> None:
    ledger: Ledger = {}
    let_go: set[str] = set()
    for files, again in runs:
        before, landed = dict(ledger), zone(label, **files)
        decided = decide(landed, ledger, again)
        ledger = after(decided, before)
        at_once = after(decide(landed, before, again, at_once=True), before)
        assert without_times(at_once) == without_times(ledger)
        if label:
            let_go |= withdraw(ledger, landed, again)

        counts = count(decided)
        assert counts.reconciled
        assert counts.seen + counts.known == len(landed)
        assert sorted(again & landed.keys()) == sorted(
            d.landed.file for d in decided.deliveries if d.landed.file in again
        )
        check_copies(decided, before)
        for delivery in [*decided.deliveries, *decided.released]:
            name = delivery.landed.file
            assert delivery.event == (before[name].event if name in before else 0) + 1
            if delivery in decided.deliveries:
                assert delivery.replaces == (before[name].sha256 if name in before else None)
        check_ledger(ledger, landed, let_go)
        repeated = decide(landed, ledger)
        assert {delivery.report.sha256 for delivery in repeated.deliveries} <= let_go
        healed = after(repeated, ledger)
        check_ledger(healed, landed, set())
        assert outcome(decide(landed, healed)) == []


class Events:
    """The table of the ledger, in memory; read as a lake reads it."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def add(self, states: Ledger, plan: Plan) -> None:
        """Write the last event of these files."""
        holders = {d.landed.file: d.duplicate_of for d in [*plan.deliveries, *plan.released]}
        for state in states.values():
            row = {name: getattr(state, name) for name in STATE}
            self.rows.append({**row, "kind": "", "duplicate_of": holders.get(state.file)})

    def load(self, table: Table, where: pc.Expression, columns: Sequence[str]) -> pa.Table:
        """As `Lake.load`."""
        schema = pa.schema([field.with_nullable(True) for field in table.arrow_schema()])
        return ds.dataset(pa.Table.from_pylist(self.rows, schema)).to_table(list(columns), where)


NOT_LOOKED_AT = [  # The copy b was away when the correction came.
    ({"b": "apple"}, set()),
    ({"a": "apple", "b": "apple"}, set()),
    ({"a": "pear!!!"}, set()),
    ({"a": "pear!!!", "b": "apple"}, set()),
]


@settings(max_examples=100, deadline=None)
@given(RUNS, st.sampled_from([None, "good"]))
@example(EXCHANGED, None)
@example(NOT_LOOKED_AT, None)
@example(RETURNED, None)
@example(TAKEN_OVER, None)
def test_what_is_asked_by_key_decides_as_the_whole_ledger(
    runs: list[tuple[dict[str, str], set[str]]], label: str | None
) -> None:
    ledger: Ledger = {}
    events: Any = Events()
    for files, again in runs:
        landed = zone(label, **files)
        whole = decide(landed, ledger, again)

        last = last_events(events, "", landed)
        read = candidates(listed(landed), last, again)
        asked = {file.file for file in read} | again | overlooked(events, "", last)
        known = related_states(events, "", asked, {file.url for file in read})
        assert without_times(known) == without_times({name: ledger[name] for name in known})
        by_key = decide(landed, known, again, last=last)
        assert outcome(by_key) == outcome(whole)
        assert by_key.released == whole.released and by_key.known == whole.known
        told = [*whole.deliveries, *whole.released]
        assert superseders(told, known) == superseders(told, ledger)

        before, ledger = ledger, after(whole, ledger)
        if label:
            withdraw(ledger, landed, again)
        events.add({n: s for n, s in ledger.items() if s != before.get(n)}, whole)


def without_times(ledger: Ledger) -> Ledger:
    times = {"seen_at": LONG_AGO, "modified_at": LONG_AGO, "corrected_at": None}
    return {name: replace(state, **times) for name, state in ledger.items()}


def check_copies(decided: Plan, before: Ledger) -> None:
    """No two files hold each other's rows back, so no content is held back everywhere."""
    found = superseders([*decided.deliveries, *decided.released], before)
    assert not set(found) & {by for some in found.values() for by in some}


def check_ledger(ledger: Ledger, landed: Zone, let_go: set[str]) -> None:
    for name, file in landed.items():
        assert ledger[name].sha256 == file.url
        assert ledger[name].status != WITHDRAWN
    live = [state for state in ledger.values() if state.status not in (DUPLICATE, WITHDRAWN)]
    assert all((s.status == QUARANTINED) is ("bad" in s.sha256 or not s.sha256) for s in live)
    held = [state.sha256 for state in live if state.sha256]
    assert len(held) == len(set(held))
    held += [state.kept for state in live]
    there = {file.url for file in landed.values() if file.url}
    assert there - let_go <= set(held)
