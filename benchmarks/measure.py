"""Wall time, CPU time and peak memory of a command."""

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SESSION = 3
"""Field of /proc/PID/stat behind the name."""


@dataclass(frozen=True)
class Measured:
    """Seconds on the clock and of processors, and the most bytes of memory at once.

    Of pages that processes share, each counts its part.
    """

    wall: float
    cpu: float
    peak: int


def measured(command: Sequence[str], env: Mapping[str, str] | None = None) -> Measured:
    """Run the command in a session of its own. Raises RuntimeError if it fails."""
    start, peak = time.monotonic(), 0
    before = os.times()
    process = subprocess.Popen(
        command,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=env,
    )
    while True:
        try:
            said, _ = process.communicate(timeout=0.2)
            break
        except subprocess.TimeoutExpired:
            peak = max(peak, memory_of(process.pid))
    after = os.times()
    cpu = (after.children_user + after.children_system) - (
        before.children_user + before.children_system
    )
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}: {said[-2000:]}")
    return Measured(time.monotonic() - start, cpu, peak)


def memory_of(session: int) -> int:
    """Bytes in memory of all processes of that session."""
    total = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(fields[SESSION]) == session:
                total += _part_of(folder)
        except OSError:
            continue  # It has ended.
    return total


def _part_of(process: Path) -> int:
    for line in (process / "smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) << 10
    return 0
