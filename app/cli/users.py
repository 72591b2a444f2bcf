"""user and token: named users of the dashboard, and their API tokens."""

import sys
from collections.abc import Callable
from functools import partial

import click

from app.bootstrap import open_ledger
from app.cli.output import is_asking, say, say_json
from app.cli.table import print_table
from app.config.settings import load_settings
from app.ledger.access.passwords import Passwords, check_strength, generate_password
from app.ledger.access.roles import ROLES, Role
from app.ledger.access.tokens import make_token, revoke_token, tokens_of
from app.ledger.access.users import (
    User,
    add_user,
    all_users,
    check_free,
    clean_name,
    disable_user,
    enable_user,
    remove_user,
    set_password,
    set_role,
    user_named,
)
from app.ledger.engine import Ledger
from app.times import iso

ACTOR = "cli"
LONGEST_LINE = 4096
ROLE = click.Choice(ROLES)
GENERATE = click.option("--generate", is_flag=True, help="Generate the password and print it once.")


@click.group()
def user() -> None:
    """Manage the named users of the dashboard."""


@user.command("add")
@click.argument("name")
@click.option("--role", type=ROLE, required=True, help="viewer reads, operator also acts, admin also manages users.")
@GENERATE
def add(name: str, role: Role, generate: bool) -> None:
    """Add a user who signs in with a password.

    Asks for the password, or reads it from standard input.
    """
    ledger = _ledger()
    name = clean_name(name)
    with ledger.read() as tx:
        check_free(tx, name)
    password = _new_password(name, generate=generate)
    added = add_user(ledger, Passwords(), name, role, password, actor=ACTOR)
    say(f"Added {added.name} with the role {added.role}.", err=generate)
    _show(password, shown=generate)


@user.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
def list_users(as_json: bool) -> None:
    """List the users."""
    with _ledger().read() as tx:
        accounts = all_users(tx)
    if as_json:
        for account in accounts:
            say_json(account.as_json())
        return
    rows = (
        (
            account.name,
            account.role,
            "disabled" if account.is_disabled else "enabled",
            _moment(account.signed_in_at),
            account.issuer or "",
        )
        for account in accounts
    )
    if not print_table(("name", "role", "state", "last signed in", "signs in at"), rows):
        say("There are no named users: everyone signs in with DASHBOARD_PASSWORD or DASHBOARD_VIEWER_PASSWORD.")


@user.command("passwd")
@click.argument("name")
@GENERATE
def passwd(name: str, generate: bool) -> None:
    """Set another password for a user, which ends their sessions.

    Asks for the password, or reads it from standard input.
    """
    ledger = _ledger()
    account = _named(ledger, name)
    password = _new_password(account.name, generate=generate)
    set_password(ledger, Passwords(), account.id, password, actor=ACTOR)
    say(f"Changed the password of {account.name}. Their sessions have ended.", err=generate)
    _show(password, shown=generate)


@user.command("role")
@click.argument("name")
@click.argument("role", type=ROLE)
def change_role(name: str, role: Role) -> None:
    """Give a user another role, which ends their sessions."""
    changed = _change(name, partial(set_role, role=role, actor=ACTOR))
    say(f"{changed.name} has the role {changed.role}.")


@user.command("disable")
@click.argument("name")
def disable(name: str) -> None:
    """Disable a user: their sessions end, and their API tokens are refused."""
    changed = _change(name, partial(disable_user, actor=ACTOR))
    say(f"{changed.name} is disabled: their sessions have ended, and their API tokens are refused.")


@user.command("enable")
@click.argument("name")
def enable(name: str) -> None:
    """Enable a disabled user again."""
    changed = _change(name, partial(enable_user, actor=ACTOR))
    say(f"{changed.name} is enabled.")


@user.command("remove")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
def remove(name: str, yes: bool) -> None:
    """Remove a user with their sessions and API tokens. The audit log keeps what they did."""
    ledger = _ledger()
    account = _named(ledger, name)
    if not yes:
        click.confirm(f"Remove {account.name} and revoke their API tokens?", abort=True)
    remove_user(ledger, account.id, actor=ACTOR)
    say(f"Removed {account.name}.")


@click.group()
def token() -> None:
    """Manage the API tokens of named users."""


@token.command("add")
@click.argument("name", metavar="USER")
@click.argument("label")
@click.option("--role", type=ROLE, help="What the token may do: at most what the user may. Default: the same.")
@click.option("--days", type=click.IntRange(1), help="How long it lasts. Default: until it is revoked.")
def add_token(name: str, label: str, role: Role | None, days: int | None) -> None:
    """Create an API token and print it once.

    LABEL names the program that uses it; the audit log shows it.
    """
    ledger = _ledger()
    created, text = make_token(ledger, _named(ledger, name).id, label, role=role, days=days, actor=ACTOR)
    until = f", expires {_moment(created.expires_at)}" if created.expires_at else ""
    say(f"Token {created.id} of {name}, role {created.role}{until}. It is not shown again:", err=True)
    say(text)


@token.command("list")
@click.argument("name", metavar="USER")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
def list_tokens(name: str, as_json: bool) -> None:
    """List the API tokens of a user."""
    ledger = _ledger()
    owner = _named(ledger, name)
    with ledger.read() as tx:
        tokens = tokens_of(tx, owner.id)
    if as_json:
        for listed in tokens:
            say_json(listed.as_json())
        return
    rows = (
        (
            str(listed.id),
            f"cb_…{listed.hint}",
            listed.role,
            _moment(listed.used_at),
            _moment(listed.expires_at),
            listed.label,
        )
        for listed in tokens
    )
    if not print_table(("id", "token", "role", "last used", "expires", "label"), rows):
        say(f"{owner.name} has no API tokens.")


@token.command("revoke")
@click.argument("token_id", metavar="ID", type=click.IntRange(1))
def revoke(token_id: int) -> None:
    """Revoke an API token at once. `bridge token list` shows its ID."""
    gone = revoke_token(_ledger(), token_id, actor=ACTOR)
    say(f"Revoked token {gone.id} ({gone.label}).")


def _ledger() -> Ledger:
    return open_ledger(load_settings())


def _change(name: str, change: Callable[[Ledger, int], User]) -> User:
    """The user as they are after `change`. Raises AccessError."""
    ledger = _ledger()
    return change(ledger, _named(ledger, name).id)


def _named(ledger: Ledger, name: str) -> User:
    """Raises UserNotFound."""
    with ledger.read() as tx:
        return user_named(tx, name)


def _new_password(name: str, *, generate: bool) -> str:
    """Raises AccessError."""
    if generate:
        return generate_password()
    if is_asking():
        password: str = click.prompt("Password", hide_input=True, confirmation_prompt="Password again", err=True)
    else:
        password = sys.stdin.readline(LONGEST_LINE).removesuffix("\n").removesuffix("\r")
    check_strength(password, name)
    return password


def _show(password: str, *, shown: bool) -> None:
    if shown:
        say(password)


def _moment(milliseconds: int | None) -> str:
    return (iso(milliseconds) or "")[:19].replace("T", " ")
