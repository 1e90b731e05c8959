"""What the app says is there in every language, with the same values in it."""

import re
from pathlib import Path
from string import Formatter

import pytest

from jobs.cli.jobs import JOBS
from lakehouse.files import (
    columns,
    delimited,
    depth,
    opened,
    photos,
    pixels,
    reading_rules,
    readings,
    rules,
    sheets,
    together,
)
from serving.html import HERE
from serving.texts import LANGUAGES, chosen, texts


def values(sentence: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(sentence) if name}


def test_every_language_says_the_same() -> None:
    english = texts("en").sentences
    for language in LANGUAGES:
        own = texts(language).sentences
        assert list(own) == list(english)
        for key, sentence in own.items():
            assert values(sentence) == values(english[key]), key
            assert sentence.strip(), key


def test_every_text_of_a_template_is_there() -> None:
    text = "".join(file.read_text() for file in (HERE / "templates").iterdir())
    keys = set(re.findall(r'\bt\("([\w.]+)"(?! ~)', text))
    assert len(keys) > 80 and keys <= set(texts("en").sentences)


def test_every_rule_of_a_photo_has_a_text() -> None:
    code = "".join(Path(module.__file__).read_text() for module in (photos, pixels, depth))
    rules = set(re.findall(r'PhotoError\(\s*"(\w+)"', code))
    assert rules >= {"broken_image", "mosaic", "nearly_black"}
    assert {f"fault.{rule}" for rule in rules} <= set(texts("en").sentences)


TEXT_FILES = (columns, delimited, opened, reading_rules, readings, rules, sheets, together)


def test_every_rule_of_a_sensor_file_has_a_text() -> None:
    code = "".join(Path(module.__file__).read_text() for module in TEXT_FILES)
    named = set(re.findall(r'(?:fault|Rule|FormatError)\(\s*"(\w+)"', code))
    named |= set(re.findall(r'_with_rule\(rows, "(\w+)"', code)) - {"superseded"}
    named |= set(rules.LINE_RULES)
    assert {"no_date", "torn_row", "header_only", "physical_range", "duplicate_key"} <= named
    assert {f"rule.{rule}" for rule in named} <= set(texts("en").sentences)


def test_every_job_of_a_run_has_words() -> None:
    assert {f"job.{name}" for name in JOBS} <= set(texts("en").sentences)


@pytest.mark.parametrize(
    ("cookie", "accepted", "expected"),
    [
        (None, "", "en"),
        (None, "ko", "ko"),
        (None, "fr,ko;q=0.5,en;q=0.4", "ko"),
        (None, "ko;q=0,en", "en"),
        (None, "ko;q=x", "en"),
        ("ko", "en", "ko"),
        ("xx", "ko", "ko"),
    ],
)
def test_language(cookie: str | None, accepted: str, expected: str) -> None:
    assert chosen(cookie, accepted) == expected
