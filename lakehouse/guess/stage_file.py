"""Write what was guessed as a stage file, with the certainty of each line."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from lakehouse.errors import PlatelakeError, UsageError
from lakehouse.guess.columns import CERTAIN, GUESS, LIKELY, Guess
from lakehouse.guess.folder import Found, Texts
from lakehouse.guess.photos import PhotoFolder
from lakehouse.stage import Stage, parse_stage
from lakehouse.stage_sections import NAME

LINE = re.compile(
    r"(?P<key>\w+) = (?P<value>.*?)"
    rf"(?:\s+# (?P<certainty>{CERTAIN}|{LIKELY}|{GUESS})(?:: (?P<why>.*))?)?"
)
SECTION = re.compile(r"\[+([\w.]+)\]+")


class Said(NamedTuple):
    """A line of a stage file: its key and value, and how sure the guess is, as its comment says.

    `section` is empty above the first one. A line without such a comment is certain.
    """

    section: str
    key: str
    value: str
    certainty: str
    why: str


def stage_name(path: Path) -> str:
    """Return the name of a stage that is guessed from this file or folder.

    >>> stage_name(Path("conf/stages/line-2.toml")), stage_name(Path("로그.csv"))
    ('line_2', 'stage')
    """
    name = path.stem.lower().replace("-", "_").replace(" ", "_")
    return name if re.match(NAME, name) else "stage"


def said_lines(text: str) -> list[Said]:
    """Return the keys of a stage file that stand on one line each, but those of variables."""
    found, section = [], ""
    for line in text.splitlines():
        if head := SECTION.match(line):
            section = head[1]
        elif not section.endswith("variables") and (one := LINE.fullmatch(line.strip())):
            certainty, why = one["certainty"] or CERTAIN, one["why"] or ""
            found.append(Said(section, one["key"], one["value"], certainty, why))
    return found


def stage_text(found: Found, name: str) -> str:
    """Return a stage file for what was found; each guess has a comment on how sure it is."""
    lines = [f"# {name}: guessed by `platelake look`. Read each line that is not certain."]
    lines += [
        f"title = {_value(name)}",
        'time_zone = "Asia/Seoul"' + _comment(GUESS, "of the clocks"),
    ]
    lines += _lot_pattern(found.of("readings")[:1])
    for section in ("readings", "error_lists"):
        for texts in found.of(section)[:1]:
            lines += _section(section, texts)
    lines += _photos(found.photos)
    return "\n".join(lines) + "\n"


def guessed_stage(text: str, name: str) -> Stage:
    """Return the stage of that text; raises PlatelakeError if a guess does not make one."""
    try:
        return parse_stage(text, name)
    except UsageError as error:
        raise PlatelakeError(f"no stage can be guessed: {error}") from None


def _lot_pattern(texts: list[Texts]) -> list[str]:
    """Numbers, or letters as well if the lots of the example have some."""
    for one in texts:
        lots = _lots(one)
        if odd := next((text for text in lots if re.search(r"[^0-9.]", text)), None):
            return ['lot_pattern = "[0-9A-Za-z_-]+"' + _comment(LIKELY, f"lots such as {odd}")]
        if any(re.match("0[0-9]", text) for text in lots):
            return ['lot_pattern = "0*([0-9]+)"' + _comment(LIKELY, "leading zeros do not count")]
    return []


def _lots(texts: Texts) -> list[str]:
    """Return the lots of the example, from a column or, of a long table, from a variable."""
    said = {guess.key: guess.value for guess in texts.columns.guesses}
    if "lot" in said:
        return texts.table.column(said["lot"])
    long = said.get("long")
    if not long:
        return []
    columns = (texts.table.column(long[key]) for key in ("variable", "value"))
    return [value for name, value in zip(*columns, strict=True) if name == long["lot"]]


def _section(name: str, texts: Texts) -> Iterator[str]:
    yield f"\n[{name}]"
    globs = texts.globs
    yield f"files = {_value(globs[0] if len(globs) == 1 else globs)}"
    if len(globs) > 1 and name == "readings":
        yield r"# line = { file_name = '^([^/]+)/' }  # if lots of two folders may have one number"
    form = _form(texts)
    keys = [guess.key for guess in form]
    for guess in (*form, *(guess for guess in texts.columns.guesses if guess.key not in keys)):
        yield f"{guess.key} = {_value(guess.value)}{_comment(guess.certainty, guess.why)}"
    for variable in texts.columns.variables:
        yield f"\n[[{name}.variables]]"
        yield f"name = {_value(variable.key)}"
        yield f"column = {_value(variable.value['column'])}"
        yield f"unit = {_value(_unit(variable.value['column']))}" + _comment(GUESS, "")
        for key in ("minimum", "maximum"):
            why = "say what is physically possible" if key == "minimum" else ""
            yield f"{key} = {_value(variable.value[key])}" + _comment(GUESS, why)
        if variable.value.get("optional"):
            yield "optional = true" + _comment(CERTAIN, "some files lack the column")


def _form(texts: Texts) -> list[Guess]:
    """Return the keys that say how the text is written, and where the table is in it."""
    table = texts.table
    form = [Guess("delimiter", table.delimiter), Guess("quote", table.quote)]
    form = [guess for guess in form if guess.value not in (",", '"')]
    if table.encoding not in ("utf-8", "cp949"):
        form.append(Guess("encodings", ["utf-8", table.encoding], LIKELY, "by its letters"))
    if table.sheet:
        form.append(Guess("sheet", table.sheet, LIKELY, "other sheets of the file are not read"))
    if table.header < 0:
        why = "that of the file is damaged" if table.damaged else "the files have none"
        form.append(Guess("header", table.names, GUESS, f"{why}: name each column"))
    if any(header > 0 for header, _ in texts.forms):
        form.append(Guess("find_header", True, CERTAIN, "lines above the header"))
    said = [guess for guess in texts.columns.guesses if guess.key == "ignore_lines"]
    lines = [line for guess in said for line in guess.value]
    if table.damaged:
        lines.append(f"^{re.escape(table.damaged)}\\s*$")
        form.append(Guess("ignore_lines", lines, LIKELY, "it has not a name for each column"))
    elif len({units for _, units in texts.forms}) > 1:
        lines.append("^[^0-9]*$")
        form.append(Guess("ignore_lines", lines, LIKELY, "lines without a digit, as units"))
    elif table.units:
        form.append(Guess("skip_after_header", table.units, LIKELY, "rows without data"))
    return form


def _unit(column: str) -> str:
    """Return what stands in brackets in the column's name."""
    found = re.search(r"[\[(](.*?)[\])]", column)
    return found[1] if found else ""


