"""Rows of Arrow as SQL takes them: values for parameters, and literals of a statement's text.

Both are made a column at a time, because a value at a time takes most of a sync. A backslash
escapes in literals: `Database` sets the `sql_mode` of its sessions, so no server can turn that off.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pyarrow as pa
import pyarrow.compute as pc

STATEMENT_BYTES = 1_000_000
"""Literals of one statement; servers refuse longer ones, the oldest at 4 MiB."""
ESCAPED = {"\\": r"\\", "'": r"\'", "\0": r"\0", "\n": r"\n", "\r": r"\r", "\x1a": r"\Z"}
"""What must not stand in a literal as it is, the escape itself first."""


def plain(values: pa.Array) -> pa.Array:
    """Return the values with days and times as texts; times are in UTC, with microseconds."""
    if pa.types.is_timestamp(values.type):
        values = values.cast(pa.timestamp("us", values.type.tz)).cast(pa.timestamp("us"))
    return values.cast(pa.string()) if pa.types.is_temporal(values.type) else values


def literals(values: pa.Array) -> pa.Array:
    """Return the values as MySQL's literals; null stays null.

    Args:
        values: A column of texts, whole numbers, finite numbers or booleans.

    Returns:
        Texts of the same length.

    Example:
        >>> literals(pa.array(["a b", None])).to_pylist()
        ["'a b'", None]
        >>> literals(pa.array([0.5, 2.0])).to_pylist()
        ['0.5e0', '2e0']
    """
    if pa.types.is_string(values.type):
        for one, other in ESCAPED.items():
            values = pc.replace_substring(values, one, other)
        return pc.binary_join_element_wise("'", values, "'", "")
    assert pa.types.is_primitive(values.type), values.type
    if pa.types.is_boolean(values.type):
        values = values.cast(pa.int8())
    texts = values.cast(pa.string())
    if not pa.types.is_floating(values.type):
        return texts
    # Without an exponent it would be a decimal number, which is rounded in another way.
    exponent = pc.if_else(pc.match_substring(texts, "e"), "", "e0")
    return pc.binary_join_element_wise(texts, exponent, "")


def statements(one_row: str, columns: Mapping[str, pa.Array]) -> Iterator[str]:
    """Yield statements that do for all rows what `one_row` does for the values of one.

    Args:
        one_row: A statement with the parameters `(%(NAME)s, %(NAME)s)`.
        columns: The values of each, all of the same length.

    Returns:
        Statements of about `STATEMENT_BYTES` at most.

    Example:
        >>> columns = {"n": pa.array([1, 2]), "name": pa.array(["a", "b"])}
        >>> list(statements("INSERT INTO t VALUES (%(n)s, %(name)s)", columns))
        ["INSERT INTO t VALUES (1,'a'),(2,'b')"]
    """
    parameters = f"({', '.join(f'%({name})s' for name in columns)})"
    head, found, tail = one_row.partition(parameters)
    assert found, one_row
    rows = pc.binary_join_element_wise(
        *map(literals, columns.values()), ",", null_handling="replace", null_replacement="NULL"
    )
    rows = pc.binary_join_element_wise("(", rows, ")", "")
    ends = pc.cumulative_sum(pc.add(pc.cast(pc.binary_length(rows), pa.int64()), 1))
    start = 0
    for end in pc.run_end_encode(pc.divide(ends, STATEMENT_BYTES)).run_ends.to_pylist():
        some = rows.slice(start, end - start)
        text = pc.binary_join(pa.ListArray.from_arrays([0, len(some)], some), ",")[0].as_py()
        yield f"{head}{text}{tail}"
        start = end
