"""Read Pillow's corpus of odd images with the reader of photos.

    python benchmarks/odd_images.py DIR [--list]

DIR holds images, such as `Tests/images` of Pillow (https://github.com/python-pillow/Pillow), also
in its folders. Each is read in a process of its own, with 10 seconds and 2 GB beyond what Python
and its modules take. It is read, refused by a rule, or a fault: another exception, out of time, out
of memory. What is read and has 8 bits a colour is compared with what Pillow shows: upright, in sRGB
by its profile, transparency on white. A difference by more than 1 of 255 is a fault. It prints
counts and the faults; `--list` prints each file with its outcome.
"""

import argparse
import io
import multiprocessing
import re
import resource
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps
from PIL.TiffImagePlugin import BITSPERSAMPLE, TiffImageFile

from lakehouse.errors import PhotoError
from lakehouse.files.photos import FORMATS, read_photo, read_upright
from lakehouse.settings import load_settings
from lakehouse.stage import load_stage

SECONDS, MEMORY = 10, 2 << 30
PNG_DEPTH = 24
"""The place of a PNG's number of bits."""
SAME = 1
"""Pictures are equal if no value differs by more, of 255."""
READ, EQUAL, REFUSED, FAULT = "read", "equal to what Pillow shows", "refused", "fault"
STAGE, SETTINGS = load_stage("chromate"), load_settings()
Outcome = tuple[str, str]


def outcome(content: bytes) -> Outcome:
    """Return a file's class, and its rule or what is wrong."""
    try:
        read_photo(content, STAGE, SETTINGS)
    except PhotoError as error:
        return REFUSED, error.rule
    shown = as_pillow_shows(content)
    if shown is None:
        return READ, "not of 8 bits a colour"
    return compared(read_upright(content, SETTINGS), shown)


def compared(seen: Image.Image, shown: Image.Image) -> Outcome:
    """Compare what the reader sees with what Pillow shows."""
    if shown.size != seen.size:
        return FAULT, f"a size of {seen.size}, Pillow has {shown.size}"
    apart = np.abs(np.asarray(seen, np.int16) - np.asarray(shown, np.int16))
    if apart.max() > SAME:
        share = (apart.max(-1) > SAME).mean()
        return FAULT, f"up to {apart.max()} of 255 from what Pillow shows, in {share:.1%} of pixels"
    return EQUAL, ""


def as_pillow_shows(content: bytes) -> Image.Image | None:
    """Return the picture by Pillow alone; None if it does not have 8 bits a colour."""
    image = Image.open(io.BytesIO(content), formats=FORMATS)
    image.load()
    if bits(image, content) != 8:
        return None
    upright = ImageOps.exif_transpose(image)
    if upright.has_transparency_data:
        clear = upright.convert("RGBA")
        white = Image.new("RGBA", clear.size, "white")
        upright = Image.alpha_composite(white, clear).convert("RGB")
    elif upright.mode not in ("L", "RGB", "CMYK", "LAB"):
        upright = upright.convert("RGB")
    shown = in_srgb(upright, image.info.get("icc_profile") or b"")
    return shown or upright.convert("RGB")


def bits(image: Image.Image, content: bytes) -> int:
    """Return how many bits a colour has in the file; 8 for fewer."""
    if image.mode[0] in "IF" or (image.format == "PNG" and content[PNG_DEPTH] == 16):
        return 16
    said = image.tag_v2.get(BITSPERSAMPLE, ()) if isinstance(image, TiffImageFile) else ()
    return max(8, *said, 0)


def in_srgb(picture: Image.Image, profile: bytes) -> Image.Image | None:
    """Convert colours by the profile; None if there is none, or it is broken or of other pixels."""
    target, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    intent, flags = ImageCms.Intent.RELATIVE_COLORIMETRIC, ImageCms.Flags.BLACKPOINTCOMPENSATION
    try:
        source = lab if picture.mode == "LAB" else ImageCms.ImageCmsProfile(io.BytesIO(profile))
        return ImageCms.profileToProfile(picture, source, target, intent, "RGB", flags=flags)
    except (ImageCms.PyCMSError, OSError):
        return None


def memory() -> int:
    """Return the bytes of address space that this process has."""
    pages = re.search(r"VmSize:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(pages[1]) << 10 if pages else 0


def work(read: Callable[[bytes], Outcome], file: Path, answer: Connection) -> None:
    """Send a file's outcome; the process may end before."""
    resource.setrlimit(resource.RLIMIT_AS, (memory() + MEMORY,) * 2)
    warnings.simplefilter("ignore")
    try:
        answer.send(read(file.read_bytes()))
    except BaseException as error:
        answer.send((FAULT, f"{type(error).__name__}: {error}"[:200]))


def limited(read: Callable[[bytes], Outcome], file: Path, seconds: float = SECONDS) -> Outcome:
    """Return a file's outcome from a process of its own."""
    fork = multiprocessing.get_context("fork")
    here, there = fork.Pipe(duplex=False)
    process = fork.Process(target=work, args=(read, file, there))
    process.start()
    there.close()
    try:
        if here.poll(seconds):
            return here.recv()  # type: ignore[no-any-return]
        return FAULT, f"not done after {seconds} seconds"
    except EOFError:
        process.join()
        return FAULT, f"the process ended with {process.exitcode}"
    finally:
        here.close()
        process.kill()
        process.join()
        process.close()


def load_modules() -> None:
    """Import here what else each process would import when it reads its first picture."""
    for form in FORMATS:
        file = io.BytesIO()
        Image.linear_gradient("L").convert("RGB").save(file, form)
        assert outcome(file.getvalue()) == (EQUAL, "")


def report(found: dict[str, Outcome], all_files: bool) -> None:
    """Print counts, and the faults or all files."""
    print(f"{len(found)} files")
    kinds = Counter(kind for kind, _ in found.values())
    for kind in (EQUAL, READ, REFUSED, FAULT):
        print(f"  {kind}: {kinds[kind]}")
        reasons = Counter(why for one, why in found.values() if one == kind and why)
        for why, count in reasons.most_common() if kind != FAULT else ():
            print(f"    {why}: {count}")
    for name, (kind, said) in found.items():
        if all_files or kind == FAULT:
            print(f"  {name}: {kind}; {said}")


def main(given: Sequence[str]) -> int:
    """Read all files; return 1 if there is a fault."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path, help="a folder of images")
    parser.add_argument("--list", action="store_true", help="print each file with its outcome")
    asked = parser.parse_args(given)
    if not asked.folder.is_dir():
        print(f"{asked.folder} is not a folder; nothing was read.")
        return 0
    load_modules()
    files = sorted(file for file in asked.folder.rglob("*") if file.is_file())
    found = {str(file.relative_to(asked.folder)): limited(outcome, file) for file in files}
    report(found, asked.list)
    return int(any(kind == FAULT for kind, _ in found.values()))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
