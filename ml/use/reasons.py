"""Why a person must decide although the model gave a probability: one key for each reason.

`Verdict.reason` is a key, or `key: detail`. The app shows the key in the reader's language.
"""

from __future__ import annotations

REASONS = {
    "unlike": "It is unlike everything that the model learned from.",
    "few_readings": "The lot has fewer readings than a whole one: it was cut, or has gaps.",
    "many_readings": "The lot has more readings than a whole one: it may be two.",
    "gaps": "The lot took longer than a whole one: there are gaps between its readings.",
    "missing": "The lot has no value of a variable.",
    "stuck": "A sensor stood still, as it never did in the lots that the model learned from.",
    "blank": "The photo has almost no contrast: there is nothing to see on it.",
    "dark": "The photo is darker than all photos that the model learned from.",
    "bright": "The photo is brighter than all photos that the model learned from.",
    "blurred": "The photo is less sharp than all photos that the model learned from.",
    "small": "The photo has fewer pixels than the model needs to see a defect.",
}
"""The keys, and what each means. Add a key here, and its texts in serving/texts."""


def with_detail(key: str, detail: str = "") -> str:
    """Make a reason from a known key and, if there is one, a detail.

    Example:
        >>> with_detail("unlike", "1.8 of the limit")
        'unlike: 1.8 of the limit'
    """
    assert key in REASONS, f"{key} is not in REASONS"
    return f"{key}: {detail}" if detail else key


def key_of(reason: str) -> str:
    """Return the key of a reason, "" if it has none that is known.

    Example:
        >>> key_of("unlike: 1.8 of the limit"), key_of("empty_file: the file has no bytes")
        ('unlike', '')
    """
    key = reason.partition(":")[0]
    return key if key in REASONS else ""
