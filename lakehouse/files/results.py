"""What the rows of sensor files say about their lots: failed or good."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from lakehouse.files.headers import folded
from lakehouse.files.rules import Mask
from lakehouse.files.values import by_value
from lakehouse.stage_sections import DECIMALS, Result

SAYS_FAILED, SAYS_GOOD, UNREAD = "failed", "good", "unread"
"""Values of `result` in `readings`; null if the row says nothing."""


def results_in(texts: pa.Array, values: pa.Array, missing: Mask, said: Result) -> pa.Array:
    """Return what each cell says about its lot.

    Args:
        texts: The cells.
        values: The same cells as numbers; null if one is no number.
        missing: Which cells say that there is no value.
        said: What the stage says about the column.

    Returns:
        Failed, good, unread, or null if the cell says nothing. A word that the stage does not name
        is unread if the stage names good words; else it says nothing.

    Example:
        >>> import numpy as np
        >>> said = Result(column="Result", failed="NG", good="OK")
        >>> cells = pa.array([" ng", "OK", "N.G", ""])
        >>> results_in(cells, pa.nulls(4, pa.float64()), np.zeros(4, bool), said).to_pylist()
        ['failed', 'good', 'unread', None]
    """
    if said.above is None:
        words = {_plain(word): SAYS_GOOD for word in said.good}
        words |= {_plain(word): SAYS_FAILED for word in said.failed}
        other = UNREAD if said.good else None

        def word(text: str | None) -> str | None:
            return None if text is None else words.get(_plain(text), other)

        found = by_value(texts, word, pa.string())
    else:
        above = pc.if_else(pc.greater(values, said.above), SAYS_FAILED, SAYS_GOOD)
        found = pc.fill_null(above, UNREAD)
    blank = pc.equal(pc.utf8_trim_whitespace(texts), "")
    nothing = pc.or_(pa.array(missing), pc.fill_null(blank, True))
    return pc.if_else(nothing, pa.scalar(None, pa.string()), found)


def _plain(word: str) -> str:
    """Return a word as words are compared; a number written 1.0 means 1."""
    return DECIMALS.sub(r"\1", folded(word))
