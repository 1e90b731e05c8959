"""Accounts: how they are made, changed and disabled."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from lakehouse.errors import UsageError
from lakehouse.sql.database import Database
from serving.access.accounts import INVITATION, Accounts
from serving.access.sessions import LoginError
from tests.serving.access.conftest import HOME, PASSWORD, Clock, refused


def test_sign_up_by_invitation_once(accounts: Accounts, clock: Clock) -> None:
    token = accounts.invite("kim", "reviewer")
    with pytest.raises(UsageError, match="unknown, used or expired"):
        accounts.sign_up("park", PASSWORD, "guessed")
    with pytest.raises(UsageError, match="already"):
        accounts.sign_up("KIM", PASSWORD, token)  # The invitation is not lost by that.
    accounts.sign_up("park", PASSWORD, token)
    user = accounts.user(accounts.log_in("park", PASSWORD, HOME))
    assert user and user.role == "reviewer"
    with pytest.raises(UsageError, match="unknown, used or expired"):
        accounts.sign_up("choi", PASSWORD, token)
    late = accounts.invite("kim")
    clock.move(INVITATION + timedelta(seconds=1))
    with pytest.raises(UsageError, match="unknown, used or expired"):
        accounts.sign_up("choi", PASSWORD, late)


def test_sign_up_open_and_off(sql_url: str) -> None:
    database = Database(sql_url)
    Accounts(database, "open").sign_up("kim", PASSWORD)
    with pytest.raises(UsageError, match="sign-up is off"):
        Accounts(database, "off").sign_up("lee", PASSWORD)
    with pytest.raises(UsageError, match="open, invitation, off"):
        Accounts(database, "anybody")


def test_changes_of_password_end_all_sessions(accounts: Accounts) -> None:
    token = accounts.log_in("kim", PASSWORD, HOME)
    user = accounts.user(token)
    assert user
    with pytest.raises(LoginError):
        accounts.change_password(user, "wrong", "another password", HOME)
    fresh = accounts.change_password(user, PASSWORD, "another password", HOME)
    assert accounts.user(token) is None and accounts.user(fresh)
    given = accounts.reset("kim", "boss")
    assert accounts.user(fresh) is None
    refused(accounts, "kim", "another password")
    last = accounts.log_in("kim", given, HOME)
    accounts.disable("kim", "boss")
    assert accounts.user(last) is None
    accounts.disable("kim", "boss", False)
    assert accounts.log_in("kim", given, HOME)
    assert [(one["name"], one["disabled"]) for one in accounts.everybody()] == [("kim", False)]


@pytest.mark.parametrize(
    ("act", "sentence"),
    [
        (lambda a: a.add("kim", by="boss"), "already"),
        (lambda a: a.add(" lee", by="boss"), "visible"),
        (lambda a: a.add("l\u202eee", by="boss"), "visible"),
        (lambda a: a.add("x" * 101, by="boss"), "1 to 100"),
        (lambda a: a.add("lee", "owner", by="boss"), "operator, reviewer, engineer, admin"),
        (lambda a: a.add("lee", password="short", by="boss"), "10 to 200"),
        (lambda a: a.add("Lee-Sang-Min", password="lee-sang-min", by="boss"), "must differ from"),
        (lambda a: a.reset("nobody", "boss"), "no user 'nobody'"),
        (lambda a: a.disable("nobody", "boss"), "no user 'nobody'"),
        (lambda a: a.invite("kim", "owner"), "operator, reviewer, engineer, admin"),
    ],
)
def test_what_cannot_be_done_is_said(
    accounts: Accounts, act: Callable[[Accounts], object], sentence: str
) -> None:
    with pytest.raises(UsageError, match=sentence):
        act(accounts)


def test_whom_a_provider_knows(sql_url: str, clock: Clock) -> None:
    accounts = Accounts(Database(sql_url), "invitation", clock)
    accounts.add("kim", "admin", PASSWORD, by="boss")
    subject = "https://provider.example 42"
    with pytest.raises(UsageError, match="invitation"):
        accounts.log_in_by_subject(subject, "lee", HOME)
    code = accounts.invite("boss", "reviewer")
    with pytest.raises(UsageError, match="already"):  # Never into the account of that name.
        accounts.log_in_by_subject(subject, "kim", HOME, invitation=code)
    entered = accounts.user(accounts.log_in_by_subject(subject, "lee", HOME, invitation=code))
    assert entered and (entered.name, entered.role) == ("lee", "reviewer")
    again = accounts.user(accounts.log_in_by_subject(subject, "lee now", HOME))
    assert again and again.id == entered.id and again.name == "lee"
    refused(accounts, "lee", "", HOME)  # There is no password to guess.
    accounts.disable("lee", "boss")
    with pytest.raises(LoginError, match="disabled"):
        accounts.log_in_by_subject(subject, "lee", HOME)
