"""Progress of long steps, for a person on a terminal: a bar below the log, on standard error.

Elsewhere nothing is shown: the log has the same counts.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

COUNTS = ("done", "rounds")
"""Keys of log events that say how much of the step is done; their `of` says how much there is."""
_shown: list[Progress] = []


@contextmanager
def steps(total: int, console: Console | None = None) -> Iterator[Callable[[str], None]]:
    """Show how many of these steps are done, and the progress within the current one.

    Yields:
        A function to call with the name of each step when it starts.
    """
    if _shown or not sys.stderr.isatty():
        yield lambda name: None
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console or Console(stderr=True), transient=True) as progress:
        outer = progress.add_task("starting", total=total)
        _shown.append(progress)
        started = -1

        def step(name: str) -> None:
            nonlocal started
            started += 1
            for task in progress.task_ids[1:]:
                progress.remove_task(task)
            progress.update(outer, description=name, completed=started)

        try:
            yield step
        finally:
            _shown.clear()


def follow(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Read the counts of a log event into the bar. A processor of structlog."""
    of, done = event.get("of"), next((event[name] for name in COUNTS if name in event), None)
    if _shown and isinstance(of, int) and isinstance(done, int):
        progress = _shown[0]
        inner = progress.task_ids[1:] or [progress.add_task("", total=of)]
        what = str(event.get("candidate") or event.get("event", ""))
        progress.update(inner[0], description=f"  {what}", completed=done, total=of)
    return event
