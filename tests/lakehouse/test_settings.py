"""Settings: where they come from, and what is refused wherever it stands."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from sqlalchemy.engine import make_url

from lakehouse.errors import SettingError, UsageError
from lakehouse.settings import Settings, conf_directory, load_settings

EXAMPLE = "mysql+pymysql://USER:PASSWORD@HOST/DATABASE"
SECRET = "hunter2-hunter2"
Conf = Callable[[str | bytes], Path]


@pytest.fixture(autouse=True)
def _no_settings_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.upper().startswith("PLATELAKE_"):
            monkeypatch.delenv(name)


@pytest.fixture
def conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Conf:
    """Makes `lakehouse.toml` hold this; its path."""

    def write(content: str | bytes) -> Path:
        monkeypatch.setenv("PLATELAKE_CONF", str(tmp_path))
        file = tmp_path / "lakehouse.toml"
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return file

    return write


def refusal(**options: Any) -> str:
    with pytest.raises(UsageError) as error:
        load_settings(**options)
    assert error.value.exit_code == 2
    assert SECRET not in str(error.value) + repr(error.value.__cause__)
    return str(error.value)


def test_the_projects_file_says_the_defaults() -> None:
    assert conf_directory() == Path(__file__).parent.parent.parent / "conf"
    assert load_settings() == Settings.model_construct()


def test_a_named_file_goes_before_the_folders(
    conf: Conf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conf('lake = "of the folder"\nmax_line_bytes = 10\n')
    named = tmp_path / "cluster.toml"
    monkeypatch.setenv("PLATELAKE_SETTINGS", str(named))
    assert refusal() == f"settings: PLATELAKE_SETTINGS={named} is not a file"
    named.write_text('lake = "hdfs://platelake/lake"\n')
    found = load_settings()
    assert (found.lake, found.max_line_bytes) == ("hdfs://platelake/lake", 10)
    named.write_text(f'sql_url = "mysql+pymysql://u:{SECRET}@h/d"\n')
    assert refusal().startswith(f"{named} holds a password in sql_url")
    named.write_text('laek = "typo"\n')
    assert "laek: is not a known key" in refusal()


def test_the_clusters_file_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLATELAKE_SETTINGS", str(conf_directory() / "cluster.toml"))
    assert load_settings().lake == "hdfs://platelake/lake"


def test_options_go_before_environment_before_file(
    conf: Conf, monkeypatch: pytest.MonkeyPatch
) -> None:
    conf('lake = "of the file"\nmax_line_bytes = 10\nretention_hours = 200\n')
    monkeypatch.setenv("PLATELAKE_LAKE", "of the environment")
    monkeypatch.setenv("platelake_max_line_bytes", "11")
    found = load_settings(lake="of the option", log_level=None)
    assert found == Settings.model_construct(
        lake="of the option", max_line_bytes=11, retention_hours=200
    )


def test_a_working_directory_says_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("PLATELAKE_LAKE=elsewhere\n")
    (tmp_path / "lakehouse.toml").write_text('lake = "elsewhere"\n')
    monkeypatch.chdir(tmp_path)
    assert load_settings() == Settings.model_construct()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param('lakes = "x"', "settings: lakes: is not a known key", id="unknown key"),
        pytest.param(
            '[sql]\nurl = "x"\n[more]',
            "settings: sql: is not a known key; more: is not a known key",
            id="unknown tables",
        ),
        pytest.param(
            'max_line_bytes = "many"',
            "settings: max_line_bytes: Input should be a valid integer, "
            "unable to parse string as an integer",
            id="not a number",
        ),
        pytest.param(
            "max_line_bytes = 0\nmax_photo_bytes = 0\nmax_photo_pixels = 0\n"
            "photos_per_commit = 0\nexcursion_width = 0\nretention_hours = 167",
            "settings: max_line_bytes: Input should be greater than 0; "
            "max_photo_bytes: Input should be greater than 0; "
            "max_photo_pixels: Input should be greater than 0; "
            "photos_per_commit: Input should be greater than 0; "
            "excursion_width: Input should be greater than 0; "
            "retention_hours: Input should be greater than or equal to 168",
            id="all out of range",
        ),
        pytest.param(
            "excursion_width = inf",
            "settings: excursion_width: Input should be a finite number",
            id="infinite",
        ),
        pytest.param(
            'log_level = "loud"',
            "settings: log_level: String should match pattern '^(debug|info|warning|error)$'",
            id="no such level",
        ),
        pytest.param(
            'lake = ""', "settings: lake: String should have at least 1 character", id="no lake"
        ),
        pytest.param(
            'sql_url = "summaries.db"',
            f"settings: sql_url: is not a SQLAlchemy URL such as {EXAMPLE}",
            id="no URL",
        ),
        pytest.param("lake = ", "{} is not TOML: Invalid value (at end of document)", id="no TOML"),
        pytest.param(
            b'lake = "\xb0\xa1"',
            "{} is not TOML: 'utf-8' codec can't decode byte 0xb0 in position 8: "
            "invalid start byte",
            id="cp949",
        ),
    ],
)
def test_what_is_wrong_in_the_file_is_said(conf: Conf, content: str | bytes, expected: str) -> None:
    file = conf(content)
    assert refusal() == expected.format(file)


def test_a_missing_or_unreadable_file_is_said(conf: Conf, tmp_path: Path) -> None:
    file = conf("")
    file.unlink()
    assert refusal() == f"{file} is missing; it holds the default settings"
    file.mkdir()
    assert refusal() == f"{file} cannot be read: Is a directory"
    shutil.rmtree(tmp_path)
    assert refusal() == f"{file} is missing; it holds the default settings"


NAMES = ["CONF", "SETTINGS", *(name.upper() for name in Settings.model_fields)]
KNOWN = ", ".join(sorted(f"PLATELAKE_{name}" for name in NAMES))


@pytest.mark.parametrize(
    "name", ["PLATELAKE_LAKES", "platelake_lakes", "PLATELAKE_", "platelake_conf"]
)
def test_an_unknown_variable_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, SECRET)
    assert refusal() == f"environment: {name} is not a setting; known: {KNOWN}"


def test_all_unknown_variables_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLATELAKE_B", "")
    monkeypatch.setenv("PLATELAKE_A", "")
    assert refusal() == f"environment: PLATELAKE_A, PLATELAKE_B is not a setting; known: {KNOWN}"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("MAX_PHOTO_PIXELS", "-1", "max_photo_pixels: Input should be greater than 0"),
        ("LAKE", "", "lake: String should have at least 1 character"),
        (
            "SQL_URL",
            f"mysql://u:{SECRET}@@h:x/d",
            f"sql_url: is not a SQLAlchemy URL such as {EXAMPLE}",
        ),
        ("SQL_URL", SECRET, f"sql_url: is not a SQLAlchemy URL such as {EXAMPLE}"),
    ],
)
def test_a_bad_value_in_the_environment_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, expected: str
) -> None:
    monkeypatch.setenv(f"PLATELAKE_{name}", value)
    assert refusal() == f"settings: {expected}"


def test_the_smallest_values_are_taken() -> None:
    ones = dict.fromkeys(
        ["max_line_bytes", "max_photo_bytes", "max_photo_pixels", "photos_per_commit"], 1
    )
    found = load_settings(**ones, excursion_width=1e-9, retention_hours=168)
    assert found.model_dump(include={*ones, "retention_hours"}) == {**ones, "retention_hours": 168}


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        load_settings().lake = "elsewhere"


def test_an_unknown_option_is_refused() -> None:
    assert refusal(lakes="x") == "settings: lakes: is not a known key"


@pytest.mark.parametrize(
    "url",
    [
        pytest.param(f"mysql+pymysql://user:{SECRET}@host/db", id="in its place"),
        pytest.param(f"mysql+pymysql://user@host/db?password={SECRET}", id="as password"),
        pytest.param(f"mysql+pymysql://user@host/db?charset=utf8&passwd={SECRET}", id="as passwd"),
        pytest.param(f"mysql+pymysql://user@host/db?ssl_key_password={SECRET}", id="as a key's"),
    ],
)
def test_a_password_in_the_file_is_refused_and_never_printed(conf: Conf, url: str) -> None:
    file = conf(f'sql_url = "{url}"')
    assert refusal() == (
        f"{file} holds a password in sql_url; remove it and set PLATELAKE_SQL_URL instead"
    )


@pytest.mark.parametrize(
    "url",
    [
        pytest.param(f"user:{SECRET}@host/db", id="without a scheme"),
        pytest.param(f"mysql+pymysql://user:p@ss:{SECRET}@host/db", id="with @ and : in it"),
    ],
)
def test_a_password_in_a_broken_url_is_refused_and_never_printed(conf: Conf, url: str) -> None:
    conf(f'sql_url = "{url}"')
    assert refusal() == f"settings: sql_url: is not a SQLAlchemy URL such as {EXAMPLE}"


def test_a_url_without_a_password_may_stand_in_the_file(conf: Conf) -> None:
    conf('sql_url = "mysql+pymysql://user@host/db?charset=utf8mb4"')
    assert load_settings().sql_address() == "mysql+pymysql://user@host/db?charset=utf8mb4"


def test_a_password_in_the_environment_is_taken_and_never_printed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url = f"mysql+pymysql://user:{SECRET}@host/db"
    monkeypatch.setenv("PLATELAKE_SQL_URL", url)
    found = load_settings()
    assert found.sql_address() == url
    assert SECRET not in repr(found) + str(found)


@pytest.mark.parametrize("folder", ["lake", "한 글/100%", "a?b=c#d/@:e", "a%20b"])
def test_the_embedded_database_lies_in_the_lake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for lake in (folder, str(tmp_path / folder)):
        address = make_url(load_settings(lake=lake).sql_address())
        assert address.drivername == "sqlite"
        assert address.database == str(tmp_path / folder / "summaries.db")
        assert not address.query


def test_a_plain_lakes_address_is_plain() -> None:
    assert load_settings(lake="/lake").sql_address() == "sqlite:////lake/summaries.db"


def test_a_lake_elsewhere_needs_a_database() -> None:
    settings = load_settings(lake="hdfs://node:9000/lake")
    with pytest.raises(SettingError) as error:
        settings.sql_address()
    assert error.value.setting == "sql_url"
    assert str(error.value) == (
        "the lake is at hdfs://node:9000/lake, so the summaries need their own database: "
        f"set PLATELAKE_SQL_URL, for example {EXAMPLE}"
    )
