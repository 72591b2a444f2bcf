"""Alerts to a webhook that takes Slack's JSON: Slack, Mattermost, Discord's /slack."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from app.alerts.channel import AGENT, CONNECT_SECONDS, READ_SECONDS, AlertUnsent
from app.alerts.messages import Message, lines_of
from app.config.proxies import Proxies


@dataclass(frozen=True, slots=True)
class WebhookChannel:
    """url: a secret."""

    url: str = field(repr=False)
    proxies: Proxies
    variable: str = "ALERT_WEBHOOK_URL"
    name: str = "webhook"
    is_pager: bool = False

    @property
    def target(self) -> str:
        return urlsplit(self.url).hostname or ""

    def send(self, messages: Sequence[Message]) -> None:
        self.test(lines_of(messages))

    def test(self, text: str) -> str:
        post(self.url, {"text": text}, self.proxies, "the alert webhook")
        return "The webhook accepted the test alert. Check that it appears in the channel."


def post(url: str, body: dict[str, Any], proxies: Proxies, whom: str) -> None:
    """Raises AlertUnsent unless `whom` answers 2xx. Follows no redirect."""
    import requests  # slow to import, and not every command sends

    try:
        with (
            proxies.session(url) as http,
            http.post(
                url,
                json=body,
                timeout=(CONNECT_SECONDS, READ_SECONDS),
                allow_redirects=False,
                stream=True,  # its body is never read
                headers={"User-Agent": AGENT},
            ) as answer,
        ):
            status = answer.status_code
    except (requests.RequestException, UnicodeError, ValueError) as error:
        raise AlertUnsent(f"{whom} does not answer ({type(error).__name__})") from None
    if not 200 <= status <= 299:
        raise AlertUnsent(f"{whom} answered {status}")
