"""A thread of every web and worker process that reloads the configuration when it is asked to: by SIGHUP, or through the ledger."""

import os
import secrets
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import structlog

from app.config.settings import Settings
from app.errors import BridgeError, LedgerUnavailable
from app.ledger.engine import Ledger
from app.ledger.sealing.keys import missing_keys
from app.ledger.upkeep.processes import Process, forget_process, last_request, report
from app.reloading.settings import Reloaded, reload_settings

LOOK_SECONDS = 1.0
SEEN_SECONDS = 20.0

log = structlog.get_logger(__name__)


class Reloader:
    """Looks for requests every second, and reports the result to the ledger. role: web or worker.

    apply: applies the checked settings. If it raises, the error is reported and the configuration does not change.
    """

    def __init__(self, ledger: Ledger, settings: Settings, role: str, apply: Callable[[Reloaded], None]) -> None:
        self._ledger = ledger
        self._settings = settings
        self._apply = apply
        name = f"{role}-{os.getpid()}-{secrets.token_hex(4)}"
        self._process = Process(name, role, socket.gethostname(), os.getpid(), 0)
        self._is_known = False
        """Whether the ledger has this process, with the newest request when it started."""
        self._hangups = 0
        self._unreported = False
        self._seen_at = 0.0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="reloader", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread, and takes this process from the ledger. Idempotent."""
        self._stopping.set()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join(5)
        if self._is_known:
            try:
                self._ledger.transact(lambda tx: forget_process(tx, self._process.name))
            except LedgerUnavailable as error:
                log.warning("ledger.unavailable", error=str(error))

    def ask(self) -> None:
        """Returns at once; safe in a signal handler."""
        self._hangups += 1

    def await_hangups(self) -> None:
        """Handles SIGHUP on its own thread, whatever the main thread runs. Needs hold_hangups() of app.stack.processes."""
        threading.Thread(target=self._take_hangups, name="hangups", daemon=True).start()

    def _take_hangups(self) -> None:
        while True:
            signal.sigwait({signal.SIGHUP})
            self.ask()

    def look(self) -> None:
        """One round. Raises LedgerUnavailable."""
        asked, self._hangups = self._hangups, 0
        newest = self._process.answered
        try:
            with self._ledger.read() as tx:
                newest, now = last_request(tx), tx.now()
            if not self._is_known:
                self._process = replace(self._process, loaded_at=self._process.loaded_at or now, answered=newest)
                self._report()
                self._is_known = True
        except LedgerUnavailable:
            if not asked:
                raise
        if missing_keys(self._ledger):
            log.error("encryption.key_missing", effect="this process ends: it cannot read what others write")
            os.kill(os.getpid(), signal.SIGTERM)
        if asked or newest > self._process.answered:
            self._reload(newest)
        elif self._unreported or time.monotonic() - self._seen_at > SEEN_SECONDS:
            self._report()

    def _reload(self, request: int) -> None:
        now = int(time.time() * 1000)
        try:
            reloaded = reload_settings(self._settings)
            self._apply(reloaded)
        except BridgeError as error:
            log.error("configuration.rejected", error=str(error))
            self._process = replace(self._process, answered=request, answered_at=now, problem=str(error))
        except Exception as error:
            log.error("configuration.rejected", exc_info=error)
            problem = f"it could not be taken over ({type(error).__name__}); the log of this process has the details"
            self._process = replace(self._process, answered=request, answered_at=now, problem=problem)
        else:
            self._settings = reloaded.settings
            log.info("configuration.reloaded", changed=reloaded.changed, needs_restart=reloaded.kept)
            self._process = replace(
                self._process,
                loaded_at=now,
                answered=request,
                answered_at=now,
                problem=None,
                changed=reloaded.changed,
                kept=reloaded.kept,
            )
        self._unreported = True
        self._report()

    def _report(self) -> None:
        self._ledger.transact(lambda tx: report(tx, self._process))
        self._unreported, self._seen_at = False, time.monotonic()

    def _run(self) -> None:
        while True:
            try:
                self.look()
            except LedgerUnavailable as error:
                log.debug("ledger.unavailable", error=str(error))
            except Exception as error:
                log.error("reloader.failed", exc_info=error)
            if self._stopping.wait(LOOK_SECONDS):
                return
