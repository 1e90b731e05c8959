"""The benchmark of damaged csv files: each class, and the score."""

from pathlib import Path

import pytest

from benchmarks.pollock import main, score_of

HEADER = ["Lot", "pH", "Remark"]
ROWS = [["17", "7.1", "a, b"], ["18", "7.2", 'a "c"'], ["19", "7.3", ""]]
CLEAN = [HEADER, *ROWS]


def text(rows: list[list[str]]) -> str:
    quoted = (['"' + cell.replace('"', '""') + '"' for cell in row] for row in rows)
    return "".join(",".join(row) + "\n" for row in quoted)


FILES = {
    "equal.csv": (text(CLEAN).replace('","', '";"'), text(CLEAN)),
    "equal_but_blank.csv": (text([["Bath 3", "", ""], *CLEAN, ["", "", ""]]), text(CLEAN)),
    "named.csv": (
        text([HEADER, ["x", "x", "x"], *ROWS]),
        text([[f"{n} x" for n in HEADER], *ROWS]),
    ),
    "quarantined.csv": (text(CLEAN).replace('"18",', '"18"'), text(CLEAN)),
    "no_header.csv": (text(ROWS), text(ROWS)),
    "made_up.csv": (text(ROWS), text([["col_0", "col_1", "col_2"], *ROWS])),
    "damaged.csv": (text(CLEAN).replace("pH", '"pH'), text(CLEAN)),
    "refused.csv": (text([HEADER]), text(CLEAN)),
    "wrong.csv": (text(CLEAN), text([HEADER, *ROWS[:2]])),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, pair in FILES.items():
        for kind, content in zip(("csv", "clean"), pair, strict=True):
            file = tmp_path / "polluted_files" / kind / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content)
    return tmp_path


def test_each_file_has_its_class(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(folder), "--list"]) == 1
    lines = capsys.readouterr().out.splitlines()
    counts = ["equal: 4", "equal rows, other names of columns: 2", "rows quarantined: 1"]
    counts += ["refused: 1", "wrong in silence: 1"]
    assert [line.strip() for line in lines[1:6]] == counts
    assert "    wrong.csv: 4 rows, not 3" in lines
    assert "    quarantined.csv: line 3: 2 cells where the header has 3" in lines


def test_a_folder_without_the_benchmark_is_skipped_with_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path)]) == 0
    assert "holds no copy of Pollock; nothing was read." in capsys.readouterr().out


def test_the_score() -> None:
    assert score_of(CLEAN, CLEAN) == 10
    assert score_of([], CLEAN) == 10
    assert score_of(CLEAN, []) == 1
    # The header is right, one of three rows is lost, and three of twelve cells.
    rows, cells = 2 / 3 + 1 + 4 / 5, 9 / 12 + 1 + 6 / 7
    assert score_of(CLEAN, CLEAN[:3]) == pytest.approx(1 + 3 + rows + cells)
    # A row with a lost delimiter has the same text, and is another row.
    merged = [HEADER, ["177.1", "a, b"], *ROWS[1:]]
    rows, cells = 2 / 3 * 3, 10 / 12 + 10 / 11 + 20 / 23
    assert score_of(CLEAN, merged) == pytest.approx(1 + 3 + rows + cells)
