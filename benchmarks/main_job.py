"""Time and peak memory of the main job: the first run into an empty lake, then a second.

.venv/bin/python benchmarks/main_job.py LANDING [--stage chromate]
"""

import argparse
import sys
import tempfile
from pathlib import Path

from measure import measured


def main(argv: list[str]) -> int:
    """Run twice and print a line each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("landing")
    parser.add_argument("--stage", default="chromate")
    given = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as lake:
        where = ["--landing", given.landing, "--stage", given.stage, "--lake", lake]
        command = [str(Path(sys.executable).with_name("platelake")), "run", *where]
        for run in ("first", "second"):
            found = measured(command)
            seconds = f"{found.wall:.1f} s, {found.cpu:.1f} s of processors"
            print(f"{run} run: {seconds}, peak {found.peak >> 20} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
