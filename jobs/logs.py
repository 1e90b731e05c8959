"""Logs: for a person on a terminal, one JSON line an event elsewhere; always on standard error."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from jobs.progress import follow


def set_up_logs(level: str) -> None:
    """Log from that level on. Run and job ids are added to every event that has them."""
    person = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            *([follow, _without_run] if person else []),
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S" if person else "iso", utc=not person),
            *([] if person else [structlog.processors.format_exc_info]),
            structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
            if person
            else structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        # Looked up each time: whoever runs jobs within a process may have redirected it since.
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )


def _without_run(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Leave out the run's id, which a person on a terminal would read in every line."""
    event.pop("run", None)
    return event
