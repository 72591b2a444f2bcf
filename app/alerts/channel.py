"""What every channel of alerts has in common."""

from collections.abc import Sequence
from typing import Protocol

from app.alerts.messages import Message

CONNECT_SECONDS, READ_SECONDS = 5.0, 10.0
AGENT = "conversion-bridge/0.1"


class AlertUnsent(Exception):
    """The channel did not accept the message. The text says why, without any URL, key, password or address."""


class Channel(Protocol):
    """Where alerts go. name: as the ledger knows it. target: where that is, for people. variable: what to check where it does not
    work."""

    @property
    def name(self) -> str: ...
    @property
    def target(self) -> str: ...
    @property
    def variable(self) -> str: ...
    @property
    def is_pager(self) -> bool:
        """Whether it calls a person: it gets each message separately, and none about incidents that are over."""
        ...

    def send(self, messages: Sequence[Message]) -> None:
        """Sends the messages. Raises AlertUnsent."""
        ...

    def test(self, text: str) -> str:
        """Sends a test and returns what to check. Raises AlertUnsent."""
        ...
