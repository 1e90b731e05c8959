"""Photos through the lake: content kept once, every name, no label that contradicts itself."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from lakehouse.delta.lake import Lake
from lakehouse.files.photos import Photo, read_photo
from lakehouse.ingest import events
from lakehouse.ingest import photos as ingest_photos
from lakehouse.stage import Stage
from lakehouse.table import Table
from lakehouse.tables.files import FILES
from lakehouse.tables.photos import PHOTOS
from lakehouse.tables.picture_names import PICTURE_NAMES
from lakehouse.tables.pictures import PICTURES
from lakehouse.tables.quarantine import QUARANTINE
from tests.conftest import Chain
from tests.digest import digests, versions
from tests.plant import picture, write_photo, write_sensor

INGEST = ("ingest_photos",)


def names(chain: Chain) -> set[tuple[str, str]]:
    return {(row["label"], row["name"]) for row in chain.lake().rows(PICTURE_NAMES)}


def held_back(chain: Chain) -> dict[str, str]:
    rows = chain.lake().rows(QUARANTINE)
    return {row["file"].removeprefix("photos/"): row["rule"] for row in rows}


def test_content_is_kept_once_and_every_name_is_kept(chain: Chain, stage: Stage) -> None:
    write_photo(chain.landing, "good/a.png", 1)
    write_photo(chain.landing, "good/b.png", 1)  # the same bytes
    write_photo(chain.landing, "good/c.png", 1, mode="RGBA")  # the same pixels
    original = write_photo(chain.landing, "bad/d.png", 2)
    found = chain(*INGEST)
    assert (found["pictures"], found["picture_names"]) == (2, 4)
    assert found["files"] == dict(seen=4, loaded=3, duplicate=1, quarantined=0, known=0)
    lake = chain.lake()
    assert len(lake.rows(PICTURES)) == 2
    photos = {row["mode"]: row for row in lake.rows(PHOTOS) if row["size"] != 0}
    assert len(lake.rows(PHOTOS)) == 3 and set(photos) == {"RGB", "RGBA"}
    assert original.read_bytes() in {row["bytes"] for row in lake.rows(PHOTOS)}
    before = versions(lake, stage)
    assert chain(*INGEST)["files"]["known"] == 4
    assert versions(chain.lake(), stage) == before


def test_the_tensor_is_the_upright_picture_at_the_stages_size(chain: Chain, stage: Stage) -> None:
    assert stage.photos is not None
    write_photo(chain.landing, "good/a.png", 1)
    chain(*INGEST)
    (row,) = chain.lake().rows(PICTURES)
    assert (row["width"], row["height"]) == (48, 32)
    shape = (row["tensor_height"], row["tensor_width"], 3)
    assert shape == (stage.photos.height, stage.photos.width, 3)
    tensor = np.frombuffer(row["tensor"], np.uint8).reshape(shape)
    expected = picture(1).resize((shape[1], shape[0]), Image.Resampling.BILINEAR)
    assert np.abs(tensor.astype(int) - np.asarray(expected).astype(int)).max() <= 1


def test_a_day_is_the_plants_by_exif_else_by_the_files_time(chain: Chain) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9003] = "2021:09:07 00:30:00"
    write_photo(chain.landing, "good/exif.jpg", 1, exif=exif)
    (named,) = chain(*INGEST) and chain.lake().rows(PICTURE_NAMES)
    assert named["captured_at"] == datetime(2021, 9, 6, 15, 30, tzinfo=UTC)
    assert (named["captured_from"], named["day"]) == ("exif", date(2021, 9, 7))


def jpeg(image: Image.Image) -> bytes:
    stream = BytesIO()
    image.save(stream, "JPEG")
    return stream.getvalue()


BAD: dict[str, tuple[str, Callable[[], bytes]]] = {
    "empty.png": ("empty_file", lambda: b""),
    "text.png": ("not_an_image", lambda: b"this is no picture"),
    "cut.jpg": ("broken_image", lambda: jpeg(picture(9))[:-200]),
}


def test_bad_photos_are_held_back_and_the_others_stored(chain: Chain) -> None:
    folder = chain.landing / "photos" / "good"
    write_photo(chain.landing, "good/sound.png", 1)
    for name, (_, content) in BAD.items():
        (folder / name).write_bytes(content())
    frames = [picture(3), picture(4)]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    (folder / "png-in-truth.jpg").write_bytes((folder / "sound.png").read_bytes())
    found = chain(*INGEST)
    rules = {f"good/{name}": rule for name, (rule, _) in BAD.items()}
    assert held_back(chain) == {**rules, "good/moving.gif": "animated"}
    assert names(chain) == {("good", "sound.png"), ("good", "png-in-truth.jpg")}
    assert found["files"] == dict(seen=6, loaded=1, duplicate=1, quarantined=4, known=0)


def test_a_photo_that_cannot_be_read_is_held_back_until_it_can(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Too large for the setting, a link that leads nowhere, and one that is still being written."""
    large = write_photo(chain.landing, "good/large.png", 1)
    write_photo(chain.landing, "good/sound.jpg", 2)
    changing = write_photo(chain.landing, "good/changing.jpg", 3)
    link = chain.landing / "photos" / "good" / "link.png"
    link.symlink_to("/nowhere")
    open_url = ingest_photos.open_url

    def open_changed(landing: str, url: str) -> Any:
        if url.endswith("changing.jpg"):
            write_photo(chain.landing, "good/changing.jpg", 4)
        return open_url(landing, url)

    monkeypatch.setenv("PLATELAKE_MAX_PHOTO_BYTES", str(large.stat().st_size - 1))
    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(ingest_photos, "open_url", open_changed)
        found = chain(*INGEST)
    assert names(chain) == {("good", "sound.jpg")}
    assert held_back(chain) == {
        "good/large.png": "too_large",
        "good/link.png": "unreadable",
        "good/changing.jpg": "changed",
    }
    reasons = {row["rule"]: row["reason"] for row in chain.lake().rows(QUARANTINE)}
    size = large.stat().st_size
    assert reasons["too_large"] == f"{size} bytes; at most {size - 1} are read"
    assert reasons["unreadable"] == "cannot be read: No such file or directory"
    assert found["files"] == dict(seen=4, loaded=1, duplicate=0, quarantined=3, known=0)

    link.unlink()
    write_photo(chain.landing, "good/link.png", 5, compress_level=9)
    monkeypatch.delenv("PLATELAKE_MAX_PHOTO_BYTES")
    chain(*INGEST)  # the large one is known and waits for a replay
    assert held_back(chain) == {"good/large.png": "too_large"}
    assert names(chain) == {("good", changing.name), ("good", link.name), ("good", "sound.jpg")}


