"""A stage's file: what it may say, and that every fault is said with file and key."""

import copy
import shutil
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from lakehouse.errors import UsageError
from lakehouse.files import error_lists, readings
from lakehouse.files.layout import FileReport, Layout
from lakehouse.files.values import dates as as_dates
from lakehouse.forms import date_pattern
from lakehouse.settings import Settings
from lakehouse.stage import Stage, load_stage

CONF = Path(__file__).parent.parent.parent / "conf"

LEAST: dict[str, Any] = {
    "title": "Least",
    "readings": {
        "files": "*.csv",
        "lot": "Lot",
        "time": "Time",
        "clock": "24h",
        "date": {"column": "Date"},
        "variables": [{"name": "ph", "column": "pH", "unit": "pH", "minimum": 0, "maximum": 14}],
    },
    "error_lists": {"files": "failed.csv", "date": "Date", "lots": "LoT*"},
}


def least(**changes: Any) -> dict[str, Any]:
    """The smallest stage, with values put at places such as `readings__date__format`."""
    content = copy.deepcopy(LEAST)
    for place, value in changes.items():
        *parents, name = place.split("__")
        at: Any = content
        for parent in parents:
            at = at[int(parent)] if isinstance(at, list) else at.setdefault(parent, {})
        at[name] = value
    return content


def of(**changes: Any) -> Stage:
    return Stage.model_validate({"name": "least", **least(**changes)})


