"""Generate a small chromate-plating plant in the layout of the published data set.

A seeded random generator draws everything; no real reading and no real photo is used. The same
seed gives the same bytes with the same versions of numpy and Pillow.
"""

import cmath
import math
import os
import tempfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from io import BytesIO
from pathlib import Path
from typing import Any, Final, cast

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

from lakehouse.errors import UsageError
from lakehouse.landing.matching import APP_FOLDER

Array = npt.NDArray[Any]
Rng = np.random.Generator

FIRST_DAY: Final = date(2021, 11, 1)
MARKER: Final = "GENERATED.txt"
SENSOR_FILE: Final = "sensor/kemp-abh-sensor-{:%Y.%m.%d}.csv"
ROW_SECONDS: Final = 5
# pH, bath temperature (°C), rectifier voltage (V). Excursions go the way a failing bath goes.
CENTRE: Final = np.array([2.01, 42.45, 17.45])
SPREAD: Final = np.array([0.118, 1.42, 1.40])
EXCURSION_SIGN: Final = np.array([1, -1, -1])
COLLAR: Final = 1.11  # The radius of the elbow's collars, in tube radii.
# Colours of stains: burnt, rust, salt left by the rinse, bare steel.
STAINS: Final = ((0.13, 0.10, 0.08), (0.46, 0.22, 0.08), (1.36, 1.37, 1.40), (0.27, 0.30, 0.36))


class SamplePlantError(UsageError, ValueError):
    """The sample plant cannot be made: impossible numbers, or a directory that is in use."""


@dataclass(frozen=True)
class SamplePlant:
    """The content of a sample plant.

    `failed_lots` are (day, lot number), oldest day first. `good_photos` and `bad_photos` count
    files, together `names`; there are fewer `pictures`, because some have two names.
    """

    directory: Path
    seed: int
    days: int
    lots: int
    failed_lots: list[tuple[date, int]]
    readings: int
    good_photos: int
    bad_photos: int
    pictures: int
    names: int


@dataclass(frozen=True)
class _Tube:
    """The elbow at each pixel: maps of the picture's shape, lengths in tube radii."""

    along: Array  # From the middle, towards the open end.
    around: Array
    normal: Array
    metal: Array
    bore: Array


def make_sample_plant(
    directory: Path,
    *,
    seed: int = 7,
    days: int = 12,
    lots_per_day: int = 22,
    rows_per_lot: int = 69,
    failed_lots: int = 8,
    photos: int = 120,
) -> SamplePlant:
    """Write sensor files, error list, photos and `GENERATED.txt`; return what they hold.

    `photos` counts different pictures; every tenth has two names. A directory that already holds
    the plant of the same numbers stays as it is. Raises SamplePlantError if the directory holds
    anything else, or if the numbers are impossible.
    """
    least = min(seed, days - 1, lots_per_day - 1, rows_per_lot - 1, photos - 2, failed_lots)
    seconds = lots_per_day * (rows_per_lot * ROW_SECONDS + 30)
    if least < 0 or failed_lots > days * min(2, lots_per_day) or seconds > 7 * 3600:
        raise SamplePlantError(
            "a plant needs a day, a lot, a row, two photos and a seed of 0 or more; "
            "at most two lots a day may fail, and a day has at most 7 hours"
        )
    failed, files = _failed_lots(seed, days, lots_per_day, failed_lots), _photo_files(seed, photos)
    bad, lots = sum("/bad/" in name for name in files), days * lots_per_day
    rows, good = lots * rows_per_lot, len(files) - bad
    plant = SamplePlant(directory, seed, days, lots, failed, rows, good, bad, photos, len(files))
    target = directory.resolve()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        if _holds(target, plant):
            return plant
        raise SamplePlantError(
            f"{directory} holds other files, or a plant of another version: delete it, or "
            "name a new or empty directory"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".sample-plant-") as work:
        _write(Path(work) / "plant", plant)
        (Path(work) / "plant").replace(target)  # All of it or nothing.
    return plant


def _weekdays(count: int) -> list[date]:
    days = np.busday_offset(np.datetime64(FIRST_DAY), np.arange(count))
    return cast(list[date], days.tolist())


def _failed_lots(seed: int, days: int, lots: int, count: int) -> list[tuple[date, int]]:
    draw = np.random.default_rng([seed, 0]).permutation
    places = [(day, lot + 1) for day in _weekdays(days) for lot in draw(lots)[:2].tolist()]
    return [places[at] for at in sorted(draw(len(places))[:count])]


