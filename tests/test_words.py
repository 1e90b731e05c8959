"""Plain English: words that the project's prose does not use, and what to say instead.

Docstrings, comments, pages and the texts of the app are read; names in backticks are not.
"""

import ast
import io
import re
import subprocess
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
INSTEAD = {
    r"anew": "again, newly",
    r"beside": "next to, compared with, besides",
    r"whence": "from where",
    r"nobody's": "of no user",
    r"judg(?:e|es|ed|ing)": "predict, evaluate, verdict, inspect",
    r"held back|holds? back": "quarantined",
    r"adds? up": "reconciles",
    r"torn": "malformed",
    r"settled": "stable, unchanged",
    r"save for|, save": "except",
}
WORDS = {re.compile(rf"\b(?:{word})\b", re.IGNORECASE): use for word, use in INSTEAD.items()}
OPENAPI = ROOT / "serving" / "api.py"
"""Its docstrings are published as the OpenAPI document, which does not change."""
FOLDERS = ("lakehouse", "ml", "serving", "jobs")


def tracked(*patterns: str) -> list[Path]:
    asked = ["git", "ls-files", *patterns]
    done = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=True)
    return [ROOT / name for name in done.stdout.splitlines()]


def prose_of_code(source: str) -> Iterator[tuple[int, str]]:
    """Line and text of each comment and docstring, those below a constant included."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(ast.parse(source)):
        if (
            isinstance(node, ast.Expr)
            and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str)
        ):
            yield from enumerate(node.value.value.splitlines(), node.lineno)


def prose(file: Path) -> Iterator[tuple[int, str]]:
    text = file.read_text("utf-8")
    if file.suffix == ".py":
        yield from prose_of_code(text)
        return
    in_block = False
    for number, line in enumerate(text.splitlines(), 1):
        in_block ^= line.startswith("```")
        if not in_block and not line.startswith("#:"):
            yield number, line.partition("=")[2] if file.suffix == ".toml" else line


def faults(file: Path) -> list[str]:
    found = []
    for number, line in prose(file):
        plain = re.sub(r"`[^`]*`|\]\([^)]*\)|\b\w+_\w+\b", "", line)
        for word, use in WORDS.items():
            if said := word.search(plain):
                where = f"{file.relative_to(ROOT)}:{number}"
                found.append(f"{where}: {said[0]!r}; say {use}: {line.strip()[:80]}")
    return found


FILES = [
    *(file for file in tracked(*(f"{folder}/**.py" for folder in FOLDERS)) if file != OPENAPI),
    *tracked("README.md", "CONTRIBUTING.md", "docs/**.md", "dags/*.md", "ml/**.md"),
    *tracked("serving/texts/en.toml"),
]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_prose_uses_common_words(file: Path) -> None:
    assert not faults(file), "\n".join(faults(file))


def test_a_word_that_is_not_used_is_found(tmp_path: Path) -> None:
    assert [word for _, word in prose_of_code('"""One."""\nx = 1  # two\n"""Three."""\n')] == [
        "# two",
        "One.",
        "Three.",
    ]
    assert any(word.search("The file is read anew.") for word in WORDS)
