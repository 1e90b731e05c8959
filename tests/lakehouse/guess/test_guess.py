"""What is guessed of files of other plants, down to the rows that the guessed stage stores."""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from jobs.look import look
from lakehouse.errors import PlatelakeError
from lakehouse.guess.folder import look_at
from lakehouse.guess.preview import preview, show_file
from lakehouse.guess.stage_file import guessed_stage, stage_text
from lakehouse.settings import Settings
from tests.sheets import xlsx

Rows = list[dict[str, Any]]


def seconds(form: str, count: int = 6) -> list[str]:
    return [form.format(n) for n in range(count)]


def german(folder: Path) -> None:
    rows = [f"06.09.2021;08:00:0{n};17;7,{n};1.04{n},5" for n in range(6)]
    text = "\n".join(["Datum;Zeit;Los;pH;Druck [mbar]", *rows])
    (folder / "log.csv").write_bytes(text.encode("cp1252"))


def logger(folder: Path) -> None:
    head = ['"TOA5","Line3","CR1000"', '"TIMESTAMP","Lot","pH"', '"TS","","pH"', '"","","Smp"']
    rows = [f'"2021-09-06 08:00:0{n}",0017,7.{n}' for n in range(6)]
    (folder / "toa5.dat").write_text("\n".join([*head, *rows]))


def excel_text(folder: Path) -> None:
    rows = [f"2021/09/06\t오후 4:05:0{n}\tA-{n // 3}\t7.{n}" for n in range(6)]
    text = "\n".join(["날짜\t시각\t로트\t산도", *rows])
    (folder / "data.txt").write_bytes(text.encode("utf-16"))


def packed(folder: Path) -> None:
    rows = [f"{1630918800 + n},17,7.{n},-" for n in range(5)] + ["1630918805,17,7.5,3"]
    text = "\n".join(["time,batch,ph,flow", *rows])
    (folder / "old.csv.gz").write_bytes(gzip.compress(text.encode()))


def long(folder: Path) -> None:
    rows = [
        f"{name};06.09.2021 08:00:0{n};{value}{n};1"
        for n in range(6)
        for name, value in (("pH", "7,"), ("Charge", "B-"), ("$RT_OFF$", "1"))
    ]
    rows[2] = rows[2].removesuffix("1") + "0"
    text = "\n".join(["VarName;TimeString;VarValue;Validity", *rows])
    (folder / "archive.csv").write_text(text)


def daily(folder: Path) -> None:
    for day in ("06", "07"):
        rows = [f"{n},17,오후 4:05:0{n}.0,7.{n}" for n in range(6)]
        text = "\n".join(["Index,Lot,Time,pH", *rows])
        (folder / f"kemp-2021.09.{day}.csv").write_bytes(text.encode("cp949"))


@pytest.mark.parametrize(
    ("make", "first"),
    [
        (german, {"lot": "17", "ph": 7.0, "druck": 1040.5, "utc": "2021-09-05 23:00:00"}),
        (logger, {"lot": "17", "ph": 7.0, "utc": "2021-09-05 23:00:00"}),
        (long, {"lot": "B-0", "ph": 7.0, "utc": "2021-09-05 23:00:00"}),
        (excel_text, {"lot": "A-0", "variable": 7.0, "utc": "2021-09-06 07:05:00"}),
        (packed, {"lot": "17", "ph": 7.0, "flow": None, "utc": "2021-09-06 09:00:00"}),
        (daily, {"lot": "17", "ph": 7.0, "utc": "2021-09-06 07:05:00"}),
    ],
)
def test_a_guessed_stage_reads_the_file_that_it_was_guessed_from(
    tmp_path: Path, make: Callable[[Path], None], first: dict[str, Any]
) -> None:
    make(tmp_path)
    found = look_at(tmp_path)
    stage = guessed_stage(stage_text(found, "trial"), "trial")
    (texts,) = found.of("readings")
    seen = preview("readings", texts.files[0], texts.files[0].name, stage, Settings())
    assert (seen.report.rule, seen.held_back.num_rows, seen.stored.num_rows) == (None, 0, 6)
    row = seen.stored.to_pylist()[0]
    assert row | {"utc": f"{row['measured_at']:%Y-%m-%d %H:%M:%S}"} == row | first


