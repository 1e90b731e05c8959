"""The documentation says what the code does: commands, settings, tables, rules, links."""

import ast
import re
import shlex
import tomllib
from collections.abc import Iterator
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from typer.main import get_command

from jobs.cli.jobs import JOBS
from jobs.cli.main import app
from lakehouse.files import error_lists, readings
from lakehouse.files.delimited import inspect
from lakehouse.files.rules import LINE_RULES
from lakehouse.settings import ENV_PREFIX, Settings
from lakehouse.stage import Stage, load_stage
from lakehouse.stage_sections import UNLABELLED, DateSource, ErrorLists, Photos, Readings, Variable
from lakehouse.tables import all_tables
from scripts.document_tables import PAGE, page

ROOT = Path(__file__).parent.parent
NAMES = (
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "ROADMAP.md",
    "SECURITY.md",
    "dags/README.md",
    "ml/photos/README.md",
    "ml/trees/README.md",
)
PAGES = [*(ROOT / name for name in NAMES), *sorted((ROOT / "docs").rglob("*.md"))]
EXAMPLE = ROOT / "docs" / "examples" / "electroplating.toml"
REFERENCE = ROOT / "docs" / "reference"
COMMANDS = (REFERENCE / "commands.md").read_text("utf-8")
SETTINGS = (REFERENCE / "settings.md").read_text("utf-8")
STAGES = (REFERENCE / "stage-format.md").read_text("utf-8")
OPERATOR = (ROOT / "docs" / "tutorials" / "operator.md").read_text("utf-8")
TEXT = "\n".join(page.read_text("utf-8") for page in PAGES)
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
MACHINE_PATHS = re.compile(r"(?<![\w./-])/(?:work|root|tmp|home|mnt|Users)(?:/|\b)")

Words = list[str]


def blocks(*languages: str) -> list[str]:
    return [body for language, body in BLOCK.findall(TEXT) if language in languages]


def shell_lines() -> list[Words]:
    """The commands of all shell blocks, in words, without comments."""
    lines = "".join(blocks("sh")).replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def inline_words() -> list[Words]:
    found = INLINE.findall(BLOCK.sub("", TEXT))
    return [
        shlex.split(text) for text in found if re.match(r"(\.venv/bin/)?(platelake|make) ", text)
    ]


def platelake_lines(lines: list[Words]) -> list[tuple[str, ...]]:
    return sorted({tuple(words[1:]) for words in lines if Path(words[0]).name == "platelake"})


