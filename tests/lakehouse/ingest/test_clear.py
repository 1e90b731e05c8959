"""After the ingest: what the lake holds whole goes, the rest stays, and no table notices."""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from jobs.backfill import run_backfill
from jobs.options import Options
from jobs.quarantine import replay
from jobs.runner import INGESTS
from lakehouse.delta.lake import Lake
from lakehouse.ingest import clear as clear_landing
from lakehouse.ingest import events
from lakehouse.ingest.events import in_files
from lakehouse.landing.leaving import Leaving
from lakehouse.landing.matching import KINDS
from lakehouse.landing.zone import ARCHIVE_FOLDER, LEAVING_FOLDER
from lakehouse.stage import Stage
from lakehouse.tables.cleared_files import CLEARED_FILES
from lakehouse.tables.files import FILES
from lakehouse.tables.photos import PHOTOS
from lakehouse.tables.picture_names import PICTURE_NAMES
from lakehouse.tables.quarantine import QUARANTINE
from lakehouse.tables.readings import readings
from lakehouse.tables.unmatched_files import UNMATCHED_FILES
from tests.conftest import Chain
from tests.digest import digests
from tests.plant import sensor_lines, write_errors, write_photo, write_sensor
from tests.sshd import Sshd

pytestmark = pytest.mark.heavy

DAY = date(2021, 9, 6)
LATER = DAY + timedelta(days=1)


@pytest.fixture(autouse=True)
def _only_ingests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Backfill and replay do what they do to files; what is computed from tables takes longer."""
    monkeypatch.setattr("jobs.backfill.CHAIN", INGESTS)
    monkeypatch.setattr("jobs.quarantine.CHAIN", INGESTS)


def plant(folder: Path) -> None:
    """Sound files of each kind, copies, files that are held back, and one of somebody else."""
    write_sensor(folder, DAY)
    write_sensor(folder, LATER, [*sensor_lines([3, 4]), "torn"])
    shutil.copy(write_sensor(folder, LATER + timedelta(days=1), sensor_lines([5])), folder / "no")
    write_errors(folder, {"2021-09-07": ["3"]}, "Error Lot list 2.csv")
    write_errors(folder, {"2021-09-06": ["1"]})
    shutil.copy(folder / "Error Lot list.csv", folder / "Error Lot list copy.csv")
    for seed in range(3):
        write_photo(folder, f"good/{seed}.png", seed)
    write_photo(folder, "good/0 again.png", 0)
    write_photo(folder, "good/torn.png", 7).write_bytes(b"no picture")
    write_photo(folder, "good/both.png", 8)
    write_photo(folder, "bad/both.png", 8)


STAY = {
    "no",
    "sensor/kemp-abh-sensor-2021.09.07.csv",
    "Error Lot list.csv",
    "Error Lot list copy.csv",
    "photos/good/torn.png",
    "photos/good/both.png",
    "photos/bad/both.png",
}


def below(folder: Path) -> dict[str, str]:
    """Path to content hash."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def tables(lake: Lake, stage: Stage) -> dict[str, Any]:
    """All but what is noted of the way out, and of files that are not read.

    Of the ledger, what each file is and has.

    Which of two files with one content counts as the copy may change when both are read again.
    """
    found: dict[str, Any] = digests(lake, stage)
    del found[CLEARED_FILES.name], found[UNMATCHED_FILES.name]  # An archive is another place.
    files = {row["file"] for row in lake.rows(FILES, "file")}
    found["files"] = {
        (kind, one.file, one.sha256, one.status, one.label)
        for kind in KINDS
        for one in events.states(events.last_events(lake, kind, files)).values()
    }
    return found