def test_a_list_of_failed_lots(tmp_path: Path) -> None:
    lines = ["Index,Date,LoT", '0,2021-09-06,"17, 20"', "1,2021-09-07,", "2,2021-09-08,3"]
    (tmp_path / "errors.csv").write_text("\n".join(lines))
    found = look_at(tmp_path / "errors.csv")
    stage = guessed_stage(stage_text(found, "trial"), "trial")
    seen = preview("error_lists", tmp_path / "errors.csv", "errors.csv", stage, Settings())
    assert [row["lots"] for row in seen.stored.to_pylist()] == [["17", "20"], [], ["3"]]


def test_a_list_in_excel_is_no_sensor_file(tmp_path: Path) -> None:
    (tmp_path / "ng.xlsx").write_bytes(xlsx({"S": [["Date", "Lot"], [("date", 44445), 18]]}))
    found = look_at(tmp_path)
    stage = guessed_stage(stage_text(found, "trial"), "trial")
    seen = preview("error_lists", tmp_path / "ng.xlsx", "ng.xlsx", stage, Settings())
    assert [row["lots"] for row in seen.stored.to_pylist()] == [["18"]]


def test_the_sheets_of_a_workbook_are_guessed_one_by_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    readings = [["Stamp", "Lot", "pH"], *([("date", 44445.3 + n), 17, 7.1] for n in range(5))]
    more = [["Stamp", "Lot", "Torque"], [("date", 44445.3), 17, 9.3]]
    sheets = {
        "About": [["plating line"]],
        "NG": [["Date", "Lot"], [("date", 44445), 18]],
        "Torque": more,
        "Data": readings,
    }
    (tmp_path / "book.xlsx").write_bytes(xlsx(sheets))
    look(tmp_path, None, 3)
    found = look_at(tmp_path)
    text = stage_text(found, "trial")
    assert 'sheet = "Data"  # likely: other sheets of the file are not read' in text
    stage = guessed_stage(text, "trial")
    file = tmp_path / "book.xlsx"
    shown = show_file(file, "book.xlsx", stage, Settings())
    rows = {one.kind: one.rows.stored.num_rows for one in shown if one.rows}
    assert rows == {"readings": 5, "error_lists": 1}
    said = " ".join(capsys.readouterr().out.split())
    assert "1 file, sheet Torque, with the columns Stamp, Lot, Torque" in said
    assert "a stage of its own: with sheet = 'Torque'" in said


def test_a_list_with_the_result_of_each_lot(tmp_path: Path) -> None:
    rows = ["2021-09-06;17;NG;OK", "2021-09-06;20;OK;", "2021-09-07;23; OK ;x"]
    (tmp_path / "mes.csv").write_text("\n".join(["Date;Lot;Result;Remark", *rows]))
    found = look_at(tmp_path)
    stage = guessed_stage(stage_text(found, "trial"), "trial")
    seen = preview("error_lists", tmp_path / "mes.csv", "mes.csv", stage, Settings())
    assert [row["lots"] for row in seen.stored.to_pylist()] == [["17"]]


def test_a_day_that_may_be_a_month_is_said_to_be_a_guess(tmp_path: Path) -> None:
    lines = ["Date,Time,Lot,pH", *(f"06/09/2021,08:00:0{n},17,7" for n in range(6))]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    text = stage_text(look_at(tmp_path), "trial")
    assert 'format = "%d/%m/%Y" }  # a guess: also fits %m/%d/%Y: which is the day?' in text


@pytest.mark.parametrize(("day", "form"), [("06/{n:02}", "%m/%d"), ("{n:02}/06", "%d/%m")])
def test_one_date_that_fits_one_form_alone_decides(tmp_path: Path, day: str, form: str) -> None:
    days = [day.format(n=n) for n in range(1, 14)]
    (tmp_path / "log.csv").write_text(
        "\n".join(["Date,Time,Lot,pH", *(f"{one}/2021,08:00:00,17,7" for one in days)])
    )
    (tmp_path / "stamps.txt").write_text(
        "\n".join(["Stamp,Lot,pH", *(f"{one}/2021 08:00:00,17,7" for one in days)])
    )
    found = look_at(tmp_path)
    said = [
        f"{guess.value} {guess.certainty}" for one in found.texts for guess in one.columns.guesses
    ]
    forms = [one for one in said if "format" in one]
    assert len(forms) == 2
    assert all(f"'{form}/%Y" in one and one.endswith("certain") for one in forms)


