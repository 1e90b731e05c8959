"""The generated plant: the published layout, the same bytes for a seed, nothing overwritten."""

import csv
import hashlib
import re
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from lakehouse.landing.sample_plant import (
    Array,
    Rng,
    SamplePlant,
    SamplePlantError,
    _stain,
    _Tube,
    draw_photo,
    korean_clock,
    make_sample_plant,
)

SMALL = {"days": 6, "lots_per_day": 9, "rows_per_lot": 40, "failed_lots": 5}
TINY = {"days": 1, "lots_per_day": 2, "rows_per_lot": 3, "failed_lots": 1, "photos": 2}
ROW = re.compile(
    r"\d+,\d+,(오전|오후) \d{1,2}:\d\d:\d\d\.\d,\d+\.\d{1,2},\d+\.\d{1,2},\d+\.\d{1,2}"
)


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> SamplePlant:
    return make_sample_plant(tmp_path_factory.mktemp("plants") / "a", photos=10, **SMALL)


def contents(directory: Path) -> dict[str, bytes]:
    files = (path for path in directory.rglob("*") if path.is_file())
    return {path.relative_to(directory).as_posix(): path.read_bytes() for path in files}


def sensor_files(plant: SamplePlant) -> dict[date, list[dict[str, str]]]:
    found = {}
    for path in sorted(plant.directory.glob("sensor/*.csv")):
        day = date(*(int(part) for part in path.stem.removeprefix("kemp-abh-sensor-").split(".")))
        found[day] = list(csv.DictReader(path.read_text("utf-8-sig").splitlines()))
    return found


def seconds(clock: str) -> float:
    half, time = clock.split(" ")
    hour, minute, second = time.split(":")
    return 3600 * (int(hour) % 12 + 12 * (half == "오후")) + 60 * int(minute) + float(second)


def test_a_seed_gives_the_same_bytes_and_another_seed_gives_others(tmp_path: Path) -> None:
    for name, seed in (("first", 7), ("same", 7), ("other", 8)):
        make_sample_plant(tmp_path / name, seed=seed, photos=3, **SMALL)
    first, other = contents(tmp_path / "first"), contents(tmp_path / "other")
    assert contents(tmp_path / "same") == first
    assert other.keys() == first.keys()
    assert [name for name in first if other[name] == first[name]] == []


def test_sensor_files_have_the_published_bytes(plant: SamplePlant) -> None:
    for path in plant.directory.glob("sensor/*.csv"):
        raw = path.read_bytes()
        assert raw.startswith(b"\xef\xbb\xbfIndex,Lot,Time,pH,Temp,Voltage\r\n")
        assert raw.endswith(b"\r\n")
        assert raw.count(b"\n") == raw.count(b"\r\n") == 1 + 9 * 40
        rows = raw.decode("utf-8-sig").split("\r\n")[1:-1]
        assert [row for row in rows if not ROW.fullmatch(row)] == []


def test_days_are_weekdays_in_a_row(plant: SamplePlant) -> None:
    assert [day.isoformat() for day in sensor_files(plant)] == [
        *(f"2021-11-0{day}" for day in range(1, 6)),
        "2021-11-08",
    ]


