"""A thread that detects conditions and reports them. Every worker has one, and so has every web process, in case no worker runs.

Through the ledger, one of all threads detects every quarter of a minute, and one sends each message. Nothing waits for it.
"""

import secrets
import threading
import time
from collections.abc import Callable, Sequence

import structlog

from app.alerts.channel import AlertUnsent, Channel
from app.alerts.channels import channels_of
from app.alerts.messages import Message, message_of
from app.config.settings import Settings
from app.destinations.target import destinations_of, live_names
from app.errors import LedgerUnavailable
from app.ledger.alerting import incidents, notifications
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
    """Detects and reports periodically and on request. An error neither ends it nor affects anything else.

    clock: milliseconds by the database's clock, unless a test knows better.
    """

    def __init__(
        self,
        ledger: Ledger,
        detector: Detector,
        channels: Sequence[Channel],
        public_url: str | None,
        clock: Callable[[Tx], int] | None = None,
    ) -> None:
        self._ledger = ledger
        self._detector = detector
        self._channels = channels
        self._public_url = public_url
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
        """Does not wait for a message that is being sent. If needed, another process sends it again."""
        self._stopping = True
        self._asked.set()

    def look(self) -> None:
        """Runs a round if one is due, and sends waiting notifications. Raises LedgerUnavailable."""
        every_ms, ledger = int(ROUND_SECONDS * 1000), self._ledger
        with ledger.read() as tx:
            now = self._clock(tx)
            is_due = round_is_due(tx, incidents.ROUND, now, every_ms)
        if is_due and ledger.transact(lambda tx: take_round(tx, incidents.ROUND, now, every_ms)):
            with look(ledger) as tx:
                began = {incident.topic: incident.began_at for incident in incidents.open_incidents(tx)}
                conditions = self._detector.conditions(tx, now, began)
            if conditions or began:
                names, rules = [channel.name for channel in self._channels], self._detector.rules
                ledger.transact(lambda tx: incidents.reconcile(tx, conditions, rules, now, now, names))
        self._tell()

    def _tell(self) -> None:
        """Sends over each channel in turn. A failed channel is retried later and does not delay the others."""
        for channel in self._channels:
            with self._ledger.read() as tx:
                if not notifications.has_unsent(tx, channel.name, self._clock(tx)):
                    continue
            try:
                self._tell_over(channel)
            except LedgerUnavailable:
                raise
            except Exception as error:  # a bug in one channel must not silence the others
                log.error("alert.broken", channel=channel.name, exc_info=error)

    def _tell_over(self, channel: Channel) -> None:
        ledger, token = self._ledger, secrets.token_hex(8)
        began = time.monotonic()
        claimed = ledger.transact(lambda tx: notifications.claim_unsent(tx, channel.name, token, self._clock(tx)))
        if not claimed or time.monotonic() - began > PATIENCE_SECONDS:
            return
        with ledger.read() as tx:
            now = self._clock(tx)
        messages = [message_of(notification, self._public_url, now) for notification in claimed]
        if channel.is_pager and (
            late := [message.id for message in messages if message.what == "alert" and message.is_over]
        ):
            ledger.transact(lambda tx: notifications.drop(tx, token, late))
            messages = [message for message in messages if message.id not in late]
        for part in [[message] for message in messages] if channel.is_pager else [messages]:
            try:
                if part:
                    channel.send(part)
            except AlertUnsent as error:
                tries, problem = max(notification.tries for notification in claimed) + 1, str(error)
                self._record_failure(token, tries, problem)
                log.error("alert.unsent", channel=channel.name, tries=tries, error=problem)
                return
            self._record(part, token)
            log.info("alert.sent", channel=channel.name, notifications=[message.id for message in part])

    def _record(self, sent: Sequence[Message], token: str) -> None:
        texts = [(message.id, message.line) for message in sent]
        self._ledger.transact(lambda tx: notifications.mark_sent(tx, token, texts, self._clock(tx)))

    def _record_failure(self, token: str, tries: int, problem: str) -> None:
        self._ledger.transact(lambda tx: notifications.mark_failed(tx, token, tries, problem, self._clock(tx)))

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


def make_alert_thread(settings: Settings, ledger: Ledger) -> AlertThread:
    """The caller starts it. Without a channel it keeps the record of incidents and sends nothing. Raises ConfigurationError."""
    sources = [name for name in all_sources(settings.config, settings.config_path) if settings.opens(name)]
    live = live_names(destinations_of(settings))
    detector = Detector(settings.alerts, live, sources, settings.hold_seconds)
    return AlertThread(ledger, detector, channels_of(settings), settings.public_url)
