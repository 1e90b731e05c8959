"""Wall time and peak memory of the main job: the first run into an empty lake, then a second.

    .venv/bin/python benchmarks/main_job.py LANDING [--stage chromate]

Peak memory is the largest sum of the resident sizes of all processes of the run (Python, JVM,
workers), sampled five times a second from /proc; pages that they share count more than once.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PAGE = os.sysconf("SC_PAGE_SIZE")
SESSION, RESIDENT = 3, 21
"""Fields of /proc/PID/stat behind the name."""


def main(argv: list[str]) -> int:
    """Run twice and print a line each; the exit code of the first run that fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("landing")
    parser.add_argument("--stage", default="chromate")
    given = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as lake:
        where = ["--landing", given.landing, "--stage", given.stage, "--lake", lake]
        command = [str(Path(sys.executable).with_name("platelake")), "run", *where]
        for run in ("first", "second"):
            seconds, peak, code = measured(command)
            print(f"{run} run: {seconds:.1f} s, peak {peak >> 20} MiB, exit code {code}")
            if code:
                return code
    return 0


def measured(command: list[str]) -> tuple[float, int, int]:
    """Seconds, peak bytes and exit code of a command."""
    start, peak = time.monotonic(), 0
    nowhere = subprocess.DEVNULL
    process = subprocess.Popen(command, start_new_session=True, stdout=nowhere, stderr=nowhere)
    while process.poll() is None:
        peak = max(peak, resident(process.pid))
        time.sleep(0.2)
    return time.monotonic() - start, peak, process.returncode


def resident(session: int) -> int:
    """Bytes in memory of all processes of that session."""
    total = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # It has ended.
        if int(fields[SESSION]) == session:
            total += int(fields[RESIDENT]) * PAGE
    return total


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
