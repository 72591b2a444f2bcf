"""Backups: one file with the ledger and the generated secrets, taken while the bridge runs, and its restore.

The file is a gzipped tar of backup.json (when, of which version), ledger.db (SQLite, whatever the ledger is) and secrets.json.
"""

import json
import os
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path

from app.errors import LedgerError, LedgerUnavailable
from app.ledger.audit import note
from app.ledger.engine import Ledger
from app.ledger.forwarding.breaker import RESTORED
from app.ledger.reading.summary.stats import workers_alive
from app.ledger.schema import HEAD, check_schema, is_newer, upgrade
from app.ledger.transaction import Tx
from app.ledger.upkeep.copy import OWN_ROWS, CopyFailed, Progress, check_empty, copy_ledger
from app.times import iso

MANIFEST, LEDGER, SECRETS = "backup.json", "ledger.db", "secrets.json"
FORMAT = 1
REPLACED = OWN_ROWS | {"alerts", "audit", "refusals", "sandbox_requests"}
"""Tables of a ledger without events that a restore replaces."""
LARGEST_SMALL_FILE = 1024 * 1024


class BackupError(LedgerError):
    """The file cannot be written, or cannot be used."""


@dataclass(frozen=True, slots=True)
class Backup:
    """What a backup holds. taken_at: ms, the ledger's clock just before it was read."""

    taken_at: int
    version: str
    revision: str
    events: int
    deliveries: int
    open: int
    """Deliveries that were neither delivered nor given up when the backup was taken."""
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class Restored:
    backup: Backup
    paused: tuple[str, ...]
    secrets: Mapping[str, str]
    """The generated secrets of the backup; {} where it has none."""


def back_up(
    ledger: Ledger,
    file: Path,
    secrets: Mapping[str, str],
    version: str,
    progress: Progress = lambda _table, _done, _total: None,
) -> Backup:
    """Writes `file`, for its owner alone, once all of it is there; an older backup of that name is replaced.

    Needs room for the whole ledger beside `file` meanwhile. Raises BackupError, SchemaOutdated, LedgerUnavailable.
    """
    check_schema(ledger)
    if file.is_dir() or (file.exists() and _read_manifest(file) is None):
        raise BackupError(f"{file} exists and is not a backup: choose another name")
    try:
        with tempfile.TemporaryDirectory(dir=file.parent, prefix=".bridge-backup-") as folder:
            copy, whole = Path(folder) / LEDGER, Path(folder) / "whole"
            with ledger.read() as tx:
                taken_at = tx.now()
            try:
                _copy(ledger, copy, progress)
            except LedgerUnavailable as error:  # SQLite writes the copy itself
                raise BackupError(f"{file} was not written: {error.detail}") from error
            except CopyFailed as error:
                raise BackupError(f"{file} was not written: {error}") from error
            backup = _describe(copy, taken_at, version)
            _write(whole, backup, copy, secrets)
            whole.replace(file)
    except OSError as error:
        raise BackupError(f"{file} cannot be written: {error.strerror or error}") from error
    return backup


def restore(
    ledger: Ledger,
    file: Path,
    destinations: Sequence[str],
    progress: Progress = lambda _table, _done, _total: None,
) -> Restored:
    """Fills `ledger`, which holds no events, from `file`, and pauses every destination, those named `destinations` included.

    Raises BackupError or NotEmpty before anything is changed; SchemaOutdated; LedgerUnavailable.
    """
    paused: list[str] = []
    with _unpacked(file) as (backup, copy, secrets):
        if is_newer(backup.revision):
            raise BackupError(
                f"{file} has a newer schema ({backup.revision}) than this version ({HEAD}): restore it with the version"
                f" that made it ({backup.version}), or a later one"
            )
        check_empty(ledger, REPLACED)
        _check_nothing_runs(ledger)
        source = Ledger(f"sqlite:///{copy}")
        try:
            upgrade(source)
            finish: Callable[[Tx], None] = lambda tx: paused.extend(_pause_all(tx, destinations, backup))  # noqa: E731
            copy_ledger(source, ledger, progress, finish, REPLACED)
        finally:
            source.close()
    return Restored(backup, tuple(paused), secrets)


def _check_nothing_runs(ledger: Ledger) -> None:
    with ledger.read() as tx:
        if tx.has_table("workers") and workers_alive(tx, tx.now()):
            raise BackupError("a worker is running on this ledger: stop the bridge first")


