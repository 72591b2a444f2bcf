"""What a source is: a name, how it signs, and a pure function from a body to what it means."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from app.model import Inbound, Mapped, Rules


@dataclass(frozen=True, slots=True, kw_only=True)
class Vector:
    """A request with a right signature that was not made by the code under test. The contract suite verifies it.

    origin: where it was published, or which library of the provider's computed it. at: Unix seconds of the signature's own time.
    """

    body: bytes
    headers: Mapping[str, str]
    secret: str
    origin: str
    at: int = 0
    url: str = ""


class Source(Protocol):
    """One provider. Instances are stateless, do no I/O and know no clock."""

    @property
    def name(self) -> str:
        """As in /webhooks/<name> and <NAME>_WEBHOOK_SECRET."""

    @property
    def title(self) -> str:
        """As people write it: "Cal.com"."""

    @property
    def signed(self) -> bool:
        """False: the provider cannot sign, and the URL carries an unguessable token instead (<NAME>_PATH_TOKEN)."""

    @property
    def secret_prefix(self) -> str:
        """How every signing secret of the provider begins ("whsec_"); "" where they do not share a prefix."""

    @property
    def signs_url(self) -> bool:
        """True: the signature is of the URL as the provider called it as well, so PUBLIC_URL must be set."""

    @property
    def vectors(self) -> Sequence[Vector]:
        """Requests that show that real webhooks verify; () only where the provider does not sign."""

    @property
    def customer_prefix(self) -> str:
        """How the provider's own customer ids begin ("cus_") where they name a customer at the destination, else ""."""

    @property
    def is_tested_before_setup(self) -> bool:
        """True: the provider sends its set-up request before it shows the secret, so it is answered without one."""

    def setup_request(self, inbound: Inbound) -> str | None:
        """What this request is where the provider sends it unsigned while the webhook is set up (a ping); None for all others."""

    @property
    def telling_event(self) -> str:
        """The type of event whose bodies `setup_notice` reads; "" for none."""

    def setup_notice(self, bodies: Sequence[bytes], rules: Rules) -> str | None:
        """What the newest bodies show to be set up wrongly, there or here, as a sentence with its remedy; None for nothing."""

    @property
    def looked_for(self) -> Mapping[str, Sequence[str]]:
        """The fields of a body that hold each value (amount, currency, id, email, …), for people who miss one. {} where
        that is not known."""

    def verify(self, inbound: Inbound, secrets: Sequence[str], now: datetime) -> None:
        """Returns if one of `secrets` signed exactly these bytes, lately. Raises SignatureError for everything else,
        whatever the headers and the body hold."""

    def sign(self, body: bytes, secret: str, now: datetime, *, url: str = "") -> dict[str, str]:
        """The headers that the provider would send with `body`: for `bridge send` and tests. {} where it does not sign."""

    def stamp(self, body: bytes, secret: str) -> bytes:
        """`body` as the provider would send it: with the secret in it where it proves itself so (a handshake key)."""

    def split(self, inbound: Inbound) -> Sequence[Inbound]:
        """The request as one for each of its events; itself where it holds one."""

    def map(self, inbound: Inbound, rules: Rules) -> Mapped:
        """What the body means. Pure. Raises MalformedEvent if it cannot be read as this provider's, nothing else."""
