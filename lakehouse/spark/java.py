"""Find a Java that Spark runs on. Standard library only: `make env` calls it before it installs."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from lakehouse.errors import PlatelakeError

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
    """Find JAVA_HOME's Java, else the one on PATH, else the first in a usual folder that fits.

    Raises PlatelakeError with one sentence if none fits.
    """
    if home := os.environ.get("JAVA_HOME"):
        return java_of(home, f"JAVA_HOME={home}", f"Correct or unset JAVA_HOME. {ADVICE}")
    command = shutil.which("java")
    on_path = ask(Path(command)) if command else None
    if on_path and on_path.fits:
        return on_path
    for java in installed():
        if java.fits:
            return java
    if on_path:
        return refuse(on_path, f"java on PATH, {command}")
    reason = f"java on PATH, {command}, does not run" if command else "java is not on PATH"
    raise PlatelakeError(
        f"platelake needs Java {OLDEST} or newer; found none ({reason}, JAVA_HOME is not set, and "
        f"the usual folders hold none). {ADVICE}"
    )


def java_of(home: str, place: str, advice: str) -> Java:
    """Return the Java in that folder; if it does not fit, raise with `place` and `advice`."""
    java = ask(Path(home, "bin", "java"))
    if java is None:
        raise PlatelakeError(
            f"platelake needs Java {OLDEST} or newer; {place} has no working bin/java. {advice}"
        )
    return java if java.fits else refuse(java, place)


def ask(java: Path) -> Java | None:
    """Return what `java` says about itself, or None if it does not run."""
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
    """Run the command; return None if it does not exist."""
    try:
        return subprocess.run(
            [java, *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL
        )
    except OSError:
        return None


def installed() -> Iterator[Java]:
    """Yield the Javas in the folders that system packages use, oldest name first."""
    for folder in USUAL_FOLDERS:
        for path in sorted(Path(folder).glob("*/**/bin/java")):
            if java := ask(path):
                yield java


def refuse(java: Java, place: str) -> Java:
    """Raise one sentence that says why this Java does not fit."""
    if java.major < OLDEST:
        reason = f"platelake needs Java {OLDEST} or newer; found {java.major}"
    else:
        reason = "platelake needs a Java with the module jdk.incubator.vector; found one without"
    usable = next((java.home for java in installed() if java.fits), None)
    advice = f"There is one that fits: JAVA_HOME={usable}" if usable else ADVICE
    raise PlatelakeError(f"{reason} ({place}). {advice}")
