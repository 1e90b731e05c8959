"""No lock file holds a release with a published hole. Needs no network."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
ADVISORIES = PYPROJECT["tool"]["platelake"]["advisories"]
LOCKS = sorted(ROOT.glob("requirements*.lock"))
PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", re.MULTILINE)


def pins(lock: str) -> list[tuple[str, Version]]:
    """Every release in the lock; a package may have several, for systems of several kinds."""
    return [(canonicalize_name(name), Version(version)) for name, version in PIN.findall(lock)]


def holes(lock: str) -> list[str]:
    """What of the lock has a published hole, which, and the release without it."""
    return [
        f"{name} {version}: {ADVISORIES[name]['holes']}; take {ADVISORIES[name]['fixed']} or newer"
        for name, version in pins(lock)
        if name in ADVISORIES and version < Version(ADVISORIES[name]["fixed"])
    ]


def requirements() -> Iterator[Requirement]:
    """What pyproject asks for, in every part of it."""
    for given in (
        PYPROJECT["project"]["dependencies"],
        *PYPROJECT["project"]["optional-dependencies"].values(),
        *PYPROJECT["dependency-groups"].values(),
        PYPROJECT["tool"]["uv"]["override-dependencies"],
    ):
        yield from map(Requirement, given)


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_no_locked_release_has_a_published_hole(lock: Path) -> None:
    text = lock.read_text("utf-8")
    assert len(pins(text)) == len(re.findall(r"^\S+==", text, re.MULTILINE)) > 0
    assert holes(text) == []


def test_a_hole_is_named() -> None:
    assert holes("Onnx==1.20.1 ; python_version < '3.14' \\\n    --hash=sha256:0\n") == [
        "onnx 1.20.1: CVE-2026-27489, CVE-2026-34445, CVE-2026-28500; take 1.21 or newer"
    ]
    assert len(holes("mlflow==3.17.1\nmlflow==3.17.2\npillow[x]==12.9\ngradio==6.15.9\n")) == 3


def test_the_bounds_let_no_such_release_in() -> None:
    bounds = {name: [] for name in ADVISORIES}
    for wanted in requirements():
        if wanted.name in bounds:
            bounds[wanted.name] += [Version(s.version) for s in wanted.specifier]
    for name, found in bounds.items():
        assert found, f"{name} has no bound in pyproject.toml"
        assert min(found) >= Version(ADVISORIES[name]["fixed"]), f"{name}: {found}"


def test_each_package_of_the_table_is_locked() -> None:
    locked = {name for lock in LOCKS for name, _ in pins(lock.read_text("utf-8"))}
    assert ADVISORIES.keys() <= locked
