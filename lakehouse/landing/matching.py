"""Which files of the landing zone belong to a stage, by its globs."""

from __future__ import annotations

import re
import unicodedata

from lakehouse.errors import UsageError
from lakehouse.stage import UNLABELLED, Stage

KINDS = ("readings", "error_lists", "photos")
APP_FOLDER = "app"
"""Below the landing directory: the photos that people give to the app."""
NOISE = re.compile(
    r"(?:.*/)?(?:(?:eh)?thumbs\.db|desktop\.ini|\.ds_store|\._[^/]*|~\$[^/]*|\.~lock\.[^/]*#)",
    re.DOTALL | re.IGNORECASE,
)
"""Names of files that Windows, macOS and Office add to a plant's folders."""
PACKED = re.compile(r"\.(?:gz|zip)$", re.IGNORECASE)


class Matcher:
    """Tells the kind and the label of a file by its path below the landing directory."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._flags = re.DOTALL | (0 if stage.case_sensitive else re.IGNORECASE)
        self._globs = {
            kind: [(label, self._pattern(glob)) for label, glob in _globs(stage, kind)]
            for kind in KINDS
        }
        self._ignored = [NOISE, *map(self._pattern, stage.ignore)]

    def of(self, file: str) -> dict[str, str | None]:
        """Return the kinds of the file, each with its label; a text file has none.

        Raises UsageError if the stage file gives one photo two labels.
        """
        plain = unicodedata.normalize("NFC", file)
        if self.is_ignored(plain):
            return {}
        found: dict[str, str | None] = {}
        for kind, globs in self._globs.items():
            names = [plain] if kind == "photos" else [plain, PACKED.sub("", plain)]
            labels = {label for label, pattern in globs if any(map(pattern.fullmatch, names))}
            if len(labels) > 1:
                raise UsageError(
                    f"stage {self._stage.name}: {file} is matched by the globs of "
                    f"{' and '.join(sorted(map(str, labels)))}; make them disjoint"
                )
            if labels:
                found[kind] = labels.pop()
        return found

    def is_ignored(self, file: str) -> bool:
        """Return whether the file is noise, or one of those that the stage does not want."""
        plain = unicodedata.normalize("NFC", file)
        return any(pattern.fullmatch(plain) for pattern in self._ignored)

    def _pattern(self, glob: str) -> re.Pattern[str]:
        return re.compile(_regex(glob), self._flags)


def _globs(stage: Stage, kind: str) -> list[tuple[str | None, str]]:
    if kind != "photos":
        source = stage.readings if kind == "readings" else stage.error_lists
        return [(None, glob) for glob in (source.files if source else ())]
    if stage.photos is None:
        return []
    labels = {**stage.photos.labels, UNLABELLED: stage.photos.unlabelled}
    return [(label, glob) for label, globs in labels.items() for glob in globs]


def _regex(glob: str) -> str:
    """Turn a glob into a pattern: * and ? match within one folder, ** any number of folders."""
    parts = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
    pieces = re.split(r"(\*\*/|\*\*|\*|\?)", unicodedata.normalize("NFC", glob))
    return "".join(parts.get(piece, re.escape(piece)) for piece in pieces)
