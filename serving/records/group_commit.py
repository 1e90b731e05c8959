"""Group commit: write rows that arrive during one transaction together in the next.

A commit waits for the disk. SQLite has one writer at a time; the others sleep and try again. With a
group commit a row waits for two transactions at most, however many rows arrive.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from serving.records.outbox import Row

_Waiting = tuple[Row, Future[None]]


class GroupCommit:
    """Writes rows from many threads by `write`, which makes one transaction of each call.

    It has no thread of its own: the first waiting thread writes for all. `is_refused` tells whether
    a row caused an error of `write`. Then each row is written alone, so only that row fails. Any
    other error is raised for all rows of the transaction.
    """

    def __init__(
        self, write: Callable[[Sequence[Row]], None], is_refused: Callable[[Exception], bool]
    ) -> None:
        self._write, self._is_refused = write, is_refused
        self._queue: queue.SimpleQueue[_Waiting] = queue.SimpleQueue()
        self._turn = threading.Lock()

    def save(self, row: Row) -> None:
        """Commit the row, then return. Raise what `write` raised for it."""
        mine: Future[None] = Future()
        self._queue.put((row, mine))
        with self._turn:
            if not mine.done():  # Else another thread has written it.
                self._save([self._queue.get_nowait() for _ in range(self._queue.qsize())])
        mine.result(timeout=0)

    def _save(self, waiting: Sequence[_Waiting]) -> None:
        try:
            self._write([row for row, _ in waiting])
        except Exception as error:
            if len(waiting) > 1 and self._is_refused(error):
                for one in waiting:
                    self._save([one])
            else:
                for _, mine in waiting:
                    mine.set_exception(error)
        else:
            for _, mine in waiting:
                mine.set_result(None)