@pytest.mark.parametrize("mark", [" ", "\u202f", "'", "\u2019"])
@pytest.mark.parametrize("decimal", [".", ","])
def test_blanks_and_apostrophes_between_thousands(tmp_path: Path, mark: str, decimal: str) -> None:
    rows = [f"2021-09-06 08:00:0{n};17;1{mark}04{n}{decimal}5" for n in range(6)]
    (tmp_path / "log.csv").write_text("\n".join(["Stamp;Lot;Pressure", *rows]))
    stage = guessed_stage(stage_text(look_at(tmp_path), "trial"), "trial")
    seen = preview("readings", tmp_path / "log.csv", "log.csv", stage, Settings())
    assert seen.stored["pressure"].to_pylist() == [1040.5 + n for n in range(6)]


def test_folders_of_photos_and_what_is_not_read(tmp_path: Path) -> None:
    for folder in ("parts/OK", "parts/NG", "parts/new"):
        (tmp_path / folder).mkdir(parents=True)
        Image.new("L", (8, 6)).save(tmp_path / folder / "a.png")
    (tmp_path / "parts" / "Thumbs.db").write_bytes(b"x")
    (tmp_path / "notes.csv").write_text("no table\n")
    found = look_at(tmp_path)
    assert found.unread == {"notes.csv": "no table with a header and rows"}
    stage = guessed_stage(stage_text(found, "trial"), "trial")
    assert stage.photos and stage.photos.labels == {"good": ["parts/OK/*"], "bad": ["parts/NG/*"]}
    assert stage.photos.unlabelled == ["parts/new/*"]


def test_a_sensor_that_some_files_lack_is_optional(tmp_path: Path) -> None:
    for name, header, cells in (("a", "Time,Lot,pH", "7"), ("b", "Time,Lot,pH,Flow", "7,3")):
        rows = [f"2021-09-06 08:00:0{n},17,{cells}" for n in range(6)]
        (tmp_path / f"{name}.csv").write_text("\n".join([header, *rows]))
    found = look_at(tmp_path)
    stage = guessed_stage(stage_text(found, "trial"), "trial")
    assert len(found.texts) == 1 and stage.readings and stage.readings.files == ["*.csv"]
    assert [(v.column, v.optional) for v in stage.variables] == [(["pH"], False), (["Flow"], True)]


def test_every_kind_of_sensor_file_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stamps = [f"2021-09-06T08:00:0{n}" for n in range(6)]
    main_ = "\n".join(["Stamp,Lot,pH", *(f"{at},17,7.1" for at in stamps)])
    other = "\n".join(["When;Batch;Torque", *(f"{at};18;9,3" for at in stamps[1:])])
    (tmp_path / "a.csv").write_text(main_)
    (tmp_path / "torque.csv").write_text(other)
    look(tmp_path, None, 3)
    said = " ".join(capsys.readouterr().out.split())
    assert "torque*.csv: 1 file with the columns When, Batch, Torque" in said
    assert "6 of 6 rows would be stored" in said and "5 of 5 rows would be stored" in said


def test_each_kind_of_photo_in_a_folder_is_described(tmp_path: Path) -> None:
    (tmp_path / "ok").mkdir()
    dim = np.arange(48 * 64, dtype=np.uint16).reshape(48, 64) // 3
    for at in range(30):
        Image.fromarray(dim + at).save(tmp_path / "ok" / f"{at}.tif")
    Image.fromarray(np.dstack([dim // 4] * 3).astype(np.uint8)).save(tmp_path / "ok" / "b.png")
    (tmp_path / "ok" / "c.jpg").write_bytes(b"no photo")
    found = look_at(tmp_path)
    (folder,) = found.photos
    assert (folder.count, folder.bits, folder.label) == (32, 12, "good")
    assert set(folder.kinds) == {
        "TIFF, 64 x 48, grey, 16 bits",
        "PNG, 64 x 48, colours (RGB), 8 bits",
        "not readable",
    }
    assert [reason.partition(":")[0] for reason in folder.refused] == ["not_an_image"]
    text = stage_text(found, "trial")
    assert "PNG, 64 x 48, colours (RGB), 8 bits" in text and "1 would be quarantined" in text
    stage = guessed_stage(text, "trial")
    assert stage.photos and (stage.photos.labels, stage.photos.bits) == ({"good": ["ok/*"]}, 12)


@pytest.mark.parametrize("content", [None, b"", b"\0\1\2"])
def test_nothing_to_look_at_is_a_sentence(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "a.csv"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(PlatelakeError, match=r"is not there|holds no table and no photo"):
        look_at(file)
