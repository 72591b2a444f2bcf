"""Alerts to PagerDuty: an alert triggers an incident, its all-clear resolves it, by the same dedup_key: a repeat opens no other.

https://developer.pagerduty.com/docs/events-api-v2-overview
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from app.alerts.messages import SEVERE, Message
from app.alerts.webhook import post
from app.config.proxies import Proxies
from app.times import iso

LONGEST_SUMMARY = 1024


@dataclass(frozen=True, slots=True)
class PagerDutyChannel:
    """key: the integration's routing key. url: of the Events API."""

    key: str = field(repr=False)
    url: str
    public_url: str | None
    proxies: Proxies
    variable: str = "ALERT_PAGERDUTY_KEY"
    name: str = "pagerduty"
    is_pager: bool = True

    @property
    def target(self) -> str:
        return urlsplit(self.url).hostname or ""

    def send(self, messages: Sequence[Message]) -> None:
        for message in messages:
            self._send(message)

    def _send(self, message: Message) -> None:
        if message.what == "over":
            self._post("resolve", message.key)
            return
        payload = {
            "summary": message.title[:LONGEST_SUMMARY],
            "source": self.public_url or "conversion-bridge",
            "severity": "critical" if message.kind in SEVERE else "warning",
            "timestamp": iso(message.began_at),
            "component": message.subject,
            "class": message.kind,
            "custom_details": {"text": message.text},
        }
        links = [{"href": message.url, "text": "Dashboard"}] if message.url else []
        self._post("trigger", message.key, payload=payload, links=links, client="Conversion Bridge")

    def test(self, text: str) -> str:
        key = f"conversion-bridge:test:{secrets.token_hex(8)}"
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        payload = {
            "summary": text,
            "source": self.public_url or "conversion-bridge",
            "severity": "info",
            "timestamp": now,
        }
        self._post("trigger", key, payload=payload, client="Conversion Bridge")
        self._post("resolve", key)
        return "PagerDuty accepted a test incident and resolved it. Check that it appears in the service."

    def _post(self, action: str, key: str, **more: Any) -> None:
        body = {"routing_key": self.key, "event_action": action, "dedup_key": key, **more}
        post(self.url, body, self.proxies, "PagerDuty")
