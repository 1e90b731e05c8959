"""Find the damage in a JPEG that its decoder hides: it invents what is missing, without an error.

A JPEG does not say how many bytes its picture takes. So the picture is decoded again from changed
bytes. If bytes are added at the end and the picture changes, the decoder ran out of data. If the
last bytes are changed and the picture does not, the decoder had all its pixels long before.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass, field

import numpy as np
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

MARKER = re.compile(rb"\xff+([^\x00\xff])")
START, END, ALONE, SCAN, CODES, RESTART_INTERVAL = 0xD8, 0xD9, 0x01, 0xDA, 0xC4, 0xDD
RESTARTS = range(0xD0, 0xD8)
HUFFMAN, PROGRESSIVE = (0xC0, 0xC1, 0xC2), 0xC2
"""Frames that are checked. Other codings, such as the arithmetic one, may end early."""
TAIL = 32
"""Bytes at the end of a scan that may not be left over. Some cameras leave a few."""
HOLE = bytes(256)
"""No data of a photo are so many zeros, unless zeros are the code of a flat block."""
COLOURS = 4
"""Scans of a photo that is not progressive: one for all colours, or one for each."""
OTHER = b"\0" + bytes(np.random.default_rng(1).integers(0, 255, TAIL - 1, np.uint8))
"""Data that no picture has: without 0xFF, so that no marker starts in it."""


@dataclass
class Scan:
    """The compressed data of a scan: where its parts start and end, and their restart markers.

    `components` is how many colours the scan holds, `interval` the blocks between two markers.
    """

    components: int
    interval: int
    parts: list[tuple[int, int]] = field(default_factory=list)
    restarts: list[int] = field(default_factory=list)


@dataclass
class Jpeg:
    """A JPEG's first picture: its scans, the kind of its frame and the place behind its end.

    `flat_is_zero`: in every table of codes, the end of a block is the code of zeros.
    """

    scans: list[Scan] = field(default_factory=list)
    frame: int | None = None
    end: int | None = None
    flat_is_zero: bool = True


def parse(content: bytes) -> Jpeg:
    """Find the scans of the first picture; `end` is None if the end marker is missing."""
    found, at, interval = Jpeg(), 0, 0
    start = None
    while found.end is None and (marker := MARKER.search(content, at)):
        kind, at = marker[1][0], marker.end()
        if start is not None:
            found.scans[-1].parts.append((start, marker.start()))
        start = at if start is not None and kind in RESTARTS else None
        if kind == END:
            found.end = at
        elif kind in RESTARTS and start is not None:
            found.scans[-1].restarts.append(kind)
        elif kind not in (START, ALONE, *RESTARTS):
            segment = content[at : at + 4]
            length = max(2, int.from_bytes(segment[:2], "big"))
            at += length
            if kind == CODES:
                found.flat_is_zero &= _flat_is_zero(content[at - length + 2 : at])
            elif kind in HUFFMAN or (0xC3 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC)):
                found.frame = kind
            elif kind == RESTART_INTERVAL:
                interval = int.from_bytes(segment[2:], "big")
            elif kind == SCAN:
                start = at
                found.scans.append(Scan(segment[2] if len(segment) > 2 else 0, interval))
    return found


def _flat_is_zero(tables: bytes) -> bool:
    """Return whether the first code of these tables for details (not means) ends a block."""
    at, found = 0, True
    while at + 17 < len(tables):
        if tables[at] >> 4:
            found &= tables[at + 17] == 0
        at += 17 + sum(tables[at + 1 : at + 17])
    return found


def damage(content: bytes, image: JpegImageFile) -> str | None:
    """Return what is wrong with a JPEG that could be decoded; None: nothing.

    Args:
        content: The file's bytes, with the end marker.
        image: The picture that was decoded from them, as it is in the file.
    """
    jpeg = parse(content)
    if jpeg.frame not in HUFFMAN:
        return None
    if any(_lacks_parts(scan, image) for scan in jpeg.scans):
        return "the image is damaged: a part of its data is missing"
    if jpeg.frame != PROGRESSIVE and not jpeg.flat_is_zero and _has_hole(content, jpeg):
        return "the image is damaged: a part of its data is zeros"
    content, pixels = content[: jpeg.end], np.asarray(image)
    ends = [end for scan in jpeg.scans for _, end in scan.parts]
    if not np.array_equal(pixels, _pixels(_with(content, dict.fromkeys(ends, 0)))):
        return "the image is cut or damaged: its data end before the picture does"
    # Later scans of a progressive photo refine it; some of their data change nothing that is seen.
    for scan in jpeg.scans[:1] if jpeg.frame == PROGRESSIVE else jpeg.scans[:COLOURS]:
        start, end = scan.parts[-1]
        is_long = end - start >= 2 * TAIL and pixels.min() < pixels.max()
        if is_long and np.array_equal(pixels, _pixels(_with(content, {end - TAIL: TAIL}))):
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


def _with(content: bytes, places: dict[int, int]) -> bytes:
    """Put other data at these places; each replaces that many bytes."""
    pieces, at = [], 0
    for place, replaced in places.items():
        pieces += [content[at:place], OTHER]
        at = place + replaced
    return b"".join([*pieces, content[at:]])


def _pixels(content: bytes) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    image: Image.Image = JpegImageFile(io.BytesIO(content))
    return np.asarray(image)