def as_toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"'{k}' = {as_toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(as_toml, value)) + "]"
    if isinstance(value, str):
        escaped = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in value)
        return '"' + escaped.replace("\\", "\\\\").replace("\\\\u", "\\u").replace('"', '\\"') + '"'
    return str(value).lower()


Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a stage file with these changes; its path."""

    def write_file(called: str = "least.toml", **changes: Any) -> Path:
        lines = [f"{key} = {as_toml(value)}\n" for key, value in least(**changes).items()]
        file = tmp_path / called
        file.write_text("".join(lines), "utf-8")
        return file

    return write_file


def refusal(name: str | None = None, file: Path | None = None) -> str:
    with pytest.raises(UsageError) as error:
        load_stage(name, file)
    return str(error.value)


def test_the_chromate_stage() -> None:
    stage = load_stage("chromate")
    assert stage.model_dump(exclude_defaults=True, exclude={"readings": {"variables"}}) == {
        "name": "chromate",
        "title": "Chromate plating",
        "ignore": ["GENERATED.txt"],
        "readings": {
            "files": ["sensor/*.csv"],
            "ignore": ["Index"],
            "lot": ["Lot", "LoT"],
            "time": ["Time"],
            "clock": "12h",
            "date": {"file_name": r"(\d{4}\.\d{2}\.\d{2})\.csv$", "format": "%Y.%m.%d"},
        },
        "error_lists": {
            "files": ["Error Lot list*.csv"],
            "ignore": ["Index", "Unnamed: 0", "column 1"],
            "date": ["0", "Date"],
            "lots": ["*"],
        },
        "photos": {
            "labels": {"good": ["**/good/*"], "bad": ["**/bad/*"]},
            "unlabelled": ["**/unlabelled/*"],
        },
    }
    variables = [(v.name, v.column, v.unit, v.minimum, v.maximum) for v in stage.readings.variables]
    assert variables == [
        ("ph", ["pH"], "pH", 0, 14),
        ("temperature", ["Temp"], "°C", 0, 100),
        ("voltage", ["Voltage"], "V", 0, 50),
    ]
    noon = datetime(2021, 9, 6, 12, tzinfo=stage.zone)
    assert noon.astimezone(UTC) == datetime(2021, 9, 6, 3, tzinfo=UTC)


def test_the_chromate_stages_layouts() -> None:
    stage, settings = load_stage("chromate"), Settings(max_line_bytes=77)
    assert readings.layout(stage, settings) == Layout(
        delimiter=",",
        encodings=("utf-8", "cp949"),
        fields={
            "lot": ("Lot", "LoT"),
            "time": ("Time",),
            "ph": ("pH",),
            "temperature": ("Temp",),
            "voltage": ("Voltage",),
        },
        max_line_bytes=77,
        ignored=("Index",),
        has_numbers=True,
    )
    assert error_lists.layout(stage, settings) == Layout(
        delimiter=",",
        encodings=("utf-8", "cp949"),
        fields={"date": ("0", "Date")},
        group=("*",),
        max_line_bytes=77,
        ignored=("Index", "Unnamed: 0", "column 1"),
    )


def test_a_date_column_is_a_field_of_the_layout() -> None:
    stage = of(readings__delimiter=";", readings__encodings=["cp949"], readings__ignore=["a", "b"])
    assert readings.layout(stage, Settings()) == Layout(
        ";",
        ("cp949",),
        {"lot": ("Lot",), "time": ("Time",), "date": ("Date",), "ph": ("pH",)},
        ignored=("a", "b"),
        has_numbers=True,
    )


def test_the_least_stage_and_its_defaults(write: Write) -> None:
    stage = load_stage(file=write())
    assert stage == of()
    assert (stage.name, stage.time_zone, stage.lot_pattern) == ("least", "Asia/Seoul", "[0-9]+")
    assert stage.photos is None


@pytest.mark.parametrize(
    "name", ["", "no", "Chromate", "../stages/chromate", "chromate.toml", None]
)
def test_an_unknown_stage_lists_those_that_exist(name: str | None) -> None:
    what = f"no stage {name!r} in {CONF / 'stages'}" if name else "--stage is missing"
    assert refusal(name) == f"{what}; known: chromate; or name a file with --stage-file"


def test_stages_are_those_of_the_configured_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Write
) -> None:
    monkeypatch.setenv("PLATELAKE_CONF", str(tmp_path))
    where = f"in {tmp_path / 'stages'}; known:"
    assert refusal("x") == f"no stage 'x' {where} none; or name a file with --stage-file"
    (tmp_path / "stages").mkdir()
    for name in ("nickel", "anodising"):
        shutil.move(write(), tmp_path / "stages" / f"{name}.toml")
    found = refusal("x")
    assert found == f"no stage 'x' {where} anodising, nickel; or name a file with --stage-file"
    assert load_stage("nickel").name == "nickel"


def test_a_stage_file_may_lie_anywhere_and_name_itself(write: Write) -> None:
    assert load_stage(file=write("my_stage.toml")).name == "my_stage"
    assert load_stage("other", write("my_stage.toml")).name == "other"
    assert load_stage("other", write("My Stage.toml", name="own")).name == "own"


def test_a_byte_order_mark_is_no_fault(write: Write) -> None:
    file = write(title="도금")
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert load_stage(file=file).title == "도금"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param(None, "stage file {} cannot be read: No such file or directory", id="gone"),
        pytest.param(
            b"title = ", "stage file {} is not TOML: Invalid value (at end of document)", id="TOML"
        ),
        pytest.param(
            'title = "도금"'.encode("cp949"),
            "stage file {} is not TOML: 'utf-8' codec can't decode byte 0xb5 in position 9: "
            "invalid start byte",
            id="cp949",
        ),
        pytest.param(
            b"",
            "stage file {}: title: Field required",
            id="empty",
        ),
        pytest.param(
            b'title = "Photos later"',
            "stage file {}: give at least one of readings, error_lists and photos",
            id="no section",
        ),
    ],
)
def test_a_file_that_is_no_stage(tmp_path: Path, content: bytes | None, expected: str) -> None:
    file = tmp_path / "least.toml"
    if content is not None:
        file.write_bytes(content)
    assert refusal(file=file) == expected.format(file)


def test_a_folder_is_no_stage(tmp_path: Path) -> None:
    assert refusal(file=tmp_path) == f"stage file {tmp_path} cannot be read: Is a directory"


PH = LEAST["readings"]["variables"][0]
NAME_PATTERN = "String should match pattern '^[a-z][a-z0-9_]*$'"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        pytest.param({"titel": "x"}, "titel: is not a known key", id="unknown key"),
        pytest.param(
            {"readings__date__pattern": "x", "photos__labels": {"good": "*"}, "photos__size": 9},
            "readings.date.pattern: is not a known key; photos.size: is not a known key",
            id="unknown keys below",
        ),
        pytest.param(
            {"readings__variables__0__range": [0, 1]},
            "readings.variables.0.range: is not a known key",
            id="unknown key of a variable",
        ),
        pytest.param({"name": "My Stage"}, f"name: {NAME_PATTERN}", id="name"),
        pytest.param(
            {"time_zone": "Seoul"},
            "time_zone: Seoul is not in the time zone database",
            id="time zone",
        ),
        pytest.param(
            {"lot_pattern": "[0-9"},
            "lot_pattern: '[0-9' is not a regular expression: "
            "unterminated character set at position 0",
            id="lot pattern",
        ),
        pytest.param(
            {"readings__clock": "13h"}, "readings.clock: Input should be '12h' or '24h'", id="clock"
        ),
        pytest.param(
            {"readings__files": []},
            "readings.files: Value should have at least 1 item after validation, not 0",
            id="no files",
        ),
        pytest.param(
            {"readings__lot": ["Lot", ""]},
            "readings.lot.1: String should have at least 1 character",
            id="an empty name",
        ),
        pytest.param(
            {"error_lists__ignore": ""},
            "error_lists.ignore.0: String should have at least 1 character",
            id="an empty name to ignore",
        ),
        *(
            pytest.param(
                {"readings__delimiter": delimiter},
                "readings.delimiter: String should match pattern '^[^\"\\r\\n\\x00]$'",
                id=f"delimiter {delimiter!r}",
            )
            for delimiter in ("", ";;", '"', "\n", "\r", "\0")
        ),
        pytest.param(
            {"readings__encodings": ["utf-8", "utf-99"]},
            "readings.encodings.1: 'utf-99' is not an encoding that Python knows",
            id="no such encoding",
        ),
        pytest.param(
            {"readings__encodings": ["rot13"]},
            "readings.encodings.0: 'rot13' is not an encoding that Python knows",
            id="no encoding of text",
        ),
        *(
            pytest.param(
                {"error_lists__encodings": [encoding]},
                f"error_lists.encodings.0: files in '{encoding}' cannot be read: "
                "it changes the bytes of ASCII",
                id=encoding,
            )
            for encoding in ("utf-8-sig", "iso2022-kr", "utf-7", "cp037")
        ),
        pytest.param(
            {"readings__date": {}},
            "readings.date: give either file_name or column",
            id="no date",
        ),
        pytest.param(
            {"readings__date__file_name": "(x)"},
            "readings.date: give either file_name or column",
            id="two dates",
        ),
        pytest.param(
            {"readings__date": {"file_name": "x"}},
            "readings.date: file_name needs exactly one group ( ) around the value",
            id="file name without a group",
        ),
        pytest.param(
            {"readings__date": {"file_name": "(x)(y)"}},
            "readings.date: file_name needs exactly one group ( ) around the value",
            id="file name with two groups",
        ),
        pytest.param(
            {"readings__date": {"file_name": "(x"}},
            "readings.date.file_name: '(x' is not a regular expression: "
            "missing ), unterminated subpattern at position 0",
            id="file name",
        ),
        pytest.param(
            {"error_lists__date_format": "%Y-%U"},
            "error_lists.date_format: %U in '%Y-%U' is not a part of a date; known: %Y, %y, %m, "
            "%d, %b, %B, %j, %a, %A",
            id="date format",
        ),
        pytest.param(
            {"readings__date__format": "%m-%d"},
            "readings.date.format: '%m-%d' must have a year, a month and a day, each once",
            id="date without a year",
        ),
        pytest.param(
            {"readings__variables": []},
            "readings.variables: List should have at least 1 item after validation, not 0",
            id="no variables",
        ),
        pytest.param(
            {"readings__variables__0__minimum": 14},
            "readings.variables.0: ph: minimum must be below maximum",
            id="range",
        ),
        pytest.param(
            {"readings__variables__0__lsl": 3, "readings__variables__0__target": 2},
            "readings.variables.0: ph: lsl must be below target, and target below usl",
            id="specification limits",
        ),
        pytest.param(
            {"readings__variables__0__name": "pH"},
            f"readings.variables.0.name: {NAME_PATTERN}",
            id="variable's name",
        ),
        pytest.param(
            {"readings__variables": [PH, {**PH, "column": "pH2"}]},
            "readings: variables: a name is used twice in ph, ph",
            id="variables' names twice",
        ),
        pytest.param(
            {"readings__variables__0__name": "line"},
            "readings: variables: line is a name that the tables use",
            id="a name of the tables",
        ),
        pytest.param(
            {"readings__variables": [PH, {**PH, "name": "ph_z", "column": "z"}]},
            "readings: variables: ph_z is a name that the tables use",
            id="a name of the features",
        ),
        pytest.param(
            {"readings__variables__0__column": ["pH", "Time", "Lot"]},
            "readings: column Lot, Time has two meanings",
            id="column of two meanings",
        ),
        pytest.param(
            {"readings__variables__0__column": "Date"},
            "readings: column Date has two meanings",
            id="date column of two meanings",
        ),
        pytest.param(
            {"photos__labels": {}},
            "photos.labels: Dictionary should have at least 1 item after validation, not 0",
            id="no labels",
        ),
        pytest.param(
            {"photos__labels": {"good": "*", "unlabelled": "x"}},
            "photos: labels: unlabelled is a key next to labels, not a label",
            id="unlabelled as label",
        ),
        pytest.param(
            {"photos__labels": {"good": "*"}, "photos__defects": ["stain", {"name": "stain"}]},
            "photos: defects: stain is there twice",
            id="a kind of defect twice",
        ),
        pytest.param(
            {"photos__labels": {"good": "*"}, "photos__width": 0, "photos__height": 4097},
            "photos.width: Input should be greater than 0; "
            "photos.height: Input should be less than or equal to 4096",
            id="size",
        ),
    ],
)
def test_every_fault_is_said_with_file_and_key(
    write: Write, changes: dict[str, Any], expected: str
) -> None:
    file = write(**changes)
    assert refusal(file=file) == f"stage file {file}: {expected}"


def test_kinds_of_defect_have_a_word_in_each_language() -> None:
    kinds = ["scratch", {"name": "stain", "en": "Stain", "ko": "얼룩"}]
    stage = of(photos__labels={"good": "*"}, photos__defects=kinds)
    assert [one.name for one in stage.defects] == ["scratch", "stain"]
    assert [one.word("ko") for one in stage.defects] == ["scratch", "얼룩"]
    assert [one.word("en") for one in stage.defects] == ["scratch", "Stain"]
    assert of().defects == []


@pytest.mark.parametrize(
    ("starts", "moment", "expected"),
    [
        ("00:00", datetime(2026, 11, 30, 14, 59, tzinfo=UTC), date(2026, 11, 30)),
        ("00:00", datetime(2026, 11, 30, 15, 0, tzinfo=UTC), date(2026, 12, 1)),
        ("06:30", datetime(2026, 11, 30, 21, 29, tzinfo=UTC), date(2026, 11, 30)),
        ("06:30", datetime(2026, 11, 30, 21, 30, tzinfo=UTC), date(2026, 12, 1)),
    ],
)
def test_a_night_shift_is_of_the_day_on_which_it_began(
    starts: str, moment: datetime, expected: date
) -> None:
    assert of(day_starts=starts).production_day(moment) == expected


def test_one_column_may_have_two_names_and_a_variable_no_upper_end() -> None:
    stage = of(
        readings__variables__0__column=["pH", "PH", "pH"],
        readings__variables__0__maximum=float("inf"),
    )
    assert stage.readings.variables[0].column == ["pH", "PH", "pH"]


@pytest.mark.parametrize(
    ("form", "sound", "strange"),
    [
        ("%Y-%m-%d", "2021-9-06", "21-9-6"),
        ("%Y.%m.%d", "2021.9.6", "2021-9-6"),
        ("%d/%m/%y", "6/09/21", "6/9/2021"),
        ("%Y%m%d", "20210906", "2021906"),
        ("%y%m-%d", "2109-6", "219-6"),
        ("%Y-%m%d", "2021-0906", "2021-96"),
        ("%m%Y %d", "092021 6", "92021 6"),
        ("%Y년 %m월 %d일", "2021년 9월 6일", "2021년 9월 6"),
        ("on %d of %m, %Y", "On 6 of 9, 2021", "on 6 of 9 2021"),
        ("d'%d M%m %Y", "d'6 M9 2021", "d6 M9 2021"),
        ("[%Y]{%m}#%d", "[2021]{9}#6", "2021{9}#6"),
        ("%d-%b-%y", "6-sEp-21", "6-Sept-21"),
        ("%a %d. %B %Y", "Mon 6. September 2021", "Mon 6. Sep 2021"),
        ("%Y%j", "2021249", "202149"),
        ("%Y년 %m월 %d일", "2021년 9월 6일", "2021년9월6일"),
    ],
)
def test_date_pattern(form: str, sound: str, strange: str) -> None:
    texts = pa.array([sound, strange, f"{sound}0", None])
    assert as_dates(texts, form).to_pylist() == [date(2021, 9, 6), None, None, None]
    assert of(error_lists__date_format=form).error_lists.date_format == form


@pytest.mark.parametrize("form", ["%H", "%Y-%m-%d %H", "%%", "%Y-%m-%d%", "%-d"])
def test_a_form_with_what_is_not_of_a_date(form: str) -> None:
    with pytest.raises(ValueError, match=r"is not a part of a date; known: %Y, %y, %m, %d, "):
        date_pattern(form)


@pytest.mark.parametrize(
    "form", ["", "x", "%Y", "%Y-%m", "%m-%d", "%Y-%m-%d %d", "%Y %y-%m-%d", "%Y-%j %m"]
)
def test_a_date_has_year_month_and_day_once(form: str) -> None:
    with pytest.raises(ValueError, match="must have a year, a month and a day, each once"):
        of(error_lists__date_format=form)


NAMED = r"(\d{4}\.\d{1,2}\.\d{1,2})?\.csv$"


@pytest.mark.parametrize(
    ("pattern", "form", "file", "expected"),
    [
        pytest.param(NAMED, "%Y.%m.%d", "x/kemp-2021.09.06.csv", date(2021, 9, 6), id="as usual"),
        pytest.param(NAMED, "%Y.%m.%d", "2021.9.6.csv", date(2021, 9, 6), id="one digit"),
        pytest.param(NAMED, "%Y.%m.%d", "도금 2021.12.31.csv", date(2021, 12, 31), id="Korean"),
        pytest.param(NAMED, "%Y.%m.%d", "2021.02.30.csv", None, id="no such day"),
        pytest.param(NAMED, "%Y.%m.%d", "2021.09.06.txt", None, id="another ending"),
        pytest.param(NAMED, "%Y.%m.%d", "copy.csv", None, id="group takes no part"),
        pytest.param(NAMED, "%Y-%m-%d", "2021.09.06.csv", None, id="another form"),
        pytest.param("^(.{6})", "%y%m%d", "210906-1.csv", date(2021, 9, 6), id="short year"),
        pytest.param("/(.+)/", "%Y/%m/%d", "in/2021/9/6/a.csv", date(2021, 9, 6), id="folders"),
    ],
)
def test_date_in_a_files_name(pattern: str, form: str, file: str, expected: date | None) -> None:
    stage = of(readings__date={"file_name": pattern, "format": form})
    assert readings.file_date(stage, file) == expected
    report = FileReport()
    readings.check_file(stage, file, report)
    reason = f"the file name has no date as {pattern} and {form} want it"
    assert (report.rule, report.reason) == ((None, None) if expected else ("no_date", reason))


def test_a_file_needs_no_date_where_its_rows_have_one() -> None:
    report = FileReport()
    readings.check_file(of(), "2021.09.06.csv", report)
    assert readings.file_date(of(), "2021.09.06.csv") is None
    assert report == FileReport()
