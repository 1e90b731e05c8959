"""Verdicts pushed to a webhook: a real server that fails first, and a verdict that never waits."""

import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from lakehouse.errors import UsageError
from lakehouse.settings import load_settings
from lakehouse.sql.database import Database, SqlError
from lakehouse.stage import load_stage
from serving.app import create_app
from serving.records.inspections import Records
from serving.records.outbox import Outbox
from serving.records.pushes import Pusher, waiting_pushes
from serving.tables import verdict_pushes
from tests.serving.conftest import opened_context
from tests.serving.live import served
from tests.serving.records.test_outbox import ONE


@dataclass
class Receiver:
    """A plant's server. `answers` are its next statuses; after them it says 200."""

    url: str = ""
    answers: list[int] = field(default_factory=list)
    got: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    pause: float = 0.0

    @property
    def ids(self) -> list[str]:
        return [headers["X-Platelake-Id"] for headers, _ in self.got]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    found = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            time.sleep(found.pause)
            found.got.append((dict(self.headers), content))
            self.send_response(found.answers.pop(0) if found.answers else 200)
            self.send_header("Location", f"{found.url}/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found.url = f"http://127.0.0.1:{server.server_port}/verdicts"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield found
        server.shutdown()
        thread.join(5)


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    outbox = Outbox(tmp_path / "app" / "outbox.db")
    yield Records(Database(f"sqlite:///{tmp_path / 'app.db'}"), outbox, pushed=True)
    outbox.close()


@dataclass
class Clock:
    now: datetime = ONE.inspected_at.replace(tzinfo=UTC) + timedelta(seconds=1)

    def __call__(self) -> datetime:
        return self.now

    def later(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def body(row: Mapping[str, Any]) -> bytes:
    return json.dumps({"id": row["inspection_id"], "lot": row["lot"]}).encode()


@pytest.fixture
def pusher(records: Records, receiver: Receiver) -> Iterator[tuple[Pusher, Clock]]:
    clock = Clock()
    found = Pusher(records.database, receiver.url, "a secret", body, clock)
    yield found, clock
    found.close()


def rows(records: Records) -> list[Any]:
    with records.database.transaction() as connection:
        return list(connection.execute(sa.select(verdict_pushes).order_by(verdict_pushes.c.id)))


def test_a_verdict_is_sent_again_until_it_arrives(
    records: Records, receiver: Receiver, pusher: tuple[Pusher, Clock]
) -> None:
    push, clock = pusher
    receiver.answers = [500, 503, 307]  # A redirection is not followed either.
    records.save(ONE)
    assert waiting_pushes(records.database) == 1 and receiver.got == []
    for tries in (1, 2, 3):
        assert push.push_due() == 0
        (row,) = rows(records)
        assert (row.tries, row.due_at) == (
            tries, clock.now.replace(tzinfo=None) + timedelta(seconds=2**tries)
        )  # fmt: skip
        assert push.push_due() == 0 and len(receiver.got) == tries  # Not before its time.
        clock.later(2**tries)
    assert row.error == "HTTP 307"
    assert push.push_due() == 1 and rows(records) == []
    assert receiver.ids == ["1f"] * 4
    headers, content = receiver.got[-1]
    assert json.loads(content) == {"id": "1f", "lot": "3"}
    signed = hmac.new(b"a secret", content, hashlib.sha256).hexdigest()
    assert headers["X-Platelake-Signature"] == f"sha256={signed}"


def test_one_that_is_refused_holds_up_no_other(
    records: Records, receiver: Receiver, pusher: tuple[Pusher, Clock]
) -> None:
    push, _ = pusher
    receiver.answers = [400]
    for name in ("1f", "2f", "3f"):
        records.save(replace(ONE, inspection_id=name))
    assert (push.push_due(), push.push_due()) == (0, 2)
    assert receiver.ids == ["1f", "2f", "3f"] and [r.inspection_id for r in rows(records)] == ["1f"]


def test_the_wait_grows_to_an_hour_at_most(
    records: Records, receiver: Receiver, pusher: tuple[Pusher, Clock]
) -> None:
    push, clock = pusher
    receiver.answers = [500] * 20
    records.save(ONE)
    for _ in range(20):
        push.push_due()
        (row,) = rows(records)
        wait = (row.due_at - clock.now.replace(tzinfo=None)).total_seconds()
        clock.later(wait)
    assert row.tries == 20 and wait == 3_600
    assert push.push_due() == 1


def test_nobody_listens(records: Records, pusher: tuple[Pusher, Clock]) -> None:
    push, _ = pusher
    records.save(ONE)
    push.url = "http://127.0.0.1:9/closed"
    assert push.push_due() == 0
    assert [row.error for row in rows(records)] == ["ConnectError"]


def test_what_waited_for_sql_is_pushed_once(
    records: Records, receiver: Receiver, pusher: tuple[Pusher, Clock], tmp_path: Path
) -> None:
    push, _ = pusher
    file, away = tmp_path / "app.db", tmp_path / "away.db"
    records.database.engine.dispose()
    file.rename(away)
    file.mkdir()  # No database can be here.
    assert not records.save(ONE)
    with pytest.raises(SqlError):
        push.push_due()
    file.rmdir()
    away.rename(file)
    assert records.deliver() == 1 and records.deliver() == 0
    assert push.push_due() == 1 and receiver.ids == ["1f"]


def test_two_processes_send_each_verdict_once(records: Records, receiver: Receiver) -> None:
    receiver.pause = 0.02
    names = [f"{n:02}" for n in range(20)]
    for name in names:
        records.save(replace(ONE, inspection_id=name))
    both = [Pusher(records.database, receiver.url, "", body) for _ in range(2)]
    threads = [threading.Thread(target=one.push_due) for one in both]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for one in both:
        one.close()
    assert sorted(receiver.ids) == names and rows(records) == []
    assert "X-Platelake-Signature" not in receiver.got[0][0]


def test_a_slow_receiver_holds_up_no_verdict(records: Records, receiver: Receiver) -> None:
    receiver.pause = 2.0
    records.save(ONE)
    push = Pusher(records.database, receiver.url, "", body)
    thread = threading.Thread(target=push.push_due)
    thread.start()
    time.sleep(0.3)  # It is sending now.
    assert records.save(replace(ONE, inspection_id="2f"))
    assert receiver.got == []  # The verdict is stored, and the first is still on its way.
    thread.join(30)
    push.close()
    assert receiver.ids[0] == "1f"


def test_the_app_pushes_what_its_interface_answers(
    tmp_path: Path, landing: Path, receiver: Receiver, waits: Callable[..., None]
) -> None:
    context = opened_context(
        tmp_path, landing, [load_stage("chromate")], lake=str(tmp_path / "lake"),
        verdict_webhook=receiver.url,
    )  # fmt: skip
    context.records.save(ONE)
    with served(create_app(context)):
        waits(lambda: receiver.got)
    told = json.loads(receiver.got[0][1])
    assert (told["stage"], told["verdict"], told["file"]) == ("chromate", "bad", "부품 1.png")
    assert told["link"] == "/inspections/1f" and told["inspected_at"] == "2021-09-06T07:00:01Z"
    context.outbox.close()
    context.accounts.database.engine.dispose()


@pytest.fixture
def waits() -> Callable[..., None]:
    def until(true: Callable[[], object]) -> None:
        deadline = time.monotonic() + 60
        while not true():
            assert time.monotonic() < deadline
            time.sleep(0.05)

    return until


@pytest.mark.parametrize("url", ["ftp://mes/x", "mes.plant/x", "http://user:pw@mes/x", "http:///x"])
def test_an_address_that_is_none(url: str) -> None:
    with pytest.raises(UsageError, match="verdict_webhook: is not a URL") as error:
        load_settings(verdict_webhook=url)
    assert "pw@" not in str(error.value)
