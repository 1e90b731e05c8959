"""Find the header of a text file, and the needed columns in it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from lakehouse.files.headers import Headings, folded, named, shown, split_cells
from lakehouse.files.layout import FileReport, Layout

VALUE = re.compile(r"[+-]?[.,]?[0-9]")


def find_header(
    report: FileReport, layout: Layout, texts: Sequence[tuple[int, str]], first: int, rows: int
) -> None:
    """Find the header among the file's first lines, and the needed columns in it.

    Without `find_header`, it is the line at the place `first`. A layout with `header` has its own,
    and the rows begin there.

    Args:
        report: Gets the header, the first line of the rows and their number, or a fault.
        layout: The columns to look for.
        texts: The first lines that are not blank, with their numbers.
        first: The place of the first line that is not ignored.
        rows: The number of lines from the first of these to the end of the file.
    """
    if layout.header:
        _arrange(report, layout, layout.header)
        report.rows, report.first_line = rows - first, texts[first][0]
        return
    headers = (at for at in range(len(texts)) if _is_header(texts, at, report, layout))
    at = next(headers, first) if layout.find_header else first
    _arrange(report, layout, _names(texts, at, report, layout))
    if report.rule:
        if not layout.find_header and (better := next((at for at in headers if at > first), None)):
            found = f"line {texts[better][0]} has all columns: set find_header = true"
            report.reason = f"{report.reason}; {found}"
        return
    skipped = at + layout.header_rows + layout.skip_after_header
    report.rows = max(rows - skipped, 0)
    report.first_line = texts[min(skipped, len(texts)) - 1][0] + 1
    for line, text in texts[at + layout.header_rows : skipped]:
        if _is_row(split_cells(text, report.delimiter, layout.quote), report, layout):
            report.fault(
                "header",
                f"skip_after_header = {layout.skip_after_header}, but line {line} looks like a row",
            )
    if report.rule is None and report.rows == 0:
        report.fault("header_only", "the file has a header and no row")
    if at > first:
        above = f"{at - first} lines above the header are not read"
        report.note = "; ".join(filter(None, (above, report.note)))


def _is_row(cells: Sequence[str], report: FileReport, layout: Layout) -> bool:
    """Return whether at least half of the needed cells begin as a number, a date or a time."""
    needed = [place for place in report.order[: len(layout.fields)] if 0 <= place < len(cells)]
    filled = [cells[place].strip() for place in needed if cells[place].strip()]
    return 2 * sum(VALUE.match(cell) is not None for cell in filled) >= max(len(filled), 1)


def _names(
    texts: Sequence[tuple[int, str]], at: int, report: FileReport, layout: Layout
) -> list[str]:
    """Return the column names of the header whose first line stands at that place."""
    rows = [
        split_cells(text, report.delimiter, layout.quote)
        for _, text in texts[at : at + layout.header_rows]
    ]
    width = max(map(len, rows), default=0)
    padded = [[*row, *[""] * (width - len(row))] for row in rows]
    return [" ".join(filter(None, map(str.strip, parts))) for parts in zip(*padded, strict=True)]


def _is_header(
    texts: Sequence[tuple[int, str]], at: int, report: FileReport, layout: Layout
) -> bool:
    """Return whether the line has all needed columns."""
    trial = FileReport()
    _arrange(trial, layout, _names(texts, at, report, layout))
    return trial.rule is None


def _arrange(report: FileReport, layout: Layout, found: Sequence[str]) -> None:
    """Find the needed columns in the header."""
    names, headings = named(found), Headings(found)
    places = {key: headings.places(some) for key, some in layout.fields.items()}
    twice = {found[at[0]] for at in places.values() if len(at) > 1}
    order = [at[0] if at else -1 for at in places.values()]
    needed, ignored = set(order), headings.all_places(layout.ignored)
    free = [place for place in range(len(names)) if place not in needed and place not in ignored]
    group = _matching(names, free, layout.group)
    times = Counter(found[at] for at in group if found[at].strip())
    twice |= {name for name, count in times.items() if count > 1}
    if twice:
        report.fault("header", f"column {shown(sorted(twice))} stands twice in the header")
        return
    missing = [
        " or ".join(some)
        for (key, some), at in zip(layout.fields.items(), order, strict=True)
        if at < 0 and key not in layout.optional
    ]
    missing += [" or ".join(layout.group)] if layout.group and not group else []
    if missing:
        _explain_missing(report, layout, names, missing)
        return
    used = {*needed, *group}
    others = [place for place in range(len(names)) if place not in used]
    report.order, report.grouped = order + group + others, len(group)
    fields = [
        names[place] if place >= 0 else some[0]
        for place, some in zip(order, layout.fields.values(), strict=True)
    ]
    report.header = fields + [names[place] for place in group + others]
    extra = [place for place in others if place not in ignored]
    lacking = [name for name, at in zip(fields, order, strict=False) if at < 0]
    notes = [f"without column {shown(lacking)}"] if lacking else []
    notes += [f"extra columns: {shown([names[at] for at in extra])}"] if extra else []
    report.has_extra = any(found[place].strip() for place in extra)
    report.note = "; ".join(notes) or None


def arrange_again(report: FileReport, layout: Layout, found: Sequence[str]) -> list[int] | None:
    """Return the places of the file's columns in a further header; None if it has others.

    It may lack optional columns or have them, use other names of the needed ones, and have or lack
    columns that are ignored.
    """
    trial = FileReport()
    _arrange(trial, layout, found)
    count = len(layout.fields)
    others = {folded(name): place for name, place in zip(trial.header, trial.order, strict=True)}
    known = set(map(folded, [*report.header[count:], *layout.ignored]))
    if trial.rule or not set(map(folded, trial.header[count:])) <= known:
        return None
    return trial.order[:count] + [others.get(folded(name), -1) for name in report.header[count:]]


def _matching(names: Sequence[str], places: Sequence[int], patterns: Sequence[str]) -> list[int]:
    """Return the places whose name fits a pattern; capitals do not count."""
    pattern = "|".join(map(_regex, patterns)) or r"(?!)"
    fits = re.compile(pattern, re.DOTALL | re.IGNORECASE).fullmatch
    return [place for place in places if fits(names[place])]


def _regex(pattern: str) -> str:
    return ".*".join(map(re.escape, pattern.split("*")))


def _explain_missing(
    report: FileReport, layout: Layout, names: list[str], missing: list[str]
) -> None:
    if len(names) == 1:
        for other in (",", ";", "\t", "|"):
            if other != layout.delimiter and other in names[0]:
                report.fault(
                    "delimiter",
                    f"the delimiter is {other!r}, not {layout.delimiter!r}",
                )
    reason = f"no column {'; no column '.join(missing)}; found: {shown(names)}"
    if not layout.header and 2 * sum(map(bool, map(VALUE.match, names))) > len(names):
        reason += "; that looks like a row: if the files have no header, name the columns by header"
    report.fault("missing_column", reason)
