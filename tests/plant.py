"""Small landing zones, written by hand."""

import csv
import io
from collections.abc import Iterable
from datetime import date
from pathlib import Path

import numpy as np
from PIL import Image

HEADER = "Index,Lot,Time,pH,Temp,Voltage"


def sensor_name(day: date) -> str:
    return f"kemp-abh-sensor-{day:%Y.%m.%d}.csv"


def sensor_lines(lots: Iterable[int] = (1, 2), rows: int = 3, level: float = 2.0) -> list[str]:
    """Lines in the published format, each lot five minutes, a row each 5 s."""
    lines, index = [HEADER], 0
    for lot in lots:
        for row in range(rows):
            index += 1
            time = f"오후 4:{5 * (lot % 12):02d}:{5 * row:02d}.0"
            lines.append(f"{index},{lot},{time},{level + row / 100:.2f},{40 + lot / 10},{16 + row}")
    return lines


def write_sensor(landing: Path, day: date, lines: list[str] | None = None) -> Path:
    """A sensor file of that day: UTF-8 with BOM, CRLF, as the plant writes it."""
    file = landing / "sensor" / sensor_name(day)
    file.parent.mkdir(parents=True, exist_ok=True)
    text = "\r\n".join(lines if lines is not None else sensor_lines()) + "\r\n"
    file.write_bytes(b"\xef\xbb\xbf" + text.encode())
    return file


def write_errors(
    landing: Path, days: dict[str, list[str]], name: str = "Error Lot list.csv"
) -> Path:
    """An error list: day to its failed lots, at most two."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["0", "1", "2"])
    for day, lots in days.items():
        writer.writerow([day, *lots, *[""] * (2 - len(lots))])
    file = landing / name
    file.write_text(text.getvalue())
    return file


def picture(seed: int, size: tuple[int, int] = (48, 32)) -> Image.Image:
    """A picture of noise; equal seeds, equal pixels."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    return Image.fromarray(pixels)


def write_photo(landing: Path, name: str, seed: int, **how: object) -> Path:
    """A photo `label/name` of that picture; the ending says the format."""
    file = landing / "photos" / name
    file.parent.mkdir(parents=True, exist_ok=True)
    image = picture(seed)
    if mode := how.pop("mode", None):
        image = image.convert(str(mode))
    image.save(file, **how)  # type: ignore[arg-type]
    return file
