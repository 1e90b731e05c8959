"""Gather the rows of long files, a row a variable, to readings, a row a moment.

Each row of a file goes to one place: into a reading, to the lots, to the variables that the stage
ignores, or, with a fault, into the quarantine.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lakehouse.errors import PlatelakeError
from lakehouse.files.headers import folded
from lakehouse.files.rules import BAD_QUALITY, REPEATED_VALUE, UNKNOWN_VARIABLE, Mask, as_mask
from lakehouse.stage_sections import Long, Readings

VARIABLE, VALUE, QUALITY = "long variable", "long value", "long quality"
"""Fields of a long file besides lot, time and key."""
UNKNOWN, IGNORED, LOT = -3, -2, -1
"""Roles of rows without a variable of the stage; other rows have their variable's place."""
BETWEEN = "; "
"""Between the cells of a reading's rows in the quarantine."""

Cells = dict[str, pa.Array]
Places = NDArray[np.int64]


class Wide(NamedTuple):
    """Readings: file, line of the first row, cells and fault; and the cells of each field."""

    batch: pa.RecordBatch
    cells: Cells


def gathered(
    batch: pa.RecordBatch, cells: Cells, moment: pa.Array, source: Readings, rows: Mapping[str, int]
) -> Wide:
    """Gather the rows of whole files to readings, file by file.

    Args:
        batch: Rows as `read_cells` gives them, with the column `file`; each file in one piece.
        cells: Each field's cells; null in rows with a fault.
        moment: The moment of each row; null if it cannot be read.
        source: What the stage says about its sensor files.
        rows: How many rows each file must have.

    Raises:
        PlatelakeError: A file has another number of rows than was counted before.
    """
    files = batch["file"].dictionary_encode()
    starts = np.flatnonzero(np.diff(files.indices.to_numpy(), prepend=-1))
    parts = []
    for start, end in zip(starts, [*starts[1:], len(batch)], strict=True):
        own = batch.slice(start, end - start)
        file = own["file"][0].as_py()
        if len(own) != rows[file]:
            raise PlatelakeError(f"{file}: {len(own)} rows where {rows[file]} were counted")
        some = {name: column.slice(start, end - start) for name, column in cells.items()}
        parts.append(_File(own, some, moment.slice(start, end - start), source).wide())
    if not parts:
        return Wide(batch, {name: pa.nulls(0, pa.string()) for name in _names(source)})
    batches = [part.batch for part in parts]
    joined = {n: pa.concat_arrays([part.cells[n] for part in parts]) for n in parts[0].cells}
    return Wide(pa.concat_batches(batches), joined)


def runs(batch: pa.RecordBatch, cells: Mapping[str, pa.Array]) -> pa.Array:
    """Return a text for each row that is equal in the rows of one file and variable."""
    return pc.binary_join_element_wise(
        batch["file"], pc.fill_null(cells[VARIABLE], ""), "\0", null_handling="replace"
    )


def _names(source: Readings) -> list[str]:
    """Return the fields of a reading, of a file that is not long."""
    lot = [] if "lot" in source.columns else ["lot"]
    return [
        *(name for name in source.columns if name not in (VARIABLE, VALUE, QUALITY)),
        *lot,
        *(variable.name for variable in source.variables),
    ]


