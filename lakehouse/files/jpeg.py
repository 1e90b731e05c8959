"""Find the damage in a JPEG that its decoder hides: it invents what is missing, without an error.

A JPEG does not say how many bytes its picture takes. So the picture is decoded again from changed
bytes. If bytes are added at the end and the picture changes, the decoder ran out of data. If the
last bytes are changed and the picture does not, the decoder had all its pixels long before.
"""

from __future__ import annotations

import functools
import io
import re
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from PIL.JpegImagePlugin import JpegImageFile

MARKER = re.compile(rb"\xff([^\x00\xff])")
START, END, ALONE, SCAN, CODES, RESTART_INTERVAL = 0xD8, 0xD9, 0x01, 0xDA, 0xC4, 0xDD
RESTARTS = range(0xD0, 0xD8)
HUFFMAN, PROGRESSIVE = (0xC0, 0xC1, 0xC2), 0xC2
"""Frames that are checked. Other codings, such as the arithmetic one, may end early."""
TAIL = 32
"""Bytes at the end of a scan that may not be left over. Some cameras leave a few."""
HOLE = bytes(256)
"""No data of a photo are so many zeros, unless zeros are the code of a flat block."""
MOST_SCANS, MOST_PARTS = 100, 1 << 20
"""More are an attack: each scan goes over the whole picture, and each part takes memory."""
SCANS = 16
"""Scans of which the end is checked; a progressive photo has ten."""
OTHER = b"\0" + bytes(np.random.default_rng(1).integers(0, 255, 8 * TAIL - 1, np.uint8))
"""Data that no picture has, for several blocks: without 0xFF, so that no marker starts in it."""
MOST_PADDING = 1 << 24
"""Bytes that are added to a photo, if it has no more than one part for each 64 of them."""


@dataclass
class Scan:
    """The compressed data of a scan: where its parts start and end, and their restart markers.

    `components` is how many colours the scan holds, `interval` the blocks between two markers.
    `refines_means`: a scan of a progressive photo, whose bits may be too small to be seen.
    """

    components: int
    interval: int
    refines_means: bool
    parts: list[tuple[int, int]] = field(default_factory=list)
    restarts: list[int] = field(default_factory=list)


@dataclass
class Jpeg:
    """A JPEG's first picture: its scans, the kind of its frame and the place behind its end.

    `flat_is_zero`: in every table of codes, the end of a block is the code of zeros. `interval`:
    the blocks between two restart markers of the next scan.
    """

    scans: list[Scan] = field(default_factory=list)
    frame: int | None = None
    end: int | None = None
    flat_is_zero: bool = True
    interval: int = 0


def parse(content: bytes) -> Jpeg:
    """Find the scans of the first picture; `end` is None if the end marker is missing."""
    found, at, start, parts = Jpeg(), 0, None, 0
    while found.end is None and (marker := MARKER.search(content, at)):
        if parts > MOST_PARTS or len(found.scans) > MOST_SCANS:
            break
        kind, at = marker[1][0], marker.end()
        if start is not None:
            found.scans[-1].parts.append((start, marker.start()))
            parts += 1
        if kind in RESTARTS and start is not None:
            found.scans[-1].restarts.append(kind)
            start = at
        elif kind == END:
            found.end = at
        elif kind not in (START, ALONE, *RESTARTS):
            length = max(2, int.from_bytes(content[at : at + 2], "big"))
            _read_segment(found, kind, content[at + 2 : at + length])
            at += length
            start = at if kind == SCAN else None
    return found


def _read_segment(found: Jpeg, kind: int, body: bytes) -> None:
    if kind in HUFFMAN:
        found.frame = kind
    elif kind == CODES:
        found.flat_is_zero &= _flat_is_zero(body)
    elif kind == RESTART_INTERVAL:
        found.interval = int.from_bytes(body[:2], "big")
    elif kind == SCAN:
        found.scans.append(_scan(body, found.interval))


