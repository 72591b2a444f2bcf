"""Threads that look people up after each sweep, so that neither sweeping nor sending waits."""

import threading

import structlog

from app.bootstrap import make_policy
from app.config.settings import Settings
from app.errors import LedgerUnavailable
from app.ledger.engine import Ledger
from app.sources.catalog import source_called
from app.stripe_api.client import make_hasty_api
from app.stripe_api.lookup import Lookups

THREADS = 4
"""A look-up takes about 0.2 s, so a worker makes at most 20 requests a second to Stripe: a fifth of its limit."""

log = structlog.get_logger(__name__)


class LookupThreads:
    """Runs `lookups.look` when asked. Errors are logged and end nothing."""

    def __init__(self, lookups: Lookups, threads: int = THREADS) -> None:
        self._lookups = lookups
        self._asked = threading.Condition()
        self._rounds = 0
        self._stopping = False
        self._threads = [
            threading.Thread(target=self._run, name=f"look-up-{number}", daemon=True) for number in range(threads)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def ask(self) -> None:
        """Returns at once. Look-ups already running continue."""
        with self._asked:
            self._rounds += 1
            self._asked.notify_all()

    def stop(self) -> None:
        """Starts nothing new. Requests to Stripe in flight are abandoned, which is harmless."""
        with self._asked:
            self._stopping = True
            self._asked.notify_all()

    def _run(self) -> None:
        seen = 0
        while True:
            with self._asked:
                while self._rounds == seen and not self._stopping:
                    self._asked.wait()
                if self._stopping:
                    return
                seen = self._rounds
            try:
                self._lookups.look()
            except LedgerUnavailable as error:
                log.warning("ledger.unavailable", error=str(error))
            except Exception as error:
                log.error("lookup.broken", exc_info=error)


def make_lookups(settings: Settings, ledger: Ledger) -> LookupThreads | None:
    """None without STRIPE_API_KEY. The caller starts them. Raises ConfigurationError if it is not a key."""
    if settings.stripe_api_key is None:
        return None
    source = source_called("stripe", settings.config, settings.config_path)
    return LookupThreads(Lookups(make_hasty_api(settings), ledger, source, make_policy(settings)))
