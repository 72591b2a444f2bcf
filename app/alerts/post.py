"""Post an alert to a Slack-compatible webhook."""

import requests

from app.alerts.messages import CONNECT_SECONDS, READ_SECONDS
from app.config.proxies import Proxies


class AlertUnsent(Exception):
    """The webhook did not take it; the text says why, and holds nothing of the URL, which is a secret."""


def post(url: str, text: str, proxies: Proxies) -> None:
    """Raises AlertUnsent unless the webhook answers 2xx. Follows no redirect."""
    try:
        with (
            proxies.session(url) as http,
            http.post(
                url,
                json={"text": text},
                timeout=(CONNECT_SECONDS, READ_SECONDS),
                allow_redirects=False,
                stream=True,  # its body is never read
                headers={"User-Agent": "conversion-bridge/0.1"},
            ) as answer,
        ):
            status = answer.status_code
    except (requests.RequestException, UnicodeError, ValueError) as error:
        raise AlertUnsent(f"the alert webhook does not answer ({type(error).__name__})") from None
    if not 200 <= status <= 299:
        raise AlertUnsent(f"the alert webhook answered {status}")