def test_rows_count_up_five_seconds_apart_through_noon(plant: SamplePlant) -> None:
    halves = []
    for rows in sensor_files(plant).values():
        assert [int(row["Index"]) for row in rows] == list(range(1, 361))
        assert [int(row["Lot"]) for row in rows] == [1 + at // 40 for at in range(360)]
        steps = np.diff([seconds(row["Time"]) for row in rows])
        lot_starts = np.arange(1, 360) % 40 == 0
        np.testing.assert_allclose(steps[~lot_starts], 5)
        assert (steps[lot_starts] >= 20).all()
        halves.append({row["Time"].split(" ")[0] for row in rows})
    assert halves[0] == {"오후"}
    assert "오전" in halves[3]


def test_a_day_that_starts_before_noon_goes_over_to_the_afternoon(tmp_path: Path) -> None:
    plant = make_sample_plant(tmp_path / "plant", days=4, failed_lots=0, photos=2)
    clocks = [row["Time"] for row in sensor_files(plant)[date(2021, 11, 4)]]
    first_after = next(at for at, clock in enumerate(clocks) if clock.startswith("오후"))
    assert all(clock.startswith("오전 11:") for clock in clocks[:first_after])
    assert clocks[first_after].startswith("오후 12:00:")
    assert clocks[-1].startswith("오후 1:")


@pytest.mark.parametrize(
    ("tenths", "clock"),
    [
        (0, "오전 12:00:00.0"),
        (10 * (9 * 3600 + 5 * 60 + 7) + 3, "오전 9:05:07.3"),
        (12 * 36000 - 1, "오전 11:59:59.9"),
        (12 * 36000, "오후 12:00:00.0"),
        (10 * (16 * 3600 + 20 * 60 + 35), "오후 4:20:35.0"),
    ],
)
def test_the_korean_clock(tenths: int, clock: str) -> None:
    assert korean_clock(tenths) == clock


def test_the_list_names_every_day_and_the_failed_lots_as_floats(plant: SamplePlant) -> None:
    raw = (plant.directory / "Error Lot list.csv").read_bytes()
    assert raw.startswith(b"0,1,2\n")
    assert b"\r" not in raw
    rows = list(csv.reader(raw.decode().splitlines()))[1:]
    assert [date.fromisoformat(row[0]) for row in rows] == list(sensor_files(plant))
    cells = [(date.fromisoformat(row[0]), cell) for row in rows for cell in row[1:] if cell]
    assert all(len(row) == 3 and not (row[2] and not row[1]) for row in rows)
    assert all(re.fullmatch(r"\d+\.0", cell) for _, cell in cells)
    assert [(day, int(float(cell))) for day, cell in cells] == plant.failed_lots
    assert len(set(plant.failed_lots)) == 5


@pytest.mark.parametrize("seed", [7, 8])
def test_failed_lots_stray_in_two_variables_at_once(seed: int, tmp_path: Path) -> None:
    plant = make_sample_plant(tmp_path / "plant", seed=seed, photos=2)
    keys, rows = [], []
    for day, read in sensor_files(plant).items():
        keys += [(day, int(row["Lot"])) for row in read]
        rows += [[float(row[name]) for name in ("pH", "Temp", "Voltage")] for row in read]
    values = np.array(rows)
    assert len(values) == plant.readings == 12 * 22 * 69
    assert (values >= 0).all()
    assert (values <= [14, 100, 50]).all()
    deviation = np.abs(values - np.median(values, axis=0))
    sigmas = deviation / (1.4826 * np.median(deviation, axis=0))
    together = np.sort(sigmas, axis=1)[:, 1].reshape(-1, 69)  # Second largest of a row.
    lots = dict(zip(keys[::69], np.sort(together, axis=1)[:, -2], strict=True))  # In two rows.
    failed = [lots.pop(lot) for lot in plant.failed_lots]
    assert min(failed) > 2.5
    assert max(failed) > 5
    assert np.quantile(list(lots.values()), 0.95) < 2.5


def test_pictures_by_their_pixels(plant: SamplePlant) -> None:
    seen: dict[str, set[str]] = {"good": set(), "bad": set()}
    counts = {"good": 0, "bad": 0}
    for path in plant.directory.glob("photos/*/*"):
        kind = path.parent.name
        word = "Error_" if kind == "bad" else ""
        assert re.fullmatch(rf"KEMP_IMG_DATA_{word}\d+\.png", path.name)
        with Image.open(path) as image:
            assert image.format == "PNG"
            assert image.size in {(480, 720), (720, 480)}
            assert image.mode in {"RGB", "RGBA"}
            seen[kind].add(hashlib.sha256(image.convert("RGBA").tobytes()).hexdigest())
        counts[kind] += 1
    assert counts == {"good": plant.good_photos, "bad": plant.bad_photos}
    assert plant.names == 11
    assert not seen["good"] & seen["bad"]
    assert len(seen["good"] | seen["bad"]) == plant.pictures == 10


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_stains_of_a_bad_photo_can_be_seen(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def drawn() -> Array:
        image = draw_photo(np.random.default_rng(seed), bad=True).convert("L")
        return np.asarray(image, np.float64)

    def no_stain(rng: Rng, tube: _Tube, metal: Array, least: float) -> tuple[Array, Array]:
        _, mask = _stain(rng, tube, metal, least)  # The draws must go on the same way.
        return metal, 0 * mask

    stained = drawn()
    monkeypatch.setattr("lakehouse.landing.sample_plant._stain", no_stain)
    changed = np.abs(stained - drawn()) > 8
    assert 50 < changed.sum() < changed.size / 4


@pytest.mark.heavy
def test_a_person_sees_the_defect_of_every_bad_photo(monkeypatch: pytest.MonkeyPatch) -> None:
    """At 224 px: a spot of 100 pixels or more, a fifth of the range away from the metal near it."""
    stains: list[tuple[Array, Array]] = []

    def seen(rng: Rng, tube: _Tube, metal: Array, least: float) -> tuple[Array, Array]:
        stained, mask = _stain(rng, tube, metal, least)
        stains.append((mask * tube.metal, tube.metal))
        return stained, mask

    monkeypatch.setattr("lakehouse.landing.sample_plant._stain", seen)
    for number in range(48):
        stains.clear()
        photo = draw_photo(np.random.default_rng([7, 4, number]), bad=True)
        found = spots_at_224(photo, np.array([mask for mask, _ in stains]), stains[0][1])
        assert any(area >= 100 and contrast >= 51 for area, contrast in found), (number, found)


def spots_at_224(photo: Image.Image, masks: Array, metal: Array) -> list[tuple[int, float]]:
    """Of each stain's part that no later one covers: pixels, and how far its colour stands out."""

    def small(there: Array) -> Image.Image:
        return Image.fromarray(np.uint8(255 * there[..., 0])).resize((224, 224))

    clean = np.asarray(small((masks.max(0) < 0.02) & (metal > 0.99))) == 255
    pixels = np.asarray(photo.convert("RGB").resize((224, 224)), np.float64)
    found = []
    for at, mask in enumerate(masks):
        covered = masks[at + 1 :].max(0, initial=0)
        spot = small((mask > 0.5) & (covered < 0.1))
        inside = np.asarray(spot) > 127
        around = clean & (np.asarray(spot.filter(ImageFilter.MaxFilter(13))) > 127)
        if inside.any() and around.any():
            apart = pixels[inside].mean(0) - pixels[around].mean(0)
            found.append((int(inside.sum()), float(np.abs(apart).max())))
    return found


def test_photos_that_people_put_in_are_no_other_plant(tmp_path: Path) -> None:
    make_sample_plant(tmp_path, photos=3, **SMALL)
    photo = tmp_path / "app" / "unlabelled" / "a.png"
    photo.parent.mkdir(parents=True)
    photo.touch()
    make_sample_plant(tmp_path, photos=3, **SMALL)
    assert photo.exists()


def test_the_same_plant_again_is_left_untouched(plant: SamplePlant) -> None:
    def stamps() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in plant.directory.rglob("*")}

    before = stamps()
    assert make_sample_plant(plant.directory, photos=10, **SMALL) == plant
    assert stamps() == before


def test_other_numbers_or_a_foreign_file_are_refused(plant: SamplePlant, tmp_path: Path) -> None:
    with pytest.raises(SamplePlantError, match=re.escape(str(plant.directory))):
        make_sample_plant(plant.directory, seed=9, photos=10, **SMALL)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ValueError, match=re.escape(str(tmp_path))):
        make_sample_plant(tmp_path, **TINY)
    assert contents(tmp_path) == {"notes.txt": b"mine"}
    with pytest.raises(SamplePlantError, match=r"notes\.txt"):
        make_sample_plant(tmp_path / "notes.txt", **TINY)


