"""Names of the code in words, in every language."""

import pytest

from lakehouse.stage import load_stage
from ml.data.lots import feature_names
from ml.use.reasons import REASONS
from serving.html import share
from serving.texts import LANGUAGES, texts
from serving.words import feature_words, reason_words, rule_words, variable_words, word_of


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_feature_has_words(language: str) -> None:
    stage, t = load_stage("chromate"), texts(language)
    names = feature_names([variable.name for variable in stage.variables])
    words = [feature_words(name, stage, t) for name in names]
    assert len(set(words)) == len(names) > 20
    assert not set(words) & set(names)


def test_the_words_of_a_feature() -> None:
    stage, (en, ko) = load_stage("chromate"), map(texts, LANGUAGES)
    assert feature_words("voltage_mean", stage, en) == "Voltage: average [V]"
    assert feature_words("voltage_mean", stage, ko) == "전압 평균 [V]"
    assert feature_words("unheard_of", stage, en) == "unheard_of"
    plain = stage.variables[1].model_copy(update={"name": "bath_level", "names": {}})
    assert variable_words(plain, ko) == "bath level"
    longer = stage.variables[0].model_copy(update={"name": "voltage_mean", "names": {}})
    assert stage.readings
    both = stage.readings.model_copy(update={"variables": [stage.variables[2], longer]})
    odd = stage.model_copy(update={"readings": both})
    assert feature_words("voltage_mean_mean", odd, en) == "voltage mean: average [pH]"


def test_the_words_of_rules_and_actions() -> None:
    en = texts("en")
    assert rule_words("physical_range", en) == "This value is not possible."
    assert rule_words("mosaic", en).startswith("The image is raw sensor data")
    assert rule_words("too_many_pixels", en) == "too_many_pixels"  # Its text needs a number.
    assert rule_words("unheard_of", en) == "unheard_of"
    assert (
        word_of("action", "another user's upload refused", en) == "another user's upload, refused"
    )
    assert word_of("action", "unheard of", en) == "unheard of"


@pytest.mark.parametrize(
    ("p", "shown"),
    [
        (0.0, "0 %"), (1e-9, "< 0.1 %"), (0.0312, "3.1 %"), (0.0999, "10.0 %"), (0.1, "10 %"),
        (0.846, "85 %"), (0.9, "90 %"), (0.985, "98.5 %"), (0.9996, "> 99.9 %"), (1.0, "100 %"),
    ],
)  # fmt: skip
def test_a_probability_as_per_cent(p: float, shown: str) -> None:
    assert share(p) == shown


def test_a_probability_does_not_read_like_the_threshold_that_it_misses() -> None:
    assert (share(0.1996, 0.2003, 0.39), share(0.2003, 0.1996)) == ("19.96 %", "20.03 %")
    assert (share(0.196, 0.2, 0.39), share(0.2, 0.196), share(0.39, 0.196)) == (
        "19.6 %", "20.0 %", "39 %",
    )  # fmt: skip
    assert share(0.0999, 0.1) == "9.99 %" and share(0.2, 0.2, 0.5) == "20 %"


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("key", REASONS)
def test_every_reason_has_words(language: str, key: str) -> None:
    stage, t = load_stage("chromate"), texts(language)
    assert reason_words(key, stage, t) != key
    assert reason_words(f"{key}: 1.8 of 2", stage, t).endswith(" (1.8 of 2)")


def test_the_words_of_a_reason_name_sensor_and_feature() -> None:
    stage, (en, ko) = load_stage("chromate"), map(texts, LANGUAGES)
    assert reason_words("stuck: ph, voltage", stage, en) == "A sensor stood still. (pH, Voltage)"
    assert reason_words("stuck: voltage", stage, ko) == "센서 값이 변하지 않았습니다. (전압)"
    said = reason_words("unlike: voltage_mean 9 > 4.2", stage, en)
    assert said.endswith("(Voltage: average [V] 9 > 4.2)")
    assert reason_words("empty_file: no bytes", stage, en) == "empty_file: no bytes"
