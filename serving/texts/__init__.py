"""The words of the app, one TOML file for each language."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

LANGUAGES = ("en", "ko")
COOKIE = "platelake_language"


class Texts:
    """All sentences of one language. Values go in unescaped; the pages escape them."""

    def __init__(self, language: str) -> None:
        self.language = language
        file = Path(__file__).parent / f"{language}.toml"
        self.sentences = dict(_flat(tomllib.loads(file.read_text("utf-8"))))

    def __call__(self, key: str, **values: object) -> str:
        """Return the sentence of this key, with the values in it."""
        return self.sentences[key].format(**values)


def _flat(found: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, str]]:
    for key, value in found.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


@functools.cache
def texts(language: str) -> Texts:
    """Return the sentences of a language.

    >>> texts("en")("history.found", count=3)
    '3 found'
    """
    return Texts(language)


def chosen(cookie: str | None, accepted: str) -> str:
    """Return the language of the cookie, else the first known one that the browser accepts.

    Args:
        cookie: Value of the language cookie.
        accepted: The header Accept-Language.

    >>> chosen(None, "fr,ko;q=0.5,en;q=0.4")
    'ko'
    """
    if cookie in LANGUAGES:
        return cookie
    wanted = []
    for at, part in enumerate(accepted.split(",")):
        name, _, quality = part.partition(";q=")
        try:
            weight = float(quality or 1)
        except ValueError:
            weight = 0.0
        wanted.append((-weight, at, name.strip().lower()[:2]))
    known = [name for weight, _, name in sorted(wanted) if name in LANGUAGES and weight < 0]
    return known[0] if known else LANGUAGES[0]
