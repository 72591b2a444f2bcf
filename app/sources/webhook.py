"""A source put together from its parts: how it signs, and the function that reads its bodies."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from app.model import Inbound, Mapped, Rules
from app.sources.base import Vector
from app.sources.set_up import NOTHING_KNOWN, SetUp


class Scheme(Protocol):
    """How a provider proves that it is the sender. HmacScheme is one; see Source.verify and Source.sign for the promises."""

    def verify(self, inbound: Inbound, secrets: Sequence[str], now: datetime) -> None: ...

    def sign(self, body: bytes, secret: str, now: datetime, *, url: str = "") -> dict[str, str]: ...


@dataclass(frozen=True, slots=True)
class Webhook:
    """A Source. `signature` None: the provider cannot sign, and the token in the URL is checked elsewhere."""

    name: str
    title: str
    signature: Scheme | None
    read: Callable[[Inbound, Rules], Mapped]
    stamps: Callable[[bytes, str], bytes] | None = None
    """Puts the secret into a body: only where that is how the provider proves itself."""
    secret_prefix: str = ""
    vectors: Sequence[Vector] = ()
    customer_prefix: str = ""
    pings: Callable[[Inbound], str | None] | None = None
    """See Source.setup_request."""
    is_tested_before_setup: bool = False
    telling_event: str = ""
    notices: Callable[[Sequence[bytes], Rules], str | None] | None = None
    """See Source.setup_notice."""
    set_up: SetUp = NOTHING_KNOWN
    splits: Callable[[Inbound], Sequence[Inbound]] | None = None
    looked_for: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def signed(self) -> bool:
        return self.signature is not None

    @property
    def signs_url(self) -> bool:
        return getattr(self.signature, "signs_url", False)

    def setup_request(self, inbound: Inbound) -> str | None:
        return self.pings(inbound) if self.pings else None

    def setup_notice(self, bodies: Sequence[bytes], rules: Rules) -> str | None:
        return self.notices(bodies, rules) if self.notices else None

    def verify(self, inbound: Inbound, secrets: Sequence[str], now: datetime) -> None:
        if self.signature:
            self.signature.verify(inbound, secrets, now)

    def sign(self, body: bytes, secret: str, now: datetime, *, url: str = "") -> dict[str, str]:
        return self.signature.sign(body, secret, now, url=url) if self.signature else {}

    def stamp(self, body: bytes, secret: str) -> bytes:
        return self.stamps(body, secret) if self.stamps else body

    def split(self, inbound: Inbound) -> Sequence[Inbound]:
        return self.splits(inbound) if self.splits else (inbound,)

    def map(self, inbound: Inbound, rules: Rules) -> Mapped:
        return self.read(inbound, rules)