def test_a_plant_that_lost_or_gained_a_file_is_refused(tmp_path: Path) -> None:
    make_sample_plant(tmp_path, **TINY)
    extra = tmp_path / "photos" / "good" / "real.png"
    extra.write_bytes(b"")
    with pytest.raises(SamplePlantError):
        make_sample_plant(tmp_path, **TINY)
    extra.unlink()
    make_sample_plant(tmp_path, **TINY)
    (tmp_path / "Error Lot list.csv").unlink()
    with pytest.raises(SamplePlantError):
        make_sample_plant(tmp_path, **TINY)


def test_the_plant_says_that_it_is_generated(tmp_path: Path) -> None:
    make_sample_plant(tmp_path / "new" / "plant", seed=41, **TINY)
    text = (tmp_path / "new" / "plant" / "GENERATED.txt").read_text("utf-8")
    assert "generated" in text
    assert "no real data" in text
    assert "seed 41" in text
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["plant"]


@pytest.mark.parametrize(
    "numbers",
    [
        {"seed": -1},
        {"days": 0},
        {"rows_per_lot": 0},
        {"photos": 1},
        {"failed_lots": 3},
        {"lots_per_day": 100, "rows_per_lot": 69},
    ],
)
def test_numbers_that_cannot_be_met_are_refused(numbers: dict[str, int], tmp_path: Path) -> None:
    with pytest.raises(SamplePlantError, match="a plant needs"):
        make_sample_plant(tmp_path / "plant", **{**TINY, **numbers})
    assert not (tmp_path / "plant").exists()
