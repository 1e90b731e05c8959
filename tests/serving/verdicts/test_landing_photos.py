"""Photos that people upload: each format that is read has an ending in the landing zone."""

from lakehouse.files.photos import FORMATS
from serving.verdicts.landing_photos import SUFFIXES


def test_each_format_has_an_ending() -> None:
    assert set(SUFFIXES) == {*FORMATS, "MPO"}
