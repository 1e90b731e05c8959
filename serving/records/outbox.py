"""The outbox: rows that wait on the local disk until SQL can be reached.

One SQLite file. A row is in it before the user sees the verdict, and leaves it after SQL has it.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any

from lakehouse.errors import PlatelakeError

Row = dict[str, Any]


class Outbox:
    """The waiting rows, oldest first. Safe for threads of one process."""

    def __init__(self, file: Path) -> None:
        self._lock = threading.Lock()
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(file, check_same_thread=False)
            self._connection.execute("PRAGMA synchronous = FULL")
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS waiting "
                "(id TEXT PRIMARY KEY, table_name TEXT NOT NULL, row TEXT NOT NULL)"
            )
            self._connection.commit()
        except (OSError, sqlite3.Error) as error:
            raise PlatelakeError(
                f"the app's folder {file.parent} cannot be used: {error}; make it writable, or "
                "set another one by PLATELAKE_APP_FOLDER"
            ) from None

    def put(self, key: str, table: str, row: Mapping[str, Any]) -> None:
        """Store the row on the disk, then return. A key that is there already is left as it is."""
        text = json.dumps(row, default=_plain)
        with self._lock, self._connection:
            self._connection.execute(
                "INSERT OR IGNORE INTO waiting VALUES (?, ?, ?)", (key, table, text)
            )

    def waiting(self) -> list[tuple[str, str, Row]]:
        """Return key, table and row of each waiting row."""
        query = "SELECT id, table_name, row FROM waiting ORDER BY rowid"
        with self._lock:
            found = self._connection.execute(query).fetchall()
        return [(key, table, _restored(json.loads(text))) for key, table, text in found]

    def find(self, key: str) -> Row | None:
        """Return the waiting row of this key, or None."""
        query = "SELECT row FROM waiting WHERE id = ?"
        with self._lock:
            found = self._connection.execute(query, (key,)).fetchone()
        return _restored(json.loads(found[0])) if found else None

    def drop(self, key: str) -> None:
        """Remove a row that SQL has now."""
        with self._lock, self._connection:
            self._connection.execute("DELETE FROM waiting WHERE id = ?", (key,))

    def count(self) -> int:
        """Count the waiting rows."""
        with self._lock:
            found: int = self._connection.execute("SELECT count(*) FROM waiting").fetchone()[0]
        return found

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()


def _plain(value: object) -> Row:
    if isinstance(value, datetime):
        return {"time": value.isoformat()}
    if isinstance(value, date):
        return {"date": value.isoformat()}
    raise TypeError(f"{value!r} cannot be stored in the outbox")


def _restored(row: Row) -> Row:
    return {
        name: _moment(value) if isinstance(value, dict) else value for name, value in row.items()
    }


def _moment(kept: Mapping[str, str]) -> date:
    if "time" in kept:
        return datetime.fromisoformat(kept["time"])
    return date.fromisoformat(kept["date"])