def _pause_all(tx: Tx, configured: Sequence[str], backup: Backup) -> list[str]:
    """Pauses all destinations as if by hand, so that only a person can resume them."""
    known = set(tx.run("SELECT name FROM destinations").scalars())
    known |= set(tx.run("SELECT DISTINCT destination FROM deliveries WHERE due_at IS NOT NULL").scalars())
    names, now = sorted(known | set(configured)), tx.now()
    reason = f"{RESTORED} {iso(backup.taken_at)}"
    for name in names:
        tx.run("INSERT INTO destinations (name) VALUES (?) ON CONFLICT DO NOTHING", name)
        tx.run(
            "UPDATE destinations SET paused_at = ?, paused_reason = ?, paused_token = NULL, recheck_at = NULL WHERE name = ?",
            *(now, reason, name),
        )
    note(tx, "cli", "restore", "ledger", reason)
    return names


def _copy(ledger: Ledger, path: Path, progress: Progress) -> None:
    if ledger.is_sqlite:
        with ledger.autocommit() as connection:  # reads at one moment, and keeps nobody from writing
            connection.exec_driver_sql("VACUUM INTO ?", (str(path),))
        return
    target = Ledger(f"sqlite:///{path}")
    try:
        copy_ledger(ledger, target, progress)
    finally:
        target.close()


def _describe(copy: Path, taken_at: int, version: str) -> Backup:
    ledger = Ledger(f"sqlite:///{copy}")
    try:
        with ledger.read() as tx:
            counts = [
                int(tx.run(f"SELECT COUNT(*) FROM {rows}").scalar_one())
                for rows in ("events", "deliveries", "deliveries WHERE due_at IS NOT NULL")
            ]
        return Backup(taken_at, version, HEAD, *counts)
    finally:
        ledger.close()


def _write(path: Path, backup: Backup, copy: Path, secrets: Mapping[str, str]) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as opened:
        with tarfile.open(fileobj=opened, mode="w:gz", compresslevel=1) as archive:
            _add(archive, MANIFEST, json.dumps(asdict(backup), indent=2))
            if secrets:
                _add(archive, SECRETS, json.dumps(dict(secrets), indent=2))
            archive.add(copy, LEDGER, recursive=False)
        opened.flush()
        os.fsync(opened.fileno())


def _add(archive: tarfile.TarFile, name: str, text: str) -> None:
    data = text.encode()
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), 0o600
    archive.addfile(member, BytesIO(data))


def _read_manifest(path: Path) -> Backup | None:
    """The manifest of the backup `path`; None if it is not a backup."""
    try:
        with tarfile.open(path, mode="r:gz") as archive:
            first = archive.next()
            if first is None or first.name != MANIFEST:
                return None
            return Backup(**json.loads(_small(archive, first)))
    except (OSError, EOFError, ValueError, TypeError, zlib.error, tarfile.TarError):
        return None


def _small(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    opened = archive.extractfile(member)
    if opened is None or member.size > LARGEST_SMALL_FILE:
        raise ValueError(member.name)
    return opened.read()


@contextmanager
def _unpacked(file: Path) -> Iterator[tuple[Backup, Path, dict[str, str]]]:
    """The parts of a backup, the ledger's in a folder that goes at the end. Raises BackupError."""
    if not file.is_file():
        raise BackupError(f"{file} {'is not a file' if file.exists() else 'does not exist'}")
    backup = _read_manifest(file)
    if backup is None or backup.format != FORMAT:
        raise BackupError(f"{file} is not a backup that this version can read")
    secrets: dict[str, str] = {}
    with tempfile.TemporaryDirectory(dir=file.parent, prefix=".bridge-restore-") as folder:
        copy = Path(folder) / LEDGER
        try:
            with tarfile.open(file, mode="r:gz") as archive:
                for member in archive:
                    if member.name == SECRETS:
                        secrets = {str(name): str(value) for name, value in json.loads(_small(archive, member)).items()}
                    elif member.name == LEDGER and (opened := archive.extractfile(member)) is not None:
                        with copy.open("wb") as out:
                            shutil.copyfileobj(opened, out)
        except (EOFError, ValueError, zlib.error, tarfile.TarError, OSError) as error:
            raise BackupError(f"{file} is damaged: {error}") from error
        if not copy.exists():
            raise BackupError(f"{file} is damaged: it has no {LEDGER}")
        yield backup, copy, secrets
