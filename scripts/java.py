"""Find a Java that Spark runs on, before anything is downloaded."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

OLDEST = 17
ADVICE = "Install one, for example: apt-get install openjdk-17-jre-headless"
USUAL_FOLDERS = ("/usr/lib/jvm", "/Library/Java/JavaVirtualMachines")


class Java(NamedTuple):
    """A Java that answered."""

    home: Path
    major: int
    build: str
    vectors: bool
    """Whether it has the module jdk.incubator.vector, which Spark starts with."""

    @property
    def fits(self) -> bool:
        """Whether Spark runs on it."""
        return self.major >= OLDEST and self.vectors


def find_java() -> Java:
    """JAVA_HOME's Java; without one the command's, else the first usual one that fits.

    Raises SystemExit with one sentence where none fits.
    """
    if home := os.environ.get("JAVA_HOME"):
        named = ask(Path(home, "bin", "java"))
        if named is None:
            raise SystemExit(
                f"platelake needs Java {OLDEST} or newer; JAVA_HOME={home} has no working "
                f"bin/java. Correct or unset JAVA_HOME. {ADVICE}"
            )
        return named if named.fits else refuse(named, f"JAVA_HOME={home}")
    command = shutil.which("java")
    on_path = ask(Path(command)) if command else None
    if on_path and on_path.fits:
        return on_path
    for java in installed():
        if java.fits:
            return java
    if on_path:
        return refuse(on_path, f"java on PATH, {command}")
    raise SystemExit(
        f"platelake needs Java {OLDEST} or newer; found none "
        f"(java is not on PATH and JAVA_HOME is not set). {ADVICE}"
    )


def ask(java: Path) -> Java | None:
    """What `java` says about itself, or None where it does not run."""
    asking = ["-XshowSettings:properties", "-version"]
    answer = run(java, "--add-modules=jdk.incubator.vector", *asking)
    vectors = answer is not None and answer.returncode == 0
    if not vectors:
        answer = run(java, *asking)
    if answer is None or answer.returncode != 0:
        return None
    version = re.search(r'version "(?:1\.)?(\d+)[^"]*"', answer.stderr + answer.stdout)
    if version is None:
        return None
    home = re.search(r"^ *java\.home = (.+)$", answer.stderr, re.MULTILINE)
    build = re.search(r"^ *java\.vm\.version = (.+)$", answer.stderr, re.MULTILINE)
    return Java(
        home=Path(home[1]) if home else java.resolve().parent.parent,
        major=int(version[1]),
        build=f"{version[0]} {build[1]}" if build else version[0],
        vectors=vectors,
    )


def run(java: Path, *arguments: str) -> subprocess.CompletedProcess[str] | None:
    """The finished command, or None where there is no such command."""
    try:
        return subprocess.run(
            [java, *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
    except OSError:
        return None


def installed() -> Iterator[Java]:
    """The Javas that packages of the system put in the usual places, oldest name first."""
    for folder in USUAL_FOLDERS:
        for path in sorted(Path(folder).glob("*/**/bin/java")):
            if java := ask(path):
                yield java


def refuse(java: Java, place: str) -> Java:
    """Say in one sentence why this Java does not do."""
    if java.major < OLDEST:
        reason = f"platelake needs Java {OLDEST} or newer; found {java.major}"
    else:
        reason = "platelake needs a Java with the module jdk.incubator.vector; found one without"
    usable = next((java.home for java in installed() if java.fits), None)
    advice = f"There is one that fits: JAVA_HOME={usable}" if usable else ADVICE
    raise SystemExit(f"{reason} ({place}). {advice}")
