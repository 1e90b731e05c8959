"""Small Excel files, written by hand: with errors, formulas without a result, several sheets."""

import io
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006"
HEAD = '<?xml version="1.0"?>'
STYLES = (
    f'{HEAD}<styleSheet xmlns="{MAIN}"><cellXfs count="2"><xf numFmtId="0"/>'
    '<xf numFmtId="22" applyNumberFormat="1"/></cellXfs></styleSheet>'
)


def xlsx(sheets: Mapping[str, Sequence[Sequence[Any]]]) -> bytes:
    """A workbook. A cell is a text, a number, or `date`, `error` or `formula` with a value."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as book:
        book.writestr("[Content_Types].xml", f'{HEAD}<Types xmlns="{PACKAGE}/content-types"/>')
        links = [("styles.xml", "styles")]
        links = [(f"worksheets/sheet{at}.xml", "worksheet") for at in range(len(sheets))] + links
        book.writestr("xl/_rels/workbook.xml.rels", relations(links))
        book.writestr("_rels/.rels", relations([("xl/workbook.xml", "officeDocument")]))
        named = "".join(
            f'<sheet name="{name}" sheetId="{at + 1}" r:id="rId{at}"/>'
            for at, name in enumerate(sheets)
        )
        about = f'xmlns="{MAIN}" xmlns:r="{OFFICE}"'
        book.writestr(
            "xl/workbook.xml", f"{HEAD}<workbook {about}><sheets>{named}</sheets></workbook>"
        )
        book.writestr("xl/styles.xml", STYLES)
        for at, rows in enumerate(sheets.values()):
            data = "".join(row(line, cells) for line, cells in enumerate(rows, 1))
            text = f'{HEAD}<worksheet xmlns="{MAIN}"><sheetData>{data}</sheetData></worksheet>'
            book.writestr(f"xl/worksheets/sheet{at}.xml", text)
    return target.getvalue()


def relations(links: Sequence[tuple[str, str]]) -> str:
    inside = "".join(
        f'<Relationship Id="rId{at}" Type="{OFFICE}/{kind}" Target="{target}"/>'
        for at, (target, kind) in enumerate(links)
    )
    return f'{HEAD}<Relationships xmlns="{PACKAGE}/relationships">{inside}</Relationships>'


def row(line: int, cells: Sequence[Any]) -> str:
    inside = "".join(cell(f"{chr(65 + at)}{line}", value) for at, value in enumerate(cells))
    return f'<row r="{line}">{inside}</row>'


def cell(place: str, value: Any) -> str:
    kind, said = value if isinstance(value, tuple) else ("", value)
    if kind == "error":
        return f'<c r="{place}" t="e"><v>{said}</v></c>'
    if kind == "formula":
        return f'<c r="{place}"><f>{said}</f></c>'
    if kind == "date":
        return f'<c r="{place}" s="1"><v>{said}</v></c>'
    if isinstance(said, str):
        return f'<c r="{place}" t="inlineStr"><is><t>{said}</t></is></c>'
    return f'<c r="{place}"><v>{said}</v></c>'
