"""Charts as SVG: numbers to places. The templates draw them; a table with the numbers follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from lakehouse.statistics import Array

WIDTH, HEIGHT = 960.0, 300.0
LEFT, RIGHT, TOP, BOTTOM = 64.0, 900.0, 14.0, 262.0
"""Edges of the drawing, in SVG units: numbers are left of it, names of lines right, days below."""
TICKS, TEXT = 5, 14.0


@dataclass(frozen=True)
class Dot:
    """One point: its place, where it links to, what it says, and how it looks.

    `mark` is empty, or `hit` for a point that breaks a rule. `is_failed`: the plant failed the lot.
    """

    x: float
    y: float
    link: str
    said: str
    mark: str = ""
    is_failed: bool = False


@dataclass(frozen=True)
class Line:
    """A line across the drawing. `name` is a key of the texts, `value` its last number."""

    name: str
    path: str
    y: float
    value: str
    shown: bool = True


@dataclass(frozen=True)
class ChartView:
    """A drawn chart: points, the line through them, limits, numbers on the left, days below."""

    dots: list[Dot]
    path: str
    lines: list[Line]
    scale: list[tuple[float, str]]
    days: list[tuple[float, str]] = field(default_factory=list)
    bars: list[tuple[float, float, float]] = field(default_factory=list)


def number(x: float) -> str:
    """Return a number for people: four digits, no exponent where it can be read without.

    >>> number(2.01234), number(123456.0), number(0.0)
    ('2.012', '123456', '0')
    """
    return f"{x:.0f}" if 1e4 <= abs(x) < 1e9 else f"{x:.4g}"


def ticks(low: float, high: float) -> list[float]:
    """Return round numbers between low and high, at most seven.

    >>> ticks(0.0, 1.0)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    rough = (high - low) / TICKS
    unit = 10 ** np.floor(np.log10(rough))
    step = unit * next(one for one in (1, 2, 5, 10) if one * unit >= rough * 0.999)
    first = int(np.ceil(low / step - 1e-9))
    last = int(np.floor(high / step + 1e-9))
    return [float(round(at * step, 12)) for at in range(first, last + 1)]


def drawn(
    points: Array,
    lines: Sequence[tuple[str, Array]],
    said: Sequence[str],
    links: Sequence[str],
    marks: Sequence[str],
    failed: Sequence[bool],
    days: Sequence[str],
    between: tuple[Array, Array] | None = None,
) -> ChartView:
    """Return the chart of these points.

    Args:
        points: Shape (points,), in order of time; NaN is not drawn.
        lines: Name and values, shape (points,), of each limit; a step where the value changes.
        said: What each point says.
        links: Where each point links to.
        marks: `hit` for a point that breaks a rule, else empty.
        failed: Whether the plant failed the lot.
        days: Day of each point; the first of each day is named below.
        between: Lower and upper end of each point's interval, if there is one.
    """
    values = [points, *(line for _, line in lines), *(between or ())]
    known = np.concatenate(values)
    known = known[np.isfinite(known)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    if high - low < 1e-12 * max(abs(high), 1.0):
        low, high = low - 0.5, high + 0.5
    room = 0.04 * (high - low)
    low, high = low - room, high + room
    step = (RIGHT - LEFT) / max(len(points), 1)
    x: Array = LEFT + step * (np.arange(len(points), dtype=np.float64) + 0.5)

    def height(values: Array) -> Array:
        return BOTTOM - (BOTTOM - TOP) * (values - low) / (high - low)

    y = height(points)
    shown = np.flatnonzero(np.isfinite(points)).tolist()
    dots = [
        Dot(round(float(x[i]), 1), round(float(y[i]), 1), links[i], said[i], marks[i], failed[i])
        for i in shown
    ]
    bars = []
    if between:
        tops, bottoms = height(between[1]), height(between[0])
        bars = [
            (round(float(x[i]), 1), round(float(tops[i]), 1), round(float(bottoms[i]), 1))
            for i in shown
        ]
    return ChartView(
        dots,
        " ".join(f"{dot.x},{dot.y}" for dot in dots),
        _apart([_line(name, line, x, height(line), step) for name, line in lines]),
        [(round(float(height(np.array(tick))), 1), number(tick)) for tick in ticks(low, high)],
        _days(x, days),
        bars,
    )


@dataclass(frozen=True)
class CurveView:
    """Curves over the same x: name and path of each, numbers on the left and below."""

    lines: list[tuple[str, str]]
    scale: list[tuple[float, str]]
    places: list[tuple[float, str]]


def curves(x: Array, lines: Sequence[tuple[str, Array]]) -> CurveView:
    """Return curves from zero up.

    Args:
        x: Shape (points,), rising.
        lines: Name and values, shape (points,), of each curve.

    >>> found = curves(np.array([0.0, 1.0]), [("one", np.array([0.0, 2.0]))])
    >>> found.lines
    [('one', '64.0,262.0 900.0,14.0')]
    """
    high = max(float(values.max()) for _, values in lines) or 1.0
    left, right = float(x[0]), float(x[-1])

    def across(at: float) -> float:
        return round(LEFT + (RIGHT - LEFT) * (at - left) / (right - left), 1)

    def up(at: float) -> float:
        return round(BOTTOM - (BOTTOM - TOP) * at / high, 1)

    paths = [
        (name, " ".join(f"{across(a)},{up(b)}" for a, b in zip(x, values, strict=True)))
        for name, values in lines
    ]
    scale = [(up(tick), number(tick)) for tick in ticks(0.0, high)]
    return CurveView(paths, scale, [(across(tick), number(tick)) for tick in ticks(left, right)])


def _apart(lines: list[Line]) -> list[Line]:
    """Name the value of a line only if no earlier line's is in the way; the legend has all."""
    found: list[Line] = []
    for line in lines:
        near = any(abs(line.y - one.y) < TEXT for one in found if one.shown)
        found.append(replace(line, shown=not near))
    return found


def _line(name: str, values: Array, x: Array, y: Array, step: float) -> Line:
    """Return a limit as a path that steps where its value changes."""
    parts, last = [], None
    for at in range(len(values)):
        here = round(float(y[at]), 1)
        if here != last:
            start = f"{x[at] - step / 2:.1f}"
            parts.append(f"M{start} {here}" if last is None else f"H{start}V{here}")
            last = here
    parts.append(f"H{RIGHT:.1f}")
    return Line(name, "".join(parts), last or 0.0, number(float(values[-1])))


def _days(x: Array, days: Sequence[str]) -> list[tuple[float, str]]:
    """Return place and name of days, so many that they do not overlap."""
    firsts = [at for at in range(len(days)) if at == 0 or days[at] != days[at - 1]]
    found: list[tuple[float, str]] = []
    for at in firsts:
        place = round(float(x[at]), 1)
        if place < RIGHT - 60 and (not found or place - found[-1][0] > 90):
            found.append((place, days[at]))
    return found
