"""Time stamps that do not depend on the machine's time zone."""

from datetime import UTC, datetime, timedelta


def from_micros(microseconds: int) -> datetime:
    """The time in UTC of Spark's `unix_micros`, exactly.

    Collecting a timestamp itself gives local time without a zone.
    """
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=microseconds)
