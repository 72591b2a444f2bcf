"""The secrets that `bridge up` makes up where none are set, and keeps in BRIDGE_HOME for the other commands to find."""

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

from app.errors import ConfigurationError

SECRETS_FILE = "secrets.json"
GENERATED = ("DASHBOARD_PASSWORD", "API_TOKEN", "SECRET_KEY")
SANDBOX_SOURCES = ("STRIPE", "TYPEFORM")
"""Whose signing secrets are generated too; they count in sandbox mode alone."""


def read_made_up_secrets(home: Path) -> dict[str, str]:
    """What `bridge up` generated into BRIDGE_HOME; {} where it never ran."""
    try:
        kept = json.loads((home / SECRETS_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ConfigurationError(f"BRIDGE_HOME: {home / SECRETS_FILE} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise ConfigurationError(f"BRIDGE_HOME: {home / SECRETS_FILE} cannot be read: {error}") from error
    if not isinstance(kept, dict):
        raise ConfigurationError(f"BRIDGE_HOME: {home / SECRETS_FILE} cannot be read: it is not a JSON object")
    return {str(name): str(value) for name, value in kept.items()}


def make_home(home: Path) -> None:
    """Makes BRIDGE_HOME, for its owner alone, where it is not there. Raises ConfigurationError if nothing can be kept in it."""
    try:
        home.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise ConfigurationError(f"BRIDGE_HOME: {home.resolve()} cannot be made: {error.strerror}") from error
    if not os.access(home, os.W_OK | os.X_OK):
        raise ConfigurationError(f"BRIDGE_HOME: {home.resolve()} cannot be written by this user")


def make_up_secrets(home: Path) -> dict[str, str]:
    """Fills BRIDGE_HOME/secrets.json (readable by its owner alone) with what is missing; returns all of it. Idempotent.

    Raises ConfigurationError if BRIDGE_HOME cannot be used.
    """
    make_home(home)
    kept = read_made_up_secrets(home)
    fresh = {name: secrets.token_urlsafe(12 if name == "DASHBOARD_PASSWORD" else 32) for name in GENERATED}
    fresh |= {f"{source}_WEBHOOK_SECRET": f"whsec_{secrets.token_hex(24)}" for source in SANDBOX_SOURCES}
    merged = fresh | kept
    if merged != kept:
        _write(home / SECRETS_FILE, merged)
    return merged


def replace_secrets(home: Path, restored: Mapping[str, str]) -> Path | None:
    """Puts the secrets of a backup into BRIDGE_HOME. Returns where other ones that were there are kept now.

    Raises ConfigurationError if BRIDGE_HOME cannot be used.
    """
    make_home(home)
    before, path = read_made_up_secrets(home), home / SECRETS_FILE
    if before == restored:
        return None
    kept = path.with_suffix(".before-restore") if before else None
    if kept is not None:
        _write(kept, before)
    _write(path, restored)
    return kept


def _write(path: Path, secrets_by_name: Mapping[str, str]) -> None:
    fresh = path.with_suffix(".new")
    try:
        fresh.unlink(missing_ok=True)
        fresh.touch(mode=0o600)
        fresh.write_text(json.dumps(dict(secrets_by_name), indent=2) + "\n", encoding="utf-8")
        fresh.replace(path)
    except OSError as error:
        raise ConfigurationError(f"BRIDGE_HOME: {path} cannot be written: {error.strerror}") from error
