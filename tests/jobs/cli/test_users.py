"""Accounts from the command line."""

import re
from pathlib import Path

import pytest

from jobs.cli.main import invoke
from lakehouse.sql.database import Database
from serving.access.accounts import Accounts
from serving.access.sessions import LoginError


def test_an_account_from_beginning_to_end(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def said(*command: str, code: int = 0) -> str:
        assert invoke(["users", *command, "--lake", str(tmp_path)]) == code
        found = capsys.readouterr()
        return " ".join((found.err if code else found.out).split())

    assert "no accounts" in said("list")
    first = re.search(r"password (\S+), which", said("add", "Kim", "--role", "reviewer"))
    assert first
    accounts = Accounts(Database(f"sqlite:///{tmp_path}/summaries.db"))
    token = accounts.log_in("kim", first[1], "here")
    listed = said("list")
    assert "kim" in listed and "reviewer" in listed and first[1] not in listed
    assert "logged out everywhere" in said("disable", "kim")
    assert accounts.user(token) is None
    with pytest.raises(LoginError):
        accounts.log_in("kim", first[1], "here")
    said("enable", "kim")
    second = re.search(r"password is (\S+), which", said("reset", "kim"))
    assert second and accounts.log_in("kim", second[1], "here")
    code = said("invite").partition(" ")[0]
    accounts.sign_up("lee", "correct horse battery", code)
    assert "lee" in said("list")
    assert "no user 'park'" in said("disable", "park", code=2)
    assert "already" in said("add", "KIM", code=2)
    assert "no role 'owner'" in said("add", "park", "--role", "owner", code=2)
