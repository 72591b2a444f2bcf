"""A thread that looks for conditions and reports them: of every worker, and of every web process, which is there when no worker is.

Of all of them one looks each quarter of a minute, and one sends each message: who, the ledger decides. Nobody waits for it.
"""

import secrets
import threading
import time
from collections.abc import Callable

import structlog

from app.alerts.messages import text_of
from app.alerts.post import AlertUnsent, post
from app.config.proxies import Proxies
from app.config.settings import Settings
from app.destinations.target import destinations_of, live_names
from app.errors import LedgerUnavailable
from app.ledger.alerting import incidents
from app.ledger.alerting.conditions import Detector
from app.ledger.cursors import round_is_due, take_round
from app.ledger.engine import Ledger, look
from app.ledger.transaction import Tx
from app.sources.catalog import all_sources

ROUND_SECONDS = 15.0
PATIENCE_SECONDS = 30.0
"""A message claimed longer ago is not sent: the claim is somebody else's soon."""

log = structlog.get_logger(__name__)


class AlertThread:
    """Looks, and tells, now and then by itself and whenever asked. Nothing that fails there ends it, or harms anything else.

    clock: milliseconds by the database's clock, unless a test knows better.
    """

    def __init__(
        self,
        ledger: Ledger,
        detector: Detector,
        url: str,
        public_url: str | None,
        proxies: Proxies,
        clock: Callable[[Tx], int] | None = None,
    ) -> None:
        self._ledger = ledger
        self._detector = detector
        self._url = url
        self._public_url = public_url
        self._proxies = proxies
        self._clock = clock or Tx.now
        self._asked = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="alert", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def ask(self) -> None:
        """Returns at once."""
        self._asked.set()

    def stop(self) -> None:
        """A message that is being sent just now is not waited for: another process sends it again if need be."""
        self._stopping = True
        self._asked.set()

    def look(self) -> None:
        """One round, if it is time for one, and sending what is to be said. Raises LedgerUnavailable."""
        every_ms, ledger = int(ROUND_SECONDS * 1000), self._ledger
        with ledger.read() as tx:
            now = self._clock(tx)
            is_due = round_is_due(tx, incidents.ROUND, now, every_ms)
        if is_due and ledger.transact(lambda tx: take_round(tx, incidents.ROUND, now, every_ms)):
            with look(ledger) as tx:
                began = {one.topic: one.began_at for one in incidents.open_incidents(tx)}
                conditions = self._detector.conditions(tx, now, began)
            if conditions or began:
                ledger.transact(lambda tx: incidents.reconcile(tx, conditions, self._detector.rules, now, now))
        self._tell()

    def _tell(self) -> None:
        ledger, token = self._ledger, secrets.token_hex(8)
        with ledger.read() as tx:
            if not incidents.has_unsaid(tx, self._clock(tx)):
                return
        began = time.monotonic()
        claimed = ledger.transact(lambda tx: incidents.claim_pending(tx, token, self._clock(tx)))
        if not claimed or time.monotonic() - began > PATIENCE_SECONDS:
            return
        topics = [one.topic for one in claimed]
        try:
            with ledger.read() as tx:
                text = text_of(claimed, self._public_url, self._clock(tx))
            post(self._url, text, self._proxies)
        except AlertUnsent as error:
            tries, problem = max(one.tries for one in claimed) + 1, str(error)
            ledger.transact(lambda tx: incidents.mark_pending(tx, token, tries, problem, self._clock(tx)))
            log.error("alert.unsent", topics=topics, tries=tries, error=problem)
            return
        ledger.transact(lambda tx: incidents.mark_sent(tx, claimed, token, self._clock(tx)))
        log.info("alert.sent", topics=topics)

    def _run(self) -> None:
        while True:
            self._asked.wait(ROUND_SECONDS)
            self._asked.clear()
            if self._stopping:
                return
            try:
                self.look()
            except LedgerUnavailable as error:
                log.warning("ledger.unavailable", error=str(error))
            except Exception as error:
                log.error("alert.broken", exc_info=error)


def make_alert_thread(settings: Settings, ledger: Ledger) -> AlertThread | None:
    """The caller starts it; None where no webhook for alerts is set. Raises ConfigurationError."""
    if settings.alert_url is None:
        return None
    sources = [name for name in all_sources(settings.config, settings.config_path) if settings.opens(name)]
    live = live_names(destinations_of(settings))
    detector = Detector(settings.alerts, live, sources, settings.hold_seconds)
    return AlertThread(ledger, detector, settings.alert_url, settings.public_url, settings.proxies)