def _photo_files(seed: int, pictures: int) -> dict[str, int]:
    """Return the photo files: path inside the plant, and the number of the picture in it."""
    twice = [*range(pictures), *range(9, pictures, 10)]
    numbers = np.random.default_rng([seed, 1]).permutation(twice)
    bad = numbers < max(1, pictures * 2 // 5)
    stems = (("good/KEMP_IMG_DATA", numbers[~bad]), ("bad/KEMP_IMG_DATA_Error", numbers[bad]))
    numbered = ((stem, *pair) for stem, part in stems for pair in enumerate(part.tolist(), 1))
    return {f"photos/{stem}_{position}.png": number for stem, position, number in numbered}


def _marker(plant: SamplePlant) -> str:
    return (
        "This plant is generated. It holds no real data: a random generator with the seed "
        f"{plant.seed}\ndrew every reading and every photo, to show how the project works. "
        "What is measured on it\nsays nothing about a real plating line.\n\nformat 2\n"
        f"days {plant.days}\nlots {plant.lots}\nfailed lots {len(plant.failed_lots)}\n"
        f"readings {plant.readings}\npictures {plant.pictures}\nphoto files {plant.names}\n"
    )


def _holds(target: Path, plant: SamplePlant) -> bool:
    expected = {MARKER, "Error Lot list.csv", *map(SENSOR_FILE.format, _weekdays(plant.days))}
    expected.update(_photo_files(plant.seed, plant.pictures))
    held = {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()}
    held = {name for name in held if not name.startswith(f"{APP_FOLDER}/")}  # People's photos.
    return held == expected and (target / MARKER).read_text("utf-8") == _marker(plant)


def _write(made: Path, plant: SamplePlant) -> None:
    draw = np.random.default_rng([plant.seed, 2]).permutation
    strengths = draw(np.linspace(2.9, 5.9, len(plant.failed_lots))).tolist()
    strong = dict(zip(plant.failed_lots, strengths, strict=True))
    for folder in ("sensor", "photos/good", "photos/bad"):
        (made / folder).mkdir(parents=True)
    listed = ["0,1,2"]
    for number, day in enumerate(_weekdays(plant.days)):
        rng = np.random.default_rng([plant.seed, 3, number])
        failed = {lot: strength for (when, lot), strength in strong.items() if when == day}
        text = _sensor_text(rng, _readings(rng, plant, failed), morning=number % 4 == 3)
        (made / SENSOR_FILE.format(day)).write_bytes(text.encode("utf-8-sig"))
        listed.append(",".join([f"{day}", *(f"{lot}.0" for lot in failed), "", ""][:3]))
    (made / "Error Lot list.csv").write_bytes("\n".join([*listed, ""]).encode())
    _write_photos(made, plant)
    (made / MARKER).write_bytes(_marker(plant).encode())


def _write_photos(made: Path, plant: SamplePlant) -> None:
    """Draw each picture once, on all cores, and write it under each of its names."""
    names: dict[int, list[str]] = {}
    for name, number in _photo_files(plant.seed, plant.pictures).items():
        names.setdefault(number, []).append(name)

    def write(number: int) -> None:
        rng, content = np.random.default_rng([plant.seed, 4, number]), BytesIO()
        bad = "/bad/" in names[number][0]
        draw_photo(rng, bad=bad).save(content, "PNG", compress_type=zlib.Z_HUFFMAN_ONLY)
        for name in names[number]:
            (made / name).write_bytes(content.getvalue())

    with ThreadPoolExecutor(os.cpu_count()) as pool:  # numpy and Pillow release Python's lock.
        list(pool.map(write, names))


def _readings(rng: Rng, plant: SamplePlant, failed: dict[int, float]) -> Array:
    """Draw a day's values, (lots, rows, 3); `failed` gives a failed lot's deviation in sigmas."""
    lots, rows = plant.lots // plant.days, plant.readings // plant.lots
    time = np.linspace(0, 1, lots * rows).reshape(lots, rows, 1)
    sigmas = rng.standard_normal((lots, rows, 3)) + 0.13 * rng.standard_normal((lots, 1, 3))
    sigmas += 0.2 * np.sin(2 * np.pi * (0.8 * time + rng.random(3)))
    for lot in range(lots):
        if lot + 1 in failed:
            variables, strength = rng.permutation(3)[: rng.integers(2, 4)], failed[lot + 1]
        elif rng.random() < 0.08:  # A good lot may deviate too, but in one variable.
            variables, strength = rng.integers(0, 3, 1), rng.uniform(3.2, 5.2)
        else:
            continue
        at = rng.permutation(rows)[: rng.integers(2, 5), None]
        size = strength * rng.uniform(0.93, 1.12, (len(at), len(variables)))
        sigmas[lot, at, variables] = EXCURSION_SIGN[variables] * size
    return np.round(np.clip(CENTRE + SPREAD * sigmas, 0, [14, 100, 50]), 2)


def _sensor_text(rng: Rng, readings: Array, *, morning: bool) -> str:
    lines = ["Index,Lot,Time,pH,Temp,Voltage"]
    tenths = 10 * ((11 * 3600 if morning else 16 * 3600 + 1200) + int(rng.integers(0, 600)))
    for lot, rows in enumerate(readings.tolist(), start=1):
        for acid, heat, volt in rows:
            lines.append(f"{len(lines)},{lot},{korean_clock(tenths)},{acid},{heat},{volt}")
            tenths += 10 * ROW_SECONDS
        tenths += int(rng.integers(200, 250))
    return "\r\n".join([*lines, ""])


def korean_clock(tenths: int) -> str:
    """Write a time of day, in tenths of a second since midnight, like `오후 4:20:35.0`."""
    hour, minute = divmod(tenths // 600, 60)
    clock = f"{(hour + 11) % 12 + 1}:{minute:02d}:{tenths % 600 / 10:04.1f}"
    return f"{'오전' if hour < 12 else '오후'} {clock}"


def draw_photo(rng: Rng, *, bad: bool) -> Image.Image:
    """Draw a photo of a plated elbow, 480x720 or 720x480, RGB or RGBA; `bad`: with stains."""
    width, height = (480, 720) if rng.random() < 0.7 else (720, 480)
    tube = _tube(rng, height, width)
    light = np.array([*rng.uniform(-0.5, 0.5, 2), 0.9], np.float32)
    scene = _bench(rng, tube, light)
    scene += tube.metal * (_metal(rng, tube, light, bad=bad) - scene)
    scene *= 1 - tube.bore
    if rng.random() < 0.35:  # The harmless shadow of an arm or a lamp, on good ones too.
        scene *= 1 - rng.uniform(0.1, 0.3) * np.clip(_noise(rng, tube, 2), 0, 1)
    down, across = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j].astype(np.float32)
    scene *= (1 - rng.uniform(0.2, 0.45) * (down**2 + across**2) / 2)[..., None]
    # A camera's noise, so weak that the demo's photos are small enough to need no Spark.
    scene += rng.uniform(0.003, 0.006) * rng.standard_normal(scene.shape, np.float32)
    pixels = (255 * np.clip(scene * rng.uniform(0.85, 1.15), 0, 1) + 0.5).astype(np.uint8)
    return Image.fromarray(pixels).convert("RGBA" if rng.random() < 0.35 else "RGB")


def _tube(rng: Rng, height: int, width: int) -> _Tube:
    """Make a quarter of a torus about (0, 0) between two straight legs, one end to the viewer."""
    bend, leg, tilt = rng.uniform(1.9, 2.3), rng.uniform(0.5, 0.9), rng.uniform(0.22, 0.4)
    scale = max(height, width) * rng.uniform(0.66, 0.8) / (math.sqrt(2) * (bend + leg) + 1.6)
    turn = rng.normal(math.pi / 4 if width > height else -math.pi / 4, 0.15)
    turn += math.pi * int(rng.integers(0, 2))
    middle = (1 + 1j) * (1.71 * bend + 0.2 - 0.71 * leg) / 2.83
    centre = complex(rng.normal(width / 2, 14), rng.normal(height / 2, 14))
    down, right = np.mgrid[:height, :width].astype(np.float32)
    point = (right + 1j * down - centre) / scale * cmath.exp(-1j * turn) + middle
    x, y = point.real.astype(np.float32), point.imag.astype(np.float32)
    angle = np.arctan2(np.maximum(y, 0), np.maximum(x, 0))
    half = leg + bend * math.pi / 4
    along = leg - half + bend * angle + np.where(x >= 0, np.minimum(y, 0), -x)
    off = np.where(y < 0, x, np.where(x < 0, y, np.hypot(x, y))) - bend
    ring = along + tilt * np.sqrt(np.maximum(0, COLLAR**2 - off**2))
    end = half - np.abs(ring)
    radius, side = _radius(end), np.minimum(_radius(end) - np.abs(off), end)
    slope = (radius - _radius(end - 0.02)) / 0.02 * np.sign(ring)
    out = COLLAR - np.hypot((along - half) / tilt, off)
    slope = np.where((side < 0) & (out > -0.06), 0.8, slope)  # The rim looks along the axis.
    around = np.clip(off / radius, -1, 1)
    flat = (around + 1j * slope) * np.exp(1j * (angle + turn))
    normal = np.stack([flat.real, flat.imag, np.sqrt(1 - around**2)], -1).astype(np.float32)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    metal = np.clip(np.maximum(side, out * tilt) * scale + 0.5, 0, 1)[..., None]
    bore = np.clip((out - 0.17) * tilt * scale + 0.5, 0, 1) * (0.85 - 0.12 * around)
    return _Tube(along[..., None], around[..., None], normal, metal, bore[..., None])


def _radius(end: Array) -> Array:
    """Return the tube's radius at a distance from its end: collar, groove, bead, pipe."""
    collar = (COLLAR - 1) / 2 * (1 - np.tanh((end - 0.32) / 0.04))
    return cast(Array, 1 + collar + 0.05 * np.exp(-(((end - 0.52) / 0.07) ** 2)))


def _noise(rng: Rng, tube: _Tube, cells: float) -> Array:
    """Draw smooth noise, (height, width, 1), of about unit size; `cells` bumps per short side."""
    height, width, _ = tube.metal.shape
    grid = (int(cells * side / min(height, width)) + 2 for side in (height, width))
    image = Image.fromarray(rng.standard_normal(tuple(grid), np.float32))
    return np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))[..., None]