class _File:
    """The rows of one long file."""

    def __init__(
        self, batch: pa.RecordBatch, cells: Cells, moment: pa.Array, source: Readings
    ) -> None:
        assert source.long is not None
        self._batch, self._cells, self._source = batch, cells, source
        self._long: Long = source.long
        self._at: Places = np.arange(len(batch))
        self._has_moment = as_mask(moment.is_valid())
        self._moment: Places = pc.fill_null(pc.cast(moment, pa.int64()), 0).to_numpy()
        self._roles = self._find_roles()
        self._faults = batch["fault"].to_numpy(zero_copy_only=False).copy()

    def wide(self) -> Wide:
        """Return the file's readings, and below them its rows with a fault."""
        self._find_faults()
        values = self._grouped()
        first = values.groupby("reading")["at"].first().to_numpy()
        held: Places = self._at[pd.notna(self._faults)]
        cells = {
            name: self._cells[name].take(self._places(first, held))
            for name in _names(self._source)
            if name in self._cells
        }
        if self._long.lot:
            lots = [*self._lots_at(first), *[None] * len(held)]
            cells["lot"] = pa.array(lots, pa.string())
        for place, variable in enumerate(self._source.variables):
            own = values[values["role"] == place]
            cells[variable.name] = self._values_of(own, len(first), len(held))
        lines = self._batch["line"].take(pa.array(np.concatenate([first, held])))
        faults = pa.array([*[None] * len(first), *self._faults[held]], pa.string())
        files = self._batch["file"].slice(0, 1).take(pa.array(np.zeros(len(lines), np.int64)))
        shown = pa.concat_arrays(
            [self._shown(values, first), self._batch["cells"].take(pa.array(held))]
        )
        batch = pa.RecordBatch.from_arrays([files, lines, shown, faults], names=_COLUMNS)
        return Wide(batch, cells)

    def _find_roles(self) -> Places:
        """Return each row's role, by the variable that it names."""
        exact: dict[str, int] = {}
        for place, variable in enumerate(self._source.variables):
            exact |= dict.fromkeys(variable.column, place)
        exact |= dict.fromkeys(self._long.lot, LOT)
        alike: dict[str, int] = {}
        for name, place in exact.items():
            same = alike.setdefault(folded(name), place)
            alike[folded(name)] = place if same == place else UNKNOWN
        said = "|".join(".*".join(map(re.escape, one.split("*"))) for one in self._long.ignore)
        ignored = re.compile(said or r"(?!)", re.IGNORECASE | re.DOTALL).fullmatch

        def role(name: str) -> int:
            name = name.strip()
            found = exact.get(name, alike.get(folded(name), UNKNOWN))
            return IGNORED if found == UNKNOWN and ignored(name) else found

        coded = self._cells[VARIABLE].dictionary_encode()
        names = coded.dictionary.to_pylist()
        roles: Places = np.array([*(role(name) for name in names), UNKNOWN], np.int64)
        found: Places = roles[pc.fill_null(coded.indices, len(names)).to_numpy()]
        return found

    def _find_faults(self) -> None:
        """Give a fault to rows of unknown variables, of bad quality, and of repeated values."""
        whole = ~pd.notna(self._faults)
        self._set(whole & (self._roles == UNKNOWN), UNKNOWN_VARIABLE, self._cells[VARIABLE])
        if self._long.quality:
            good = pa.array(self._long.quality.good)
            said = pc.utf8_trim_whitespace(self._cells[QUALITY])
            bad = whole & (self._roles > IGNORED) & ~as_mask(pc.is_in(said, good))
            self._set(bad, BAD_QUALITY, self._cells[QUALITY])

    def _set(self, rows: Mask, fault: str, said: pa.Array) -> None:
        for at in np.flatnonzero(rows).tolist():
            self._faults[at] = f"{fault}: '{said[at].as_py()}'"

    def _grouped(self) -> pd.DataFrame:
        """Return the rows of variables with the `reading` that each belongs to, from 0."""
        sound = (self._roles >= 0) & ~pd.notna(self._faults)
        frame = pd.DataFrame({"at": self._at, "role": self._roles, "moment": self._moment})
        frame["alone"] = np.where(self._has_moment, -1, self._at)
        for name in self._shared():
            frame[name] = _codes(self._cells[name])
        frame = frame[sound]
        within = ["alone", "moment", *self._shared()]
        frame["turn"] = frame.groupby([*within, "role"], sort=False)["at"].cumcount()
        if not self._source.sequence:
            again = frame[frame["turn"] > 0]
            said = self._cells[VARIABLE]
            for at in again["at"].tolist():
                self._faults[at] = f"{REPEATED_VALUE} of one moment: '{said[at].as_py()}'"
            frame = frame[frame["turn"] == 0]
        key = [*within, "turn"]
        frame = frame.sort_values(["alone", "moment", "turn", "at"], kind="stable")
        frame["reading"] = frame.groupby(key, sort=False).ngroup()
        found: pd.DataFrame = frame.sort_values(["reading", "at"], kind="stable")
        return found

    def _shared(self) -> list[str]:
        """Return the fields, besides the time, that the rows of a reading share."""
        return [n for n in ("lot", "line", *self._source.key) if n in self._cells]

    def _places(self, first: Places, held: Places) -> pa.Array:
        """Return the places of the readings' first rows, and null for rows with a fault."""
        nothing = np.concatenate([np.zeros(len(first), bool), np.ones(len(held), bool)])
        return pa.array(np.concatenate([first, held]), mask=nothing)

    def _values_of(self, own: pd.DataFrame, readings: int, held: int) -> pa.Array:
        places = np.full(readings + held, -1)
        places[own["reading"].to_numpy()] = own["at"].to_numpy()
        return self._cells[VALUE].take(pa.array(places, mask=places < 0))

    def _shown(self, values: pd.DataFrame, first: Places) -> pa.Array:
        """Return the cells of each reading: its first row's, but all its variables and values."""
        if not len(first):
            return pa.array([], pa.list_(pa.string()))
        starts = np.flatnonzero(np.diff(values["reading"].to_numpy(), prepend=-1))
        offsets = pa.array(np.append(starts, len(values)).astype(np.int32))
        every = self._batch["cells"].take(pa.array(values["at"].to_numpy()))
        width = len(every[0])
        flat = every.flatten()
        columns = []
        for place in range(width):
            cells = flat.take(pa.array(np.arange(len(values)) * width + place))
            several = pc.binary_join(pa.ListArray.from_arrays(offsets, cells), BETWEEN)
            once = cells.take(pa.array(starts))
            columns.append(several if self._is_own(cells, values, starts) else once)
        joined = pa.concat_arrays(columns)
        order = np.arange(len(joined)).reshape(width, -1).T.ravel()
        ends = pa.array(np.arange(0, len(joined) + 1, width, dtype=np.int32))
        return pa.ListArray.from_arrays(ends, joined.take(pa.array(order)))

    def _is_own(self, cells: pa.Array, values: pd.DataFrame, starts: Places) -> bool:
        """Return whether the rows of a reading have other cells in that column."""
        codes = _codes(cells)
        sizes = np.diff(np.append(starts, len(values)))
        return bool((codes != np.repeat(codes[starts], sizes)).any())

    def _lots_at(self, first: Places) -> list[str | None]:
        """Return the lot of each reading: that of the last row of lots at its moment or before.

        It is not known from a row on that cannot be read, since it may be such a row, or if two
        lots have one moment.
        """
        groups = _codes(self._cells["line"]) if "line" in self._cells else np.zeros(len(self._at))
        lots, lost = self._lot_rows()
        found: list[str | None] = [None] * len(first)
        for group in np.unique(groups[first]):
            own = lots[groups[lots] == group]
            texts: list[str | None] = self._cells[VALUE].take(pa.array(own)).to_pylist()
            moments = np.concatenate([self._moment[own], lost])
            texts += [None] * len(lost)
            order = np.argsort(moments, kind="stable")
            moments, texts = moments[order], [texts[at] for at in order]
            ends = np.searchsorted(moments, self._moment[first], "right") - 1
            for place in np.flatnonzero(groups[first] == group).tolist():
                end = int(ends[place])
                start = int(np.searchsorted(moments, moments[end], "left")) if end >= 0 else end
                said = {(text or "").strip() or None for text in texts[start : end + 1]}
                found[place] = said.pop() if end >= 0 and len(said) == 1 else None
        return found

    def _lot_rows(self) -> tuple[Places, Places]:
        """Return the places of the rows of lots, and the moments from where none is known."""
        whole = ~pd.notna(self._faults)
        is_lot = (self._roles == LOT) & self._has_moment & whole
        blank = as_mask(pc.equal(pc.utf8_trim_whitespace(self._cells[VARIABLE]), ""))
        unread = as_mask(self._batch["fault"].is_valid()) | blank
        unread |= (self._roles == LOT) & ~is_lot
        before = pd.Series(np.where(self._has_moment, self._moment, np.nan)).ffill()
        lost = before[unread].fillna(np.iinfo(np.int64).min // 2).to_numpy()
        return self._at[is_lot], lost.astype(np.int64)


_COLUMNS = ["file", "line", "cells", "fault"]


def _codes(texts: pa.Array) -> Places:
    """Return a number for each text, equal if the trimmed texts are."""
    codes = pc.utf8_trim_whitespace(texts).dictionary_encode().indices
    found: Places = pc.fill_null(codes, -1).to_numpy().astype(np.int64)
    return found