def _photos(folders: list[PhotoFolder]) -> Iterator[str]:
    if not folders:
        return
    yield "\n[photos]"
    labels: dict[str, list[str]] = {}
    for folder in folders:
        yield f"# {folder.glob}: {folder.count} photos"
        for kind, count in folder.kinds.most_common():
            yield f"#   {count} of {folder.kinds.total()}: {kind}"
        for reason, count in folder.refused.most_common():
            yield _comment(f"  {count} would be quarantined", reason).strip()
        if folder.label:
            labels.setdefault(folder.label, []).append(folder.glob)
    unlabelled = [folder.glob for folder in folders if not folder.label]
    said = labels or {"good": ["photos/good/*"], "bad": ["photos/bad/*"]}
    yield f"labels = {_value(said)}" + _comment(CERTAIN if labels else GUESS, "")
    if unlabelled:
        yield f"unlabelled = {_value(unlabelled)}" + _comment(GUESS, "no folder says good or bad")
    depths = [folder.bits for folder in folders if folder.bits]
    if depths:
        yield f"bits = {max(depths)}" + _comment(GUESS, "no value needs more; see the camera")


def _value(value: Any) -> str:
    """Return a value as TOML writes it."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {_value(one)}" for key, one in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, str) and "\\" in value and "'" not in value:
        return f"'{value}'"
    return json.dumps(value, ensure_ascii=False)


def _comment(certainty: str, why: str) -> str:
    if certainty == CERTAIN and not why:
        return ""
    said = re.sub("[\x00-\x1f]", " ", f"{certainty}: {why}" if why else certainty)
    return f"  # {said}"
