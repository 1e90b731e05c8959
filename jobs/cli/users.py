"""The commands for the app's accounts: add, invite, list, disable, enable, reset, token."""

from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from jobs.accounts import COMMAND_LINE, open_accounts
from jobs.options import LakeOption, SqlUrl

users_app = typer.Typer(help="Who may use the app; accounts are in the summaries' database.")

Name = Annotated[str, typer.Argument(help="The user's name, in any case")]
Role = Annotated[str, typer.Option("--role", help="operator, reviewer, engineer or admin")]


def _say(text: str) -> None:
    Console(soft_wrap=True).print(Text(text))


@users_app.command("add")
def add(
    name: Name, role: Role = "operator", lake: LakeOption = None, sql_url: SqlUrl = None
) -> None:
    """Make an account; its random password is shown once."""
    password = open_accounts(lake, sql_url).add(name, role, by=COMMAND_LINE)
    _say(f"{name} may log in as {role} with the password {password}, which is shown only now")


@users_app.command("invite")
def invite(role: Role = "operator", lake: LakeOption = None, sql_url: SqlUrl = None) -> None:
    """A code with which one person may sign up, within a week."""
    from serving.access.accounts import INVITATION

    code = open_accounts(lake, sql_url).invite(COMMAND_LINE, role)
    _say(f"{code} lets one person sign up as {role}, within {INVITATION.days} days")


@users_app.command("list")
def everybody(lake: LakeOption = None, sql_url: SqlUrl = None) -> None:
    """All accounts."""
    from jobs.report import grid

    found = grid("name", "role", "state", "since (UTC)")
    for one in open_accounts(lake, sql_url).everybody():
        state = "disabled" if one["disabled"] else "enabled"
        since = f"{one['created_at']:%Y-%m-%d %H:%M}"
        found.add_row(Text(one["name"]), one["role"], state, since)
    Console().print(found if found.row_count else "There are no accounts; `platelake users add`")


@users_app.command("disable")
def disable(name: Name, lake: LakeOption = None, sql_url: SqlUrl = None) -> None:
    """Keep a user out, at once; nothing that the user did is lost."""
    open_accounts(lake, sql_url).disable(name, COMMAND_LINE)
    _say(f"{name} is disabled, and logged out everywhere")


@users_app.command("enable")
def enable(name: Name, lake: LakeOption = None, sql_url: SqlUrl = None) -> None:
    """Let a disabled user in again."""
    open_accounts(lake, sql_url).disable(name, COMMAND_LINE, False)
    _say(f"{name} may log in again")


@users_app.command("reset")
def reset(name: Name, lake: LakeOption = None, sql_url: SqlUrl = None) -> None:
    """A new random password, shown once; the user is logged out everywhere."""
    password = open_accounts(lake, sql_url).reset(name, COMMAND_LINE)
    _say(f"{name}'s password is {password}, which is shown only now")


@users_app.command("token")
def token(name: Name, lake: LakeOption = None, sql_url: SqlUrl = None) -> None:
    """A token with which a machine uses the HTTP interface as that user; shown once."""
    made = open_accounts(lake, sql_url).token(name, COMMAND_LINE)
    _say(f"{made} is {name}'s token, which is shown only now; send it as Authorization: Bearer")


def add_to(app: typer.Typer, panel: str) -> None:
    """Add the commands for accounts to this group of `--help`."""
    app.add_typer(users_app, name="users", no_args_is_help=True, rich_help_panel=panel)
