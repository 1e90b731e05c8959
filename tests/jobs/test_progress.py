"""The bar that a person on a terminal sees."""

import io
import sys

import pytest
from rich.console import Console

from jobs.logs import _without_run
from jobs.progress import follow, steps


def test_a_terminal_has_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=120)
    with steps(3, console) as step:
        step("chromate: ingest_photos")
        event = {"event": "photos stored", "done": 40, "of": 44}
        assert follow(None, "info", event) is event
        with steps(1) as inner:  # A step within a step: the bar stays.
            inner("label")
        step("chromate: label")
    text = shown.getvalue()
    assert "chromate: label" in text and "1/3" in text
    assert follow(None, "info", {"of": 2, "done": 1})  # No bar any more.
    assert _without_run(None, "info", {"run": "x", "event": "done"}) == {"event": "done"}


def test_elsewhere_there_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    with steps(2) as step:
        step("label")
        follow(None, "info", {"event": "trained", "rounds": 1, "of": 2})
    assert capsys.readouterr() == ("", "")
