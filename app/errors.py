"""The tree of errors. They carry ids as attributes and never a body or a secret; HTTP statuses are app/web's business."""

from collections.abc import Sequence
from typing import Literal


class BridgeError(Exception):
    """Root of every error that the bridge raises on purpose."""

    @property
    def public(self) -> str:
        """What anybody may know of it."""
        return str(self)


class ConfigurationError(BridgeError):
    """A setting is missing or wrong; the text names it and says what to do."""


class SourceError(BridgeError):
    """Something about what a source sent."""

    def __init__(self, message: str, *, source: str = "") -> None:
        super().__init__(message)
        self.source = source


class UnknownSource(SourceError):
    """No source of that name, or it has no secret configured."""


RefusalReason = Literal["missing", "wrong", "too old", "in the future"]


class SignatureError(SourceError):
    """The signature is missing, garbled or wrong, too old or in the future; `reason` says which, for counting.

    heals: the request would be authentic with another secret here. skew_seconds: how old the signature is, where that is wrong;
    negative for the future.
    """

    def __init__(
        self,
        message: str,
        *,
        source: str = "",
        reason: RefusalReason = "wrong",
        heals: bool = True,
        skew_seconds: int | None = None,
    ) -> None:
        super().__init__(message, source=source)
        self.reason = reason
        self.heals = heals and reason == "wrong"
        self.skew_seconds = skew_seconds


class MalformedEvent(SourceError):
    """The body cannot be read as what the source sends."""


class SetupRequest(SourceError):
    """A provider's ping while its webhook is set up, which it sends unsigned. It carries nothing: answered 200, not recorded."""


class SeveralEvents(SourceError):
    """The request holds several events, which are recorded one by one (Intake.take) instead of as one."""


class DeliveryError(BridgeError):
    """Something about sending a delivery."""

    def __init__(self, message: str, *, delivery_id: int = 0) -> None:
        super().__init__(message)
        self.delivery_id = delivery_id


class TransientDeliveryError(DeliveryError):
    """Worth another attempt."""


class LedgerError(BridgeError):
    """Something about the ledger."""


UnavailableReason = Literal["read-only", "full", "busy", "refused", "damaged", "unreachable"]


class LedgerUnavailable(LedgerError):
    """The ledger cannot take or give anything now. The message is for logs and the command line; where it may name a host or a
    path, `reason` says why in one word, and `public` is what strangers are shown."""

    def __init__(
        self, message: str = "the ledger cannot be used now", *, reason: UnavailableReason | None = None
    ) -> None:
        super().__init__(message)
        self.reason = reason

    @property
    def detail(self) -> str:
        """The message without its beginning, for a database that is not the ledger."""
        return str(self).removeprefix("the ledger cannot be used now: ")

    @property
    def public(self) -> str:
        return f"the ledger cannot be used now ({self.reason})" if self.reason else str(self)


class SchemaOutdated(LedgerError):
    """The ledger's schema is not the one this code needs."""


class DeliveryNotFound(LedgerError):
    """No delivery of that id."""

    def __init__(self, delivery_id: int) -> None:
        super().__init__(f"there is no delivery {delivery_id}")
        self.delivery_id = delivery_id


class DestinationNotFound(LedgerError):
    """No destination of that name."""

    def __init__(self, name: str, known: Sequence[str] = ()) -> None:
        super().__init__(
            f"there is no destination called {name}" + (f"; choose from {', '.join(known)}" if known else "")
        )
        self.name = name


class AccessError(LedgerError):
    """A change of users or API tokens was refused; the text says why and what to do."""


class UserNotFound(AccessError):
    """No user of that name or ID."""

    def __init__(self, user: str | int) -> None:
        super().__init__(f"there is no user {user}")
        self.user = user


class TokenNotFound(AccessError):
    """No API token of that ID, or it belongs to somebody else."""

    def __init__(self, token_id: int) -> None:
        super().__init__(f"there is no API token {token_id}")
        self.token_id = token_id
