"""Make the landing zone of the sample: sensor files, an error list, small photos.

Needs numpy and Pillow only, so that an environment of any version can run it.
"""

import sys
from datetime import date, timedelta
from pathlib import Path

import numpy as np
from PIL import Image

FIRST_DAY = date(2021, 9, 6)
DAYS, LOTS, ROWS = 4, 8, 12
FAILED = {0: (2, 7), 1: (4,), 2: (1, 6), 3: (3, 5)}
"""The failed lots of each day."""
PHOTOS = 20


def write_sensor(landing: Path, number: int) -> None:
    """Write one day's file. A failed lot has a higher pH; on the first day one row is bad."""
    draw = np.random.default_rng(number)
    lines = ["Index,Lot,Time,pH,Temp,Voltage"]
    for lot in range(1, LOTS + 1):
        level = 2.3 if lot in FAILED[number] else 2.0
        for row in range(ROWS):
            ph = level + draw.normal(0, 0.05)
            temperature, voltage = 42 + draw.normal(0, 0.5), 17 + draw.normal(0, 0.5)
            if (number, lot, row) == (0, 8, 0):
                ph = 99
            time = f"오후 4:{5 * lot:02d}:{5 * row:02d}.0"
            lines.append(f"{len(lines)},{lot},{time},{ph:.2f},{temperature:.1f},{voltage:.1f}")
    day = FIRST_DAY + timedelta(days=number)
    file = landing / "sensor" / f"kemp-abh-sensor-{day:%Y.%m.%d}.csv"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(("\r\n".join(lines) + "\r\n").encode("utf-8-sig"))


def write_photo(landing: Path, number: int) -> None:
    """Write one photo. Every second is bad and has a dark stain."""
    draw, bad = np.random.default_rng(number), number % 2
    pixels = np.full((48, 64, 3), 150) + draw.integers(-2, 3, (12, 16, 1)).repeat(4, 0).repeat(4, 1)
    if bad:
        x, y = draw.integers(4, 30, 2)
        pixels[y : y + 14, x : x + 14] -= 100
    folder = landing / "photos" / ("bad" if bad else "good")
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(folder / f"part {number}.png")


def main(landing: Path) -> None:
    """Write all of it."""
    for number in range(DAYS):
        write_sensor(landing, number)
    rows = [
        ",".join([f"{FIRST_DAY + timedelta(days=number)}", *map(str, FAILED[number])])
        for number in range(DAYS)
    ]
    (landing / "Error Lot list.csv").write_text("\n".join(["0,1,2", *rows]) + "\n")
    for number in range(PHOTOS):
        write_photo(landing, number)
    last = f"part {PHOTOS - 1}.png"  # Under two labels, so it is held back.
    (landing / "photos" / "good" / last).write_bytes(
        (landing / "photos" / "bad" / last).read_bytes()
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