@pytest.fixture
def set_to(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    return lambda value: monkeypatch.setenv("PLATELAKE_AFTER_INGEST", value)


def test_files_go_and_no_command_changes_a_table_for_it(
    chain: Chain, stage: Stage, set_to: Callable[[str], None]
) -> None:
    plant(chain.landing)
    chain.work(*INGESTS)
    before, kept = below(chain.landing), tables(chain.lake(), stage)
    set_to("archive")
    work = chain.work(*INGESTS)
    assert (work.counts.seen, work.counts.known) == (0, 13)
    found = below(chain.landing)
    assert {name for name in found if not name.startswith(ARCHIVE_FOLDER)} == STAY
    archived = {name: one for name, one in before.items() if name not in STAY}
    expected = {f"{ARCHIVE_FOLDER}/{name}": one for name, one in archived.items()}
    assert found == {name: before[name] for name in STAY} | expected
    assert chain.lake().count(CLEARED_FILES) == len(archived) == 7

    chain.work(*INGESTS)
    where = {"lake": str(chain.lake_folder), "stage": "chromate"}
    days = {"first_day": date(2000, 1, 1), "last_day": date(2100, 1, 1)}
    set_to("keep")
    run_backfill(Options(landing=str(chain.landing), **where, **days))
    replay(Options(landing=str(chain.landing), **where), [])
    assert tables(chain.lake(), stage) == kept
    set_to("remove")
    run_backfill(Options(landing=str(chain.landing / ARCHIVE_FOLDER), **where, **days))
    assert tables(chain.lake(), stage) == kept
    assert below(chain.landing) == found


def test_what_comes_again_goes_again_and_other_content_waits_for_a_person(
    chain: Chain, set_to: Callable[[str], None], stage: Stage
) -> None:
    set_to("archive")
    write_sensor(chain.landing, DAY)
    write_photo(chain.landing, "good/a.png", 1)
    chain.work(*INGESTS)
    assert set(below(chain.landing)) == {
        f"{ARCHIVE_FOLDER}/photos/good/a.png",
        f"{ARCHIVE_FOLDER}/sensor/kemp-abh-sensor-2021.09.06.csv",
    }
    write_photo(chain.landing, "good/a.png", 1)
    work = chain.work(*INGESTS)
    assert (work.counts.seen, work.counts.known) == (0, 1)
    assert len(below(chain.landing)) == 2
    write_photo(chain.landing, "good/a.png", 2)
    write_sensor(chain.landing, DAY, sensor_lines([1]))
    before = tables(chain.lake(), stage)
    for _ in range(2):  # A machine that counts from one again must not take what came before.
        work = chain.work(*INGESTS)
        assert (work.counts.loaded, work.counts.reconciled) == (0, True)
        after = tables(chain.lake(), stage)
        assert {n for n in after if after[n] != before[n]} == {"quarantine", "files"}
        assert {row["rule"] for row in chain.lake().rows(QUARANTINE)} == {"name_reused"}
        assert len(below(chain.landing)) == 4
    set_to("keep")
    work = chain.work(*INGESTS)
    assert work.counts.loaded == 2
    assert chain.lake().count(readings(stage)) == 3
    assert not chain.lake().count(QUARANTINE)
    set_to("archive")
    chain.work(*INGESTS)
    found = below(chain.landing)
    inner = f"{ARCHIVE_FOLDER}/{ARCHIVE_FOLDER}"
    assert f"{inner}/photos/good/a.png.1" in found
    assert f"{inner}/sensor/kemp-abh-sensor-2021.09.06.csv.1" in found
    assert len(found) == 4


def test_of_two_labels_the_one_that_went_can_be_withdrawn(
    chain: Chain, set_to: Callable[[str], None]
) -> None:
    set_to("remove")
    write_photo(chain.landing, "good/a.png", 1)
    chain.work("ingest_photos")
    write_photo(chain.landing, "bad/a.png", 1)
    chain.work("ingest_photos")
    where = {"landing": str(chain.landing), "lake": str(chain.lake_folder), "stage": "chromate"}
    replay(Options(**where), [])
    assert chain.lake().count(PICTURE_NAMES) == 0
    replay(Options(**where), [], ["photos/good/a.png"])
    assert [row["label"] for row in chain.lake().rows(PICTURE_NAMES)] == ["bad"]


def test_a_photo_of_which_the_lake_holds_other_bytes_stays(
    chain: Chain, set_to: Callable[[str], None]
) -> None:
    write_photo(chain.landing, "good/a.png", 1)
    write_photo(chain.landing, "good/b.png", 2)
    chain.work(*INGESTS)
    [sha256] = [one for name, one in below(chain.landing).items() if name.endswith("a.png")]
    lake = chain.lake()
    [row] = [row for row in lake.rows(PHOTOS) if row["sha256"] == sha256]
    lake.replace(PHOTOS, PHOTOS.arrow([{**row, "bytes": b"bit rot"}]), {"sha256": [sha256]})
    set_to("remove")
    chain.work(*INGESTS)
    assert set(below(chain.landing)) == {"photos/good/a.png"}


def test_a_sensor_file_of_which_rows_are_missing_stays(
    chain: Chain, set_to: Callable[[str], None], stage: Stage
) -> None:
    file = write_sensor(chain.landing, DAY)
    write_sensor(chain.landing, LATER, sensor_lines([3]))
    chain.work(*INGESTS)
    name = f"sensor/{file.name}"
    rows = chain.lake().load(readings(stage), where=in_files([name]))
    chain.lake().replace(readings(stage), rows.slice(1), {"file": [name]})
    set_to("remove")
    chain.work(*INGESTS)
    assert set(below(chain.landing)) == {f"sensor/{file.name}"}


def test_a_growing_file_waits_and_holds_up_nobody(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLATELAKE_SETTLE_SECONDS", "0.3")
    write_photo(chain.landing, "good/still.png", 1)
    whole = write_photo(chain.landing, "good/grows.png", 2)
    content, stop = whole.read_bytes(), threading.Event()
    whole.write_bytes(b"")

    def grow() -> None:
        with whole.open("ab") as stream:
            while not stop.wait(0.05):
                stream.write(b"x")
                stream.flush()

    thread = threading.Thread(target=grow)
    thread.start()
    try:
        work = chain.work("ingest_photos")
        assert (work.counts.seen, work.counts.loaded) == (1, 1)
    finally:
        stop.set()
        thread.join()
    whole.write_bytes(content)
    assert chain.work("ingest_photos").counts.loaded == 1


def test_a_photo_that_grows_is_not_withdrawn(
    chain: Chain, monkeypatch: pytest.MonkeyPatch, stage: Stage
) -> None:
    write_photo(chain.landing, "good/a.png", 1)
    chain.work("ingest_photos")
    before = tables(chain.lake(), stage)
    os.utime(chain.landing / "photos/good/a.png")
    everything = lambda looks, files, known: {file.file for file in files}  # noqa: E731
    monkeypatch.setattr("lakehouse.landing.stable.Looks.growing", everything)
    monkeypatch.setenv("PLATELAKE_SETTLE_SECONDS", "600")
    where = {"landing": str(chain.landing), "lake": str(chain.lake_folder), "stage": "chromate"}
    run_backfill(Options(**where, first_day=date(2000, 1, 1), last_day=date(2100, 1, 1)))
    assert tables(chain.lake(), stage) == before


class StoppedError(Exception):
    pass


@pytest.mark.parametrize(
    ("where", "name"),
    [
        (clear_landing, "_note"),
        (clear_landing.os, "sync"),
        (Leaving, "take"),
        (Leaving, "_is"),
    ],
    ids=lambda one: getattr(one, "__name__", one),
)
def test_a_run_that_ends_between_two_steps_is_finished_by_the_next(
    chain: Chain,
    set_to: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    where: Any,
    name: str,
) -> None:
    set_to("remove")
    for seed in range(2):
        write_photo(chain.landing, f"good/{seed}.png", seed)

    def stop(*args: Any, **options: Any) -> None:
        raise StoppedError

    with monkeypatch.context() as patch:
        patch.setattr(where, name, stop)
        with pytest.raises(StoppedError):
            chain.work("ingest_photos")
    assert len(below(chain.landing)) == 2
    work = chain.work("ingest_photos")
    assert work.counts.loaded == 0
    assert below(chain.landing) == {}
    assert chain.lake().count(PHOTOS) == 2
    assert list((chain.landing / LEAVING_FOLDER).iterdir()) == []


KILL = """
import os, signal, sys
import lakehouse.landing.leaving as leaving
from jobs.cli.main import main
name, countdown = sys.argv.pop(1), int(sys.argv.pop(1))
work = getattr(os, name)
def killed(*args, **options):
    global countdown
    countdown -= 1
    if countdown == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return work(*args, **options)
leaving.os = type("os", (), {**vars(os), name: staticmethod(killed)})
main()
"""


@pytest.mark.parametrize(("step", "number"), [("unlink", 2), ("link", 3)])
def test_killed_while_it_removes_then_run_again(
    chain: Chain, set_to: Callable[[str], None], step: str, number: int
) -> None:
    set_to("remove")
    for seed in range(4):
        write_photo(chain.landing, f"good/{seed}.png", seed)
    before = set(below(chain.landing).values())
    where = ["--landing", str(chain.landing), "--lake", str(chain.lake_folder)]
    command = ["ingest-photos", *where, "--stage", "chromate"]
    done = subprocess.run([sys.executable, "-c", KILL, step, str(number), *command], check=False)
    assert done.returncode == -signal.SIGKILL
    assert 0 < len(set(below(chain.landing).values())) < 4
    chain.work("ingest_photos")
    assert below(chain.landing) == {}
    stored = chain.lake().rows(PHOTOS, "sha256", "bytes")
    assert {hashlib.sha256(row["bytes"]).hexdigest() for row in stored} == before
    assert len(stored) == 4


MOST_DELIVERED = 500
"""Beyond, the temperatures that `sensor_lines` makes up of the number would be held back."""


class Machine:
    """Writes photos and sensor files in pieces, by their final names, as long as it is let."""

    def __init__(self, host: Sshd, landing: Path, made: Path) -> None:
        self.host, self.landing, self.made = host, landing, made
        self.stop, self.rows = threading.Event(), 0
        self.thread = threading.Thread(target=self.work)
        self.photos: set[str] = set()
        (landing / "photos" / "good").mkdir(parents=True, exist_ok=True)
        (landing / "sensor").mkdir(parents=True, exist_ok=True)

    def work(self) -> None:
        """Until told to stop, and to the end of the file at hand."""
        number = 0
        while not self.stop.is_set() and number < MOST_DELIVERED:
            number += 1
            photo = write_photo(self.made, f"good/{number}.png", number, mode="L")
            self.photos.add(hashlib.sha256(photo.read_bytes()).hexdigest())
            self._deliver(photo)
            if number % 5 == 0:
                lines = sensor_lines([number])
                self.rows += len(lines) - 1
                self._deliver(write_sensor(self.made, DAY + timedelta(days=number), lines))

    def _deliver(self, source: Path) -> None:
        content = source.read_bytes()
        size = len(content) // 4 + 1
        with (self.landing / source.relative_to(self.made)).open("wb") as stream:
            for start in range(0, len(content), size):
                stream.write(content[start : start + size])
                stream.flush()
                time.sleep(0.1)


@pytest.fixture
def machine(plant_host: Sshd, tmp_path: Path) -> Iterator[Machine]:
    one = Machine(plant_host, tmp_path / "landing", tmp_path / "made")
    one.thread.start()
    try:
        yield one
    finally:
        one.stop.set()
        one.thread.join()


@pytest.mark.slow
def test_a_machine_that_never_stops_loses_nothing(
    machine: Machine,
    tmp_path: Path,
    set_to: Callable[[str], None],
    monkeypatch: pytest.MonkeyPatch,
    stage: Stage,
) -> None:
    set_to("remove")
    monkeypatch.setenv("PLATELAKE_SETTLE_SECONDS", "1")
    url = machine.host.url(machine.landing)
    chain = Chain(url, tmp_path / "lake")  # type: ignore[arg-type]
    rounds = 0
    while rounds < 3 or chain.lake().count(PHOTOS) <= 20:
        chain.work(*INGESTS)
        rounds += 1
    assert len(machine.photos) > chain.lake().count(PHOTOS)
    machine.stop.set()
    machine.thread.join()
    for _ in range(2):
        chain.work(*INGESTS)
    assert below(machine.landing) == {}
    stored = chain.lake().rows(PHOTOS, "sha256", "bytes")
    assert len(stored) == len(machine.photos)
    assert {hashlib.sha256(row["bytes"]).hexdigest() for row in stored} == machine.photos
    assert chain.lake().count(readings(stage)) == machine.rows