def _scan(head: bytes, interval: int) -> Scan:
    """Return a scan without its data.

    Its head: the number of colours, two bytes for each, the first detail (0 are the means) and the
    last, and in the upper half of a byte the bit that it refines; 0: it refines nothing.
    """
    if len(head) < 6:
        return Scan(0, interval, False)
    return Scan(head[0], interval, head[-3] == 0 and head[-1] >> 4 > 0)


def _flat_is_zero(tables: bytes) -> bool:
    """Return whether the first code of these tables for details (not means) ends a block."""
    at, found = 0, True
    while at + 17 < len(tables):
        if tables[at] >> 4:
            found &= tables[at + 17] == 0
        at += 17 + sum(tables[at + 1 : at + 17])
    return found


def damage(content: bytes) -> str | None:
    """Return what is wrong with a JPEG that can be decoded; None: nothing."""
    jpeg = parse(content)
    if len(jpeg.scans) > MOST_SCANS:
        return f"the image has more than {MOST_SCANS} scans"
    if jpeg.end is None:
        return "the image is cut: its end is missing"
    if jpeg.frame not in HUFFMAN:
        return None
    content, is_progressive = content[: jpeg.end], jpeg.frame == PROGRESSIVE
    if any(_lacks_parts(scan, JpegImageFile(io.BytesIO(content))) for scan in jpeg.scans):
        return "the image is damaged: a part of its data is missing"
    if not is_progressive and not jpeg.flat_is_zero and _has_hole(content, jpeg):
        return "the image is damaged: a part of its data is zeros"
    # The means of the blocks are decoded fast, but come from one scan only.
    sizes = (False,) if is_progressive or len(jpeg.scans) > 1 else (True, False)
    pixels = functools.cache(functools.partial(_pixels, content))
    ends = [end for scan in jpeg.scans for _, end in scan.parts]
    if not np.array_equal(pixels(sizes[0]), _pixels(_padded(content, ends), sizes[0])):
        return "the image is cut or damaged: its data end before the picture does"
    for scan in [scan for scan in jpeg.scans[:SCANS] if not scan.refines_means]:
        start, end = scan.parts[-1]
        changed = content[: end - TAIL] + OTHER[:TAIL] + content[end:]
        if (
            end - start >= 2 * TAIL
            and all(np.array_equal(pixels(size), _pixels(changed, size)) for size in sizes)
            and pixels(False).min() < pixels(False).max()
        ):
            return "the image is damaged: its data go on after the picture's end"
    return None


def _has_hole(content: bytes, jpeg: Jpeg) -> bool:
    return any(content.find(HOLE, *part) >= 0 for scan in jpeg.scans for part in scan.parts)


def _lacks_parts(scan: Scan, image: JpegImageFile) -> bool:
    """Return whether restart markers of the scan are missing; they are counted from 0 to 7."""
    if scan.restarts != [RESTARTS[at % 8] for at in range(len(scan.restarts))]:
        return True
    if not scan.interval or scan.components != len(image.layer):
        return False
    across = max(layer[1] for layer in image.layer) if scan.components > 1 else 1
    down = max(layer[2] for layer in image.layer) if scan.components > 1 else 1
    blocks = -(-image.width // (8 * across)) * -(-image.height // (8 * down))
    return len(scan.parts) < -(-blocks // scan.interval)


def _padded(content: bytes, places: list[int]) -> bytes:
    """Put other data before each of these places; less, if there are many."""
    pieces = [content[at:to] for at, to in pairwise([0, *places, len(content)])]
    return OTHER[: max(TAIL, MOST_PADDING // len(pieces))].join(pieces)


def _pixels(content: bytes, small: bool) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    """Decode the JPEG; if small, only the mean brightness of each block."""
    image = JpegImageFile(io.BytesIO(content))
    if small:
        image.draft("L", (1, 1))
    return np.asarray(image)
