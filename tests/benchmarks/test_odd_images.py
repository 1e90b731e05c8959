"""The benchmark of odd images: each class, and what ends a process that reads one."""

import os
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms

from benchmarks.odd_images import EQUAL, FAULT, READ, REFUSED, compared, limited, main

SHADES = np.arange(64 * 48, dtype=np.uint16).reshape(48, 64)
COLOURS = np.stack([SHADES >> 4, SHADES[::-1] >> 4, SHADES >> 5], -1).astype(np.uint8)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    picture = Image.fromarray(COLOURS)
    turned = Image.Exif()
    turned[0x0112] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    picture.save(tmp_path / "profile.png", icc_profile=profile)
    picture.save(tmp_path / "turned.jpg", exif=turned, quality=95)
    clear = picture.copy()
    clear.putalpha(Image.linear_gradient("L").resize(clear.size))
    clear.save(tmp_path / "clear.webp", lossless=True)
    picture.convert("CMYK").save(tmp_path / "cmyk.tif")
    Image.fromarray(SHADES * 21).save(tmp_path / "wide.png")
    (tmp_path / "text.png").write_text("no picture")
    return tmp_path


def test_each_file_has_its_class(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(folder), "--list"]) == 0
    said = capsys.readouterr().out
    for name in ("profile.png", "turned.jpg", "clear.webp", "cmyk.tif"):
        assert f"  {name}: {EQUAL}; \n" in said
    assert f"  wide.png: {READ}; not of 8 bits a colour\n" in said
    assert f"  text.png: {REFUSED}; not_an_image\n" in said


def test_a_difference_is_a_fault() -> None:
    seen = Image.fromarray(COLOURS)
    assert compared(seen, seen.point(lambda value: value ^ 1)) == (EQUAL, "")
    kind, said = compared(seen, seen.point(lambda value: value ^ 2))
    assert (kind, said) == (FAULT, "up to 2 of 255 from what Pillow shows, in 100.0% of pixels")
    turned = seen.transpose(Image.Transpose.ROTATE_90)
    assert compared(seen, turned) == (FAULT, "a size of (64, 48), Pillow has (48, 64)")


def crashes(content: bytes) -> tuple[str, str]:
    os._exit(3)


def hangs(content: bytes) -> tuple[str, str]:
    time.sleep(60)
    return EQUAL, ""


def is_large(content: bytes) -> tuple[str, str]:
    return EQUAL, str(len(bytearray(3 << 30)))


def raises(content: bytes) -> tuple[str, str]:
    raise ValueError("odd")


def test_a_process_that_ends_or_hangs_is_a_fault(folder: Path) -> None:
    file = folder / "text.png"
    assert limited(crashes, file) == (FAULT, "the process ended with 3")
    assert limited(hangs, file, seconds=0.2) == (FAULT, "not done after 0.2 seconds")
    assert limited(is_large, file) == (FAULT, "MemoryError: ")
    assert limited(raises, file) == (FAULT, "ValueError: odd")


def test_a_folder_that_is_not_there_is_skipped_with_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "none")]) == 0
    assert capsys.readouterr().out.endswith("none is not a folder; nothing was read.\n")