def commands(command: Any = None, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every command that can be run: its words after `platelake`, and what typer knows of it."""
    command = command or get_command(app)
    if not hasattr(command, "commands"):
        yield " ".join(path), command
        return
    for name, below in command.commands.items():
        yield from commands(below, (*path, name))


def named(words: Words) -> tuple[Any, str, Words]:
    """The command that these words call, its name and the words behind it."""
    command, path = get_command(app), ["platelake"]
    words = list(words)
    while hasattr(command, "commands"):
        assert words and words[0] in command.commands, f"no command {' '.join([*path, *words[:1]])}"
        path.append(words.pop(0))
        command = command.commands[path[-1]]
    return command, " ".join(path), words


def fields(model: type[BaseModel]) -> set[str]:
    return set(model.model_fields)


@pytest.mark.parametrize("name", [name for name, _ in commands()])
def test_a_command_and_its_options_are_documented(name: str) -> None:
    assert f"`platelake {name}`" in COMMANDS
    options = {o for p in dict(commands())[name].params for o in (*p.opts, *p.secondary_opts)}
    missing = {o for o in options if o.startswith("--") and not re.search(rf"{o}(?![\w-])", TEXT)}
    assert missing - {"--serve", "--no-whole"} == set()


@pytest.mark.parametrize("words", platelake_lines(shell_lines()), ids=" ".join)
def test_a_command_line_in_a_block_is_one_that_runs(words: tuple[str, ...]) -> None:
    command, name, rest = named(list(words))
    command.make_context(name, rest)


@pytest.mark.parametrize("words", platelake_lines(inline_words()), ids=" ".join)
def test_a_command_in_a_sentence_exists(words: tuple[str, ...]) -> None:
    command, _, rest = named(list(words))
    known = {option for param in command.params for option in (*param.opts, *param.secondary_opts)}
    assert {word for word in rest if word.startswith("--")} <= known


def test_jobs_are_submitted_as_documented() -> None:
    submitted = [words for words in shell_lines() if words[0] == ".venv/bin/spark-submit"]
    names = []
    for _, script, *rest in submitted:
        assert (ROOT / script).is_file()
        names.append(Path(script).stem)
        command, name, _ = named([names[-1].replace("_", "-")])
        command.make_context(name, rest)
        assert "def main(argv: list[str]) -> int:" in (ROOT / script).read_text("utf-8")
    assert names == [*JOBS]


def test_make_targets_are_documented_and_exist() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE)) - {"help"}
    lines = [words for words in [*shell_lines(), *inline_words()] if words[0] == "make"]
    assert {words[1] for words in lines} == targets
    variables = {word.partition("=")[0] for words in lines for word in words[2:]}
    assert {name for name in variables if f"$({name})" not in makefile} == set()


def test_every_setting_is_documented_with_its_default() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(PLATELAKE_\w+)` \| (\S+) \|", SETTINGS, re.MULTILINE)
    documented = {key: (variable, default.strip("`")) for key, variable, default in rows}
    conf = tomllib.loads((ROOT / "conf" / "lakehouse.toml").read_text("utf-8"))
    assert documented == {
        name: (f"{ENV_PREFIX}{name}".upper(), str(conf[name]) or "empty")
        for name in Settings.model_fields
    }
    assert conf == {name: field.default for name, field in Settings.model_fields.items()}


def test_the_page_of_tables_is_not_stale() -> None:
    stage = load_stage("chromate")
    text = PAGE.read_text("utf-8")
    assert text == page(stage), "run .venv/bin/python scripts/document_tables.py"
    assert set(re.findall(r"^## (\w+)$", text, re.MULTILINE)) == {t.name for t in all_tables(stage)}


def test_the_stage_format_shows_the_example_as_it_is() -> None:
    (shown,) = [body for language, body in BLOCK.findall(STAGES) if language == "toml"]
    assert shown == EXAMPLE.read_text("utf-8")


def test_the_example_stage_shows_every_key() -> None:
    models = (Stage, Readings, DateSource, Variable, ErrorLists, Photos)
    keys = set().union(*map(fields, models))
    assert {key for key in keys if not re.search(rf"\b{key}\b( =|\])", STAGES)} == set()


FORMS = re.findall(r"^\| `(\w+)`[^|]*\|[^|]+\| `([^`]+)` \|$", STAGES, re.MULTILINE)


@pytest.mark.parametrize(("key", "line"), FORMS, ids=[key for key, _ in FORMS])
def test_the_examples_of_a_stages_keys_are_ones_that_load(key: str, line: str) -> None:
    """Each line in the section that has the key; `timestamp` stands instead of time and date.

    So does the lot among the variables of `long` instead of the column `lot`.
    """
    stage = tomllib.loads(EXAMPLE.read_text("utf-8")) | {"name": "electroplating"}
    said = tomllib.loads(line)
    for section, model in (("readings", Readings), ("error_lists", ErrorLists), ("photos", Photos)):
        if said.keys() <= fields(model):
            stage[section] |= said
    if said.keys() <= fields(Stage):
        stage |= said
    if key == "timestamp":
        stage["readings"] = {
            k: v for k, v in stage["readings"].items() if k not in ("time", "date")
        }
    if "lot" in said.get("long", {}):
        del stage["readings"]["lot"]
    assert key in line
    Stage.model_validate(stage)


def test_the_example_stage_reads_the_files_that_its_page_shows() -> None:
    stage, settings = load_stage(file=EXAMPLE), Settings()
    (shown,) = [body for language, body in BLOCK.findall(STAGES) if language == "text"]
    lines = [re.split(r"\s{2,}", line) for line in shown.splitlines()]
    sensor, lists = ("\n".join(column).encode() for column in zip(*lines, strict=True))
    found = inspect(BytesIO(sensor), readings.layout(stage, settings))
    assert (found.rule, found.rows) == (None, 1)
    assert found.header == ["Process", "Time", "Date", "Current", "Voltage", "Index"]
    found = inspect(BytesIO(lists), error_lists.layout(stage, settings))
    assert (found.rule, found.note, found.grouped) == (None, None, 2)
    assert stage.photos is not None and UNLABELLED not in stage.photos.labels


def test_every_exit_code_is_documented() -> None:
    text = (REFERENCE / "exit-codes.md").read_text("utf-8")
    documented = re.findall(r"^\| (\d) \| ", text, re.MULTILINE)
    assert [int(code) for code in documented] == [0, 1, 2, 3]


def words_of(texts: Any) -> Iterator[str]:
    if isinstance(texts, str):
        yield texts
        return
    for below in texts.values():
        yield from words_of(below)


def test_the_operators_tutorial_names_what_the_app_shows() -> None:
    shown = set(words_of(tomllib.loads((ROOT / "serving/texts/en.toml").read_text("utf-8"))))
    named = set(re.findall(r"\*\*([^*]+)\*\*", OPERATOR)) - {"bold", "correction"}
    assert named and named - shown == set()


def rules_in_code() -> set[str]:
    """What stands first in `fault(…)`, `Rule(…)`, `PhotoError(…)`, `FormatError(…)`,
    and wherever `rule` is said."""
    found: set[object] = set()
    for file in (ROOT / "lakehouse").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                firsts = (
                    node.args[:1] if name in ("fault", "Rule", "PhotoError", "FormatError") else []
                )
                said = [keyword.value for keyword in node.keywords if keyword.arg == "rule"]
                found |= {c.value for c in [*firsts, *said] if isinstance(c, ast.Constant)}
            if isinstance(node, ast.Dict):
                pairs = zip(node.keys, node.values, strict=True)
                of_rule = (v for k, v in pairs if isinstance(k, ast.Constant) and k.value == "rule")
                found |= {v.value for v in of_rule if isinstance(v, ast.Constant)}
    named = {"label_conflict", "duplicate_key", "superseded", "mixed_lot", *LINE_RULES}
    return {rule for rule in found if isinstance(rule, str)} | named


def test_every_rule_is_documented_and_none_that_is_not_there() -> None:
    text = (REFERENCE / "bad-input.md").read_text("utf-8")
    cells = re.findall(r"^\|[^|]+\|([^|]+)\|[^|]+\|$", text, re.MULTILINE)
    assert {rule for cell in cells for rule in INLINE.findall(cell)} == rules_in_code()


SOURCE = r"(?:jobs|lakehouse|ml|serving|dags|conf|scripts|tests|benchmarks)/[\w./*-]*"
OF_TODAY = [page for page in PAGES if page.name not in ("CHANGELOG.md", "ROADMAP.md")]


@pytest.mark.parametrize("file", OF_TODAY, ids=lambda file: str(file.relative_to(ROOT)))
def test_files_of_the_code_that_a_page_names_exist(file: Path) -> None:
    named = {text for text in INLINE.findall(file.read_text("utf-8")) if re.fullmatch(SOURCE, text)}
    assert {name for name in named if not any(ROOT.glob(name.rstrip("/")))} == set()


def test_the_diagram_of_the_architecture_names_modules_that_exist() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    diagram = dict(BLOCK.findall(text))["mermaid"]
    folders = re.findall(r"subgraph (\w+) .*?\n(.*?)\n {4}end", diagram, re.DOTALL)
    named = [
        f"{folder}/{name}"
        for folder, body in folders
        for name in re.findall(r"[\w*/]+\.py|\b\w+/(?=[ :,])", body)
    ]
    assert {folder for folder, _ in folders} == {"lakehouse", "ml", "serving"}
    assert [name for name in named if not any(ROOT.glob(name.rstrip("/")))] == []
    assert "lakehouse/files/" in named and "ml/registry.py" in named


@pytest.mark.parametrize("file", PAGES, ids=lambda file: str(file.relative_to(ROOT)))
def test_links_lead_somewhere(file: Path) -> None:
    text = re.sub(r"`[^`\n]*`", "", BLOCK.sub("", file.read_text("utf-8")))
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if re.match(r"https?://", target):
            continue
        name, _, anchor = target.partition("#")
        linked = (file.parent / name).resolve() if name else file
        assert linked.exists(), f"{file.name}: {target}"
        if anchor:
            heads = re.findall(r"^#+ (.+)$", linked.read_text("utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}
            assert anchor in slugs, f"{file.name}: {target}"


def test_the_licence_is_the_one_that_the_package_names() -> None:
    """The whole text, as the Apache Software Foundation publishes it."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert (project["license"], project["license-files"]) == ("Apache-2.0", ["LICENSE"])
    text = (ROOT / "LICENSE").read_bytes()
    assert sha256(text).hexdigest() == (
        "cfc7749b96f63bd31c3c42b5c471bf756814053e847c10f3eb003417bc523d30"
    )


@pytest.mark.parametrize("file", [*PAGES, EXAMPLE], ids=lambda file: str(file.relative_to(ROOT)))
def test_no_page_names_a_place_of_one_machine(file: Path) -> None:
    assert MACHINE_PATHS.findall(file.read_text("utf-8")) == []


@pytest.mark.parametrize("code", blocks("python"))
def test_python_in_the_pages_is_python(code: str) -> None:
    compile(code, "documentation", "exec")
