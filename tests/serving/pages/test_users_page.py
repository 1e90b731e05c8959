"""What an admin does on pages: users, invitations, tokens, and the audit."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lakehouse.stage import load_stage
from serving.access.accounts import Accounts
from serving.app import create_app
from serving.context import AppContext
from tests.serving.conftest import Browser, opened_context

pytestmark = pytest.mark.heavy


@pytest.fixture
def context(tmp_path: Path, landing: Path) -> Iterator[AppContext]:
    made = opened_context(
        tmp_path, landing, [load_stage("chromate")], lake=str(tmp_path / "lake"),
        sign_up="invitation",
    )  # fmt: skip
    yield made
    made.outbox.close()
    made.accounts.database.engine.dispose()


@pytest.fixture
def enter(context: AppContext) -> Callable[..., Browser]:
    app = create_app(context, gradio=False)
    return lambda name="", role="operator": Browser(app, context, name, role)


def made(page: Any) -> str:
    found = re.search(r"<code>([^<]+)</code>", page.text)
    assert found, page.text
    return found[1]


def test_an_admin_changes_users(enter: Callable[..., Browser], context: AppContext) -> None:
    boss, kim = enter("boss", "admin"), enter("kim")
    password = made(boss.post("/users", act="add", name="Lee", role="reviewer"))
    lee = enter()
    lee.name = "lee"
    assert lee.log_in(password).status_code == 303 and lee.get("/review").status_code == 200
    boss.post("/users", act="role", name="lee", role="operator")
    assert lee.get("/review").status_code == 403
    boss.post("/users", act="disable", name="lee")
    assert lee.get("/lots").status_code == 303 and lee.log_in(password).status_code == 401
    boss.post("/users", act="enable", name="lee")
    again = made(boss.post("/users", act="reset", name="lee"))
    assert lee.log_in(password).status_code == 401 and lee.log_in(again).status_code == 303
    code = made(boss.post("/users", act="invite", role="operator"))
    new = {"name": "new", "password": "a long password", "invitation": code}
    assert enter().http.post("/sign-up", data=new).status_code == 303
    for form, status in (
        ({"act": "add", "name": "lee", "role": "operator"}, 400),
        ({"act": "add", "name": "x", "role": "king"}, 400),
        ({"act": "role", "name": "boss", "role": "operator"}, 400),
        ({"act": "disable", "name": "Boss"}, 400),
        ({"act": "token", "name": "kim", "days": "7000"}, 422),
        ({"act": "nothing"}, 422),
    ):
        assert boss.post("/users", **form).status_code == status, form
    assert boss.http.post("/users", data={"act": "invite", "role": "admin"}).status_code == 403
    for path in ("/users", "/audit", "/audit.csv"):
        assert kim.get(path).status_code == 403, path
    assert kim.post("/users", act="role", name="kim", role="admin").status_code == 403
    done = {(row["user_name"], row["action"]) for row in context.accounts.audit()}
    for action in ("account made", "role changed", "disabled", "enabled", "password reset"):
        assert ("boss", action) in done, action
    assert ("boss", "invited") in done and ("kim", "refused") in done


def test_a_token_has_a_name_and_an_end(enter: Callable[..., Browser], context: AppContext) -> None:
    boss, _ = enter("boss", "admin"), enter("line")
    page = boss.post("/users", act="token", name="line", token_name="press 4 <b>", days="30")
    token = made(page)
    assert "press 4 &lt;b&gt;" in page.text
    machine = enter()
    head = {"authorization": f"Bearer {token}", "accept": "application/json"}
    assert machine.get("/api/lots", headers=head).status_code == 200
    later = Accounts(context.accounts.database, now=lambda: datetime.now(UTC) + timedelta(days=31))
    assert later.machine(token) is None and context.accounts.machine(token)
    (row,) = context.accounts.tokens()
    assert boss.post("/users", act="revoke", token="0" * 64).status_code == 400
    assert boss.post("/users", act="revoke", token=row["token_sha256"]).status_code == 200
    assert machine.get("/api/lots", headers=head).status_code == 401
    endless = context.accounts.token("line", "test")
    assert later.machine(endless)


def test_the_audit_is_searched(enter: Callable[..., Browser], context: AppContext) -> None:
    boss = enter("boss", "admin")
    context.accounts.record("kim", "=corrected", "one")
    zone = context.first.stage.zone
    at = datetime(2026, 3, 1, 23, 30, tzinfo=zone)
    Accounts(context.accounts.database, now=lambda: at).record("lee", "corrected", "two")
    only = boss.get("/audit?user=Kim").text
    assert ">one<" in only and ">two<" not in only
    day = boss.get("/audit?first_day=2026-03-01&last_day=2026-03-01").text
    assert "2026-03-01 23:30:00" in day and ">one<" not in day
    assert ">two<" not in boss.get("/audit?last_day=2026-02-28").text
    assert boss.get("/audit?first_day=x").status_code == 422
    for odd in ("0001-01-01", "9999-12-31"):
        assert boss.get(f"/audit?first_day={odd}&last_day={odd}").status_code == 200
    text = boss.get("/audit.csv?action=corrected").text
    assert text.splitlines()[1] == "2026-03-01T14:30:00Z,lee,corrected,two,"
    assert "'=corrected" in boss.get("/audit.csv").text
