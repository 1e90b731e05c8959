"""The commands of the tutorials run as they stand there, and print what the tutorials show."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.heavy

ROOT = Path(__file__).parent.parent
TUTORIALS = ROOT / "docs" / "tutorials"
BLOCK = re.compile(r"^```(sh|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
BOX = re.compile(r"[\s─-╿]+")  # White space, and the lines that a table is drawn with.
NEXT = "--- next block ---"


def lines(text: str) -> list[str]:
    found = (BOX.sub(" ", line).strip() for line in text.splitlines())
    return [line for line in found if line]


def missing(shown: list[str], printed: list[str]) -> list[str]:
    """The lines shown that are not printed, in this order; `…` stands for any characters."""
    rest, absent = iter(printed), []
    for line in shown:
        wanted = re.compile(".*".join(map(re.escape, line.split("…"))))
        if not any(wanted.fullmatch(one) for one in rest):
            absent, rest = [*absent, line], iter(printed)
    return absent


@pytest.mark.parametrize("name", ["data-engineer", "modeler"])
def test_a_tutorial_runs_and_prints_what_it_shows(name: str, tmp_path: Path) -> None:
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / "conf").symlink_to(ROOT / "conf")
    blocks = BLOCK.findall((TUTORIALS / f"{name}.md").read_text("utf-8"))
    script = "\n".join(f"echo '{NEXT}'\n{body}" for kind, body in blocks if kind == "sh")
    env = {k: v for k, v in os.environ.items() if not k.startswith("PLATELAKE_")}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=tmp_path,
        env=env | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    printed = iter(done.stdout.split(f"{NEXT}\n")[1:])
    now = ""
    for kind, body in blocks:
        if kind == "sh":
            now = next(printed)
        else:
            assert missing(lines(body), lines(now)) == [], now