def _bench(rng: Rng, tube: _Tube, light: Array) -> Array:
    bench = rng.uniform(0.42, 0.62) * (1 + 0.02 * rng.standard_normal(3, np.float32))
    bench = bench * (1 + 0.03 * _noise(rng, tube, 3) + 0.02 * _noise(rng, tube, 90))
    ground = np.roll(255 * tube.metal[..., 0], (-45 * light[1::-1]).astype(int), (0, 1))
    shadow = Image.fromarray(ground.astype(np.uint8)).filter(ImageFilter.GaussianBlur(14))
    return cast(Array, bench * (1 - 0.65 / 255 * np.asarray(shadow, np.float32)[..., None]))


def _metal(rng: Rng, tube: _Tube, light: Array, *, bad: bool) -> Array:
    light = light / np.linalg.norm(light)
    half = light + np.array([0, 0, 1], np.float32)
    half = half / np.linalg.norm(half)
    gloss = np.clip((tube.normal * half).sum(-1, keepdims=True), 0, 1)
    shade = 0.2 + 0.7 * np.clip((tube.normal * light).sum(-1, keepdims=True), 0, 1) ** 1.5
    grain, phase = _noise(rng, tube, 240), rng.uniform(0, 6) + np.arange(3, dtype=np.float32) * 2.1
    hue = np.cos(4 * tube.normal[..., 2:] + 0.9 * _noise(rng, tube, 2.5) + phase)
    gold = np.array([0.80, 0.74, 0.60], np.float32) + 0.02 * rng.standard_normal(3, np.float32)
    metal = gold * (1 + rng.uniform(0.03, 0.08) * hue) * (1 + 0.05 * grain)
    dull = np.zeros_like(gloss)
    for number in range(int(rng.integers(1, 4)) if bad else 0):
        metal, mask = _stain(rng, tube, metal, least=0.4 if number == 0 else 0.2)
        dull = np.maximum(dull, mask)
    sheen = rng.uniform(0.15, 0.3) * gloss**12 * (1 + 0.15 * grain) + 0.25 * gloss**90
    sheen *= 1 - 0.85 * dull  # A stain does not shine: it would be invisible under the lamp.
    return cast(Array, metal * (shade + sheen) + 0.3 * sheen)


def _stain(rng: Rng, tube: _Tube, metal: Array, least: float) -> tuple[Array, Array]:
    """Add one irregular stain to the pipe between the collars; return metal and stain's mask.

    `least` is the smallest size, in tube radii.
    """
    tone = np.array(STAINS[int(rng.integers(0, len(STAINS)))], np.float32)
    size = math.exp(rng.uniform(math.log(least), math.log(0.7)))
    along = (tube.along - rng.uniform(-1.3, 1.3)) / (size * rng.uniform(0.8, 1.6))
    around = (np.arcsin(tube.around) - rng.uniform(-0.6, 0.6)) / size
    rough = np.clip(_noise(rng, tube, 8) + 0.7 * _noise(rng, tube, 40), -1.5, 1.5)
    depth = 1.1 - np.hypot(along, around) + rng.uniform(0.15, 0.35) * rough
    mask = rng.uniform(0.85, 0.97) * np.clip(depth * rng.uniform(2.5, 6), 0, 1)
    rim = metal * (1 - 0.4 * np.exp(-((depth / 0.12) ** 2)))  # Where it dried last.
    return rim + mask * (tone * (0.75 + 0.25 * metal) - rim), mask