def test_a_photo_that_cannot_be_read_for_a_moment_keeps_its_name(chain: Chain) -> None:
    photo = write_photo(chain.landing, "good/a.png", 1)
    chain(*INGEST)
    content = photo.read_bytes()
    photo.unlink()
    photo.symlink_to("/nowhere")
    for _ in range(2):
        chain(*INGEST)
        assert names(chain) == {("good", "a.png")}
        assert held_back(chain) == {"good/a.png": "unreadable"}
    photo.unlink()
    photo.write_bytes(content)
    chain(*INGEST)
    assert (names(chain), held_back(chain)) == ({("good", "a.png")}, {})


def test_a_photo_held_back_for_two_reasons_has_one_entry(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    from jobs.quarantine import replay

    write_photo(chain.landing, "good/a.png", 1)
    write_photo(chain.landing, "bad/a.png", 1, mode="RGBA")
    work = chain.work(*INGEST)
    assert set(held_back(chain).values()) == {"label_conflict"}
    monkeypatch.setenv("PLATELAKE_MAX_PHOTO_BYTES", "1")
    replay(work.options, [])
    assert held_back(chain) == {"good/a.png": "too_large", "bad/a.png": "too_large"}
    monkeypatch.delenv("PLATELAKE_MAX_PHOTO_BYTES")
    replay(work.options, [])
    assert set(held_back(chain).values()) == {"label_conflict"}


def test_a_picture_with_two_labels_is_held_back_whichever_came_first(
    chain: Chain, stage: Stage
) -> None:
    write_photo(chain.landing, "good/a.png", 1)
    write_photo(chain.landing, "good/other.png", 2)
    chain(*INGEST)
    assert names(chain) == {("good", "a.png"), ("good", "other.png")}

    # The same picture, as other bytes, among the bad ones: both names go.
    wrong = write_photo(chain.landing, "bad/a.png", 1, mode="RGBA")
    found = chain(*INGEST)
    assert names(chain) == {("good", "other.png")}
    assert held_back(chain) == {"good/a.png": "label_conflict", "bad/a.png": "label_conflict"}
    assert found["files"]["quarantined"] == 1

    # A third name does not decide it.
    write_photo(chain.landing, "good/again.png", 1)
    chain(*INGEST)
    assert names(chain) == {("good", "other.png")}
    assert len(held_back(chain)) == 3

    # It came out as if all had come at once.
    together = Chain(chain.landing, chain.lake_folder.with_name("together"))
    together(*INGEST)
    at_once, one_by_one = (digests(c.lake(), stage) for c in (together, chain))
    del at_once["files"], one_by_one["files"]  # duplicates and holders depend on the order
    assert at_once == one_by_one

    # The plant takes the wrong one away and the conflict is replayed: it is settled.
    wrong.unlink()
    work = chain.work()  # an ordinary run changes nothing
    assert len(held_back(chain)) == 3
    from jobs.quarantine import replay

    replay(work.options, [])
    assert names(chain) == {("good", "a.png"), ("good", "again.png"), ("good", "other.png")}
    assert held_back(chain) == {}
    last = {}
    for row in sorted(chain.lake().rows(FILES), key=lambda row: row["event"]):
        last[row["file"]] = row["status"]
    assert last["photos/bad/a.png"] == "withdrawn"


def test_unlabelled_photos_never_contradict(chain: Chain) -> None:
    write_photo(chain.landing, "good/a.png", 1)
    write_photo(chain.landing, "unlabelled/a.png", 1)
    chain(*INGEST)
    assert names(chain) == {("good", "a.png"), ("unlabelled", "a.png")}


def test_odd_names_are_data(chain: Chain) -> None:
    odd = [
        "with space.png",
        "한글 이름.png",
        'it\'s "q".png',
        "..hidden..png",
        "new\nline.png",
        "a%b.png",
    ]
    for n, name in enumerate(odd):
        write_photo(chain.landing, f"good/{name}", n)
    raw = "도금.png".encode("cp949")
    source = chain.landing / "photos" / "good" / odd[0]
    target = bytes(chain.landing / "photos" / "good") + b"/" + raw
    Path(target.decode("utf-8", "surrogateescape")).write_bytes(
        source.read_bytes() + b"trailing bytes make it another file"
    )
    chain(*INGEST)
    assert {name for _, name in names(chain)} == {*odd, "도금.png"}
    assert held_back(chain) == {}


def test_what_a_killed_run_stored_is_not_decoded_again(
    chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is killed once before its pictures have photos, and once before its files are recorded."""
    write_photo(chain.landing, "good/a.png", 1)
    decoded: list[int] = []

    def read(*given: Any) -> Photo:
        decoded.append(1)
        return read_photo(*given)

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ingest_photos, "read_photo", read)
    steps = ((Lake, "insert", stopping_at(PHOTOS), 1), (events, "record", killed, 2))
    for where, name, stop, times in steps:
        with monkeypatch.context() as meanwhile:
            meanwhile.setattr(where, name, stop)
            with pytest.raises(KeyboardInterrupt):
                chain(*INGEST)
        assert len(decoded) == times
    chain(*INGEST)
    assert len(decoded) == 2 and names(chain) == {("good", "a.png")}
    assert chain.lake().count(PICTURES) == chain.lake().count(PHOTOS) == 1


def stopping_at(table: Table) -> Callable[..., int]:
    """`Lake.insert`, which ends the run instead of writing that table."""
    insert = Lake.insert

    def insert_or_stop(lake: Lake, into: Table, *given: Any) -> int:
        if into is table:
            raise KeyboardInterrupt
        return insert(lake, into, *given)

    return insert_or_stop


@pytest.mark.heavy  # It starts Spark.
def test_many_photos_make_few_files_and_come_in_several_commits(
    chain: Chain, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On Spark's workers, five photos a commit: the same tables as here in one commit."""
    for n in range(12):
        write_photo(chain.landing, f"{'good' if n % 2 else 'bad'}/{n}.png", n)
    chain(*INGEST)
    monkeypatch.setenv("PLATELAKE_HERE_BYTES", "0")
    monkeypatch.setenv("PLATELAKE_PHOTOS_PER_COMMIT", "5")
    write_sensor(chain.landing, date(2021, 9, 6))
    spread = Chain(chain.landing, chain.lake_folder.with_name("spread"))
    spread(*INGEST, "ingest_readings")
    chain("ingest_readings")
    assert spread.lake().version(PHOTOS) == 3  # made, then three commits
    assert digests(spread.lake(), stage) == digests(chain.lake(), stage)
    assert len(chain.lake().file_sizes(PHOTOS)) <= 4


def test_the_ledger_names_a_time_that_cannot_be_true(chain: Chain) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9003] = "2099:09:07 00:30:00"
    write_photo(chain.landing, "good/a.jpg", 1, exif=exif)
    chain(*INGEST)
    (named,) = chain.lake().rows(PICTURE_NAMES)
    (event,) = chain.lake().rows(FILES)
    assert named["captured_from"] == "file time"
    assert "2099-09-07 00:30:00, cannot be true" in event["note"]
