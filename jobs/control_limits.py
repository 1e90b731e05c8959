"""Control limits of a variable, from the lots of a stated period, for the app's control charts.

    platelake control-limits --stage S --variable ph --from DAY --to DAY --reason TEXT

Reads lots and lot_features; adds one version to control_limits, without Spark. The version before
it stays. A second call adds another version.
"""

from __future__ import annotations

import getpass
from datetime import UTC, date, datetime

from jobs.context import RunContext
from lakehouse.errors import UsageError
from lakehouse.tables.control_limits import CONTROL_LIMITS
from serving.process import Period, Process


def set_limits(
    context: RunContext, variable: str, first_day: date, last_day: date, reason: str
) -> int:
    """Store the limits and print them; return their version.

    Args:
        context: The run, with its lake and stage.
        variable: Name of a variable of the stage.
        first_day: First production day of the period.
        last_day: Its last production day.
        reason: Why this period, in the person's words.

    Raises:
        UsageError: The variable is unknown, the period is empty or has too few lots, or there is
            no reason.
    """
    lake, stage, reason = context.lake, context.stage, " ".join(reason.split())
    known = {one.name: one for one in stage.variables}
    if variable not in known:
        raise UsageError(f"the stage has no variable {variable}; it has {', '.join(known)}")
    if not reason:
        raise UsageError("no reason; say by --reason why these days stand for a good process")
    if first_day > last_day:
        raise UsageError(f"the period ends ({last_day}) before it begins ({first_day})")
    try:
        found, lots = Process(lake, stage).limits(known[variable], Period(first_day, last_day))
    except ValueError:
        raise UsageError(
            f"the days {first_day} to {last_day} have fewer than two lots of {variable} that the "
            "plant did not fail; choose other days, or run: platelake features"
        ) from None
    version = max((row["version"] for row in lake.rows(CONTROL_LIMITS, "version")), default=0) + 1
    set_at, who = datetime.now(UTC), getpass.getuser()
    rows = [
        CONTROL_LIMITS.row(
            *(version, variable, chart, one.centre, one.sigma),
            *((one.low, one.high) if chart == "individuals" else (None, None)),
            *(first_day, last_day, lots, reason, who, set_at),
        )
        for chart, one in found.items()
    ]
    lake.append_rows(CONTROL_LIMITS, rows, transaction=context.run_id)
    one = found["individuals"]
    print(
        f"version {version}: {variable} of a lot {one.low:.4g} to {one.high:.4g}, centre "
        f"{one.centre:.4g}, from {lots} lots of {first_day} to {last_day}"
    )
    return version
