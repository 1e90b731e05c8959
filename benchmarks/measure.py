"""Wall time, CPU time and peak memory of a command."""

import os
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SESSION, USER, SYSTEM = 3, 11, 12
"""Fields of /proc/PID/stat behind the name."""


@dataclass(frozen=True)
class Measured:
    """Seconds on the clock and of processors, and the most bytes of memory at once.

    Memory is looked at ten times a second. Of pages that processes share, each counts its part.
    """

    wall: float
    cpu: float
    peak: int


def measured(command: Sequence[str], env: Mapping[str, str] | None = None) -> tuple[Measured, str]:
    """Run the command in a session of its own; also what it said on standard output.

    Raises RuntimeError if it fails.
    """
    start, peak, before = time.monotonic(), 0, _of_ended_children()
    spent: dict[str, float] = {}
    process = subprocess.Popen(
        command,
        start_new_session=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env,
    )
    while True:
        try:
            said, log = process.communicate(timeout=0.1)
            break
        except subprocess.TimeoutExpired:
            memory = 0
            for folder, cpu in processes_of(process.pid):
                spent[folder.name] = cpu
                memory += memory_of(folder)
            peak = max(peak, memory)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}: {log[-2000:]}")
    wall = time.monotonic() - start
    # The last moments are not looked at; processes that others leave behind are not waited for.
    cpu = max(_of_ended_children() - before, sum(spent.values()))
    return Measured(wall, cpu, peak), said


def _of_ended_children() -> float:
    return sum(os.times()[2:4])


def processes_of(session: int) -> Iterator[tuple[Path, float]]:
    """The folder of each process of the session, and its seconds of processors so far."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # It has ended.
        if int(fields[SESSION]) == session:
            yield folder, (int(fields[USER]) + int(fields[SYSTEM])) / os.sysconf("SC_CLK_TCK")


def memory_of(process: Path) -> int:
    """Bytes in memory of a process; 0 if it has ended."""
    try:
        lines = (process / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))
