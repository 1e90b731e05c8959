"""Input for benchmarks: sensor files in the published format, their error list, and photos."""

import io
import os
from concurrent.futures import ProcessPoolExecutor
from datetime import date, timedelta
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

FIRST_DAY = date(2021, 1, 1)
LONG_AGO = 1_640_000_000
"""Time stamp of files that have long stopped growing."""
LOTS = 22
"""Lots a day, unless a benchmark says otherwise."""


def make_readings(
    folder: Path, files: int, rows: int, seed: int = 7, first: int = 0, lots: int = LOTS
) -> None:
    """Add sensor files of so many rows, each of a day of its own, and list a failed lot a day."""
    rng = np.random.default_rng(seed)
    (folder / "sensor").mkdir(parents=True, exist_ok=True)
    times = [_clock(seconds) for seconds in np.linspace(9 * 3600, 20 * 3600, rows)]
    numbers = (np.arange(rows) * lots // max(rows, lots) + 1).tolist()
    for number in range(first, first + files):
        day = FIRST_DAY + timedelta(number)
        values = (rng.normal((2.1, 43, 17.5), (0.05, 0.6, 0.5), (rows, 3))).round(3).tolist()
        lines = [
            f"{at},{lot},{time},{ph},{temperature},{voltage}"
            for at, (lot, time, (ph, temperature, voltage)) in enumerate(
                zip(numbers, times, values, strict=True), 1
            )
        ]
        text = "\r\n".join(["Index,Lot,Time,pH,Temp,Voltage", *lines, ""])
        file = folder / "sensor" / f"kemp-abh-sensor-{day:%Y.%m.%d}.csv"
        file.write_bytes(b"\xef\xbb\xbf" + text.encode())
        os.utime(file, (LONG_AGO, LONG_AGO))
    write_list(folder, first + files, lots=min(lots, rows))


def write_list(folder: Path, days: int, corrected: int | None = None, lots: int = LOTS) -> None:
    """The error list of so many days, of so many lots each; that of one day may be corrected."""
    lines = ["0,1,2"]
    for number in range(days):
        day = FIRST_DAY + timedelta(number)
        lines.append(f"{day},{number % lots + 1},{2 if number == corrected else ''}")
    file = folder / "Error Lot list.csv"
    file.write_text("\n".join([*lines, ""]))
    os.utime(file, (LONG_AGO + (corrected or 0), LONG_AGO + (corrected or 0)))


def _clock(seconds: float) -> str:
    hour, rest = divmod(seconds, 3600)
    half = "오전" if hour < 12 else "오후"
    return f"{half} {int(hour) % 12 or 12}:{int(rest) // 60:02d}:{rest % 60:06.3f}"


def photo(rng: np.random.Generator) -> bytes:
    """Soft spots under the noise of a camera, 480 x 720, as a PNG of about half a megabyte."""
    spots = Image.fromarray(rng.integers(30, 226, (36, 24, 3), dtype=np.uint8))
    soft = np.asarray(spots.resize((480, 720), Image.Resampling.BICUBIC), np.int16)
    noisy = soft + rng.integers(-2, 2, soft.shape, dtype=np.int16)
    target = io.BytesIO()
    Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(target, "PNG", compress_level=1)
    return target.getvalue()


def make_photos(folder: Path, count: int, first: int = 0) -> None:
    """So many photos, no two alike, the odd ones in `bad` and the others in `good`."""
    for label in ("good", "bad"):
        (folder / label).mkdir(parents=True, exist_ok=True)
    with ProcessPoolExecutor() as processes:
        list(processes.map(partial(_write_photo, folder), range(first, first + count), chunksize=8))


def _write_photo(folder: Path, number: int) -> None:
    file = folder / ("bad" if number % 2 else "good") / f"{number}.png"
    file.write_bytes(photo(np.random.default_rng(number)))
    os.utime(file, (LONG_AGO, LONG_AGO))
