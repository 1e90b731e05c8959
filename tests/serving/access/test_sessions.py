"""Sessions: who enters, who is refused, and what the audit says."""

import threading
from datetime import timedelta
from statistics import median
from time import perf_counter

import pytest
import sqlalchemy as sa

from serving.access.accounts import Accounts
from serving.access.attempts import (
    ACCOUNT_LIMIT,
    ADDRESS_LIMIT,
    PAIR_LIMIT,
    WINDOW,
    TooManyAttemptsError,
)
from serving.access.sessions import IDLE, SESSION, LoginError
from serving.tables import sessions, users
from tests.serving.access.conftest import HOME, PASSWORD, Clock, refused


def test_in_and_out(accounts: Accounts) -> None:
    token = accounts.log_in("Kim", PASSWORD, HOME)  # However it is written.
    user = accounts.user(token)
    assert user and (user.name, user.role) == ("kim", "operator") and user.csrf
    assert user.may("operator") and not user.may("reviewer")
    accounts.log_out(token, HOME)
    assert accounts.user(token) is None
    assert [entry["action"] for entry in accounts.audit()] == [
        "logged out",
        "logged in",
        "account made",
    ]


def test_the_database_holds_nothing_to_enter_with(accounts: Accounts) -> None:
    token = accounts.log_in("kim", PASSWORD, HOME)
    with accounts.database.transaction() as connection:
        kept = [*connection.execute(sa.select(users)), *connection.execute(sa.select(sessions))]
    assert PASSWORD not in str(kept) and token not in str(kept)
    assert "$argon2id$" in str(kept)


def test_a_session_is_new_at_each_login_and_ends(accounts: Accounts, clock: Clock) -> None:
    first = accounts.log_in("kim", PASSWORD, HOME)
    second = accounts.log_in("kim", PASSWORD, HOME, before=first)
    assert first != second and accounts.user(first) is None and accounts.user(second)
    clock.move(IDLE + timedelta(seconds=1))
    assert accounts.user(second) is None
    third = accounts.log_in("kim", PASSWORD, HOME)
    for _ in range(SESSION // IDLE * 2):
        assert accounts.user(third)
        clock.move(IDLE / 2)
    clock.move(timedelta(seconds=1))
    assert accounts.user(third) is None, "used all the time, and ended all the same"
    for unknown in ("", None, "x", "x" * 10_000, "🔥"):
        assert accounts.user(unknown) is None


@pytest.mark.heavy
def test_unknown_users_get_the_same_answer_in_the_same_time(accounts: Accounts) -> None:
    accounts.add("lee", password=PASSWORD, by="test")
    accounts.disable("lee", "boss")
    said = {
        refused(accounts, "kim", "wrong", "a"),
        refused(accounts, "nobody", "wrong", "b"),
        refused(accounts, "\0" * 500, "wrong", "c"),
        refused(accounts, "lee", PASSWORD, "d"),
    }
    assert len(said) == 1

    def seconds(name: str, address: str) -> float:
        start = perf_counter()
        refused(accounts, name, "wrong", address)
        return perf_counter() - start

    took = {
        name: median(seconds(name, f"{name}{number}") for number in range(9))
        for name in ("kim", "nobody")
    }
    assert 0.4 < took["kim"] / took["nobody"] < 2.5, took


@pytest.mark.heavy
def test_guessing_is_stopped_and_the_user_elsewhere_is_not(
    accounts: Accounts, clock: Clock
) -> None:
    accounts.log_in("kim", PASSWORD, HOME)
    for _ in range(PAIR_LIMIT):
        refused(accounts, "kim", "wrong")
    for _ in range(200):
        with pytest.raises(TooManyAttemptsError, match="15 minutes"):
            accounts.log_in("kim", PASSWORD, "10.9.9.9")
    for number in range(ACCOUNT_LIMIT - PAIR_LIMIT):
        refused(accounts, "kim", "wrong", f"10.9.1.{number}")
    with pytest.raises(TooManyAttemptsError):
        accounts.log_in("kim", PASSWORD, "10.9.2.1")
    assert accounts.user(accounts.log_in("kim", PASSWORD, HOME))
    clock.move(WINDOW + timedelta(seconds=1))
    assert accounts.log_in("kim", PASSWORD, "10.9.9.9")


@pytest.mark.heavy
def test_one_address_that_tries_many_names_is_stopped(accounts: Accounts) -> None:
    for number in range(ADDRESS_LIMIT):
        refused(accounts, f"user{number}", "wrong")
    with pytest.raises(TooManyAttemptsError):
        accounts.log_in("kim", PASSWORD, "10.9.9.9")
    assert accounts.log_in("kim", PASSWORD, HOME)


def test_guesses_at_the_same_moment_count(accounts: Accounts) -> None:
    outcomes: list[type[Exception]] = []

    def guess() -> None:
        try:
            accounts.log_in("kim", "wrong", "10.9.9.9")
        except (LoginError, TooManyAttemptsError) as error:
            outcomes.append(type(error))

    threads = [threading.Thread(target=guess) for _ in range(4 * PAIR_LIMIT)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(outcomes) == len(threads)
    assert outcomes.count(LoginError) == PAIR_LIMIT


def test_a_machine_acts_by_its_token_until_it_is_kept_out(accounts: Accounts) -> None:
    token = accounts.token("kim", "boss")
    user = accounts.machine(token)
    assert user and (user.name, user.role) == ("kim", "operator")
    assert accounts.machine("") is None and accounts.user(token) is None
    accounts.disable("kim", "boss")
    assert accounts.machine(token) is None
    accounts.disable("kim", "boss", False)
    assert accounts.machine(token) is None  # It ended when kim was disabled.
    made = [entry for entry in accounts.audit() if entry["action"] == "token made"]
    assert [(entry["user_name"], entry["object"]) for entry in made] == [("boss", "kim")]
