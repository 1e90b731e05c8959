"""Whether a thread waits for a lock of the lake."""

import threading
import time

from structlog.testing import capture_logs


def waits(thread: threading.Thread, seconds: float = 60) -> bool:
    """Start the thread; True once it has said that it waits, False if it ends without that."""
    with capture_logs() as said:
        thread.start()
        end = time.monotonic() + seconds
        while thread.is_alive() and time.monotonic() < end:
            if any(one["event"] == "waiting for another run" for one in list(said)):
                return True
            time.sleep(0.01)
    return False
