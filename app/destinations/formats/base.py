"""What a format is: how a destination wants to be asked, and what its answers mean.

A format is one module in this folder with a function `make`; `registry` finds it. Formats do no I/O.
"""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol
from urllib.parse import quote

from pydantic_core import from_json

from app.model import CLICK_FIELDS, AttemptResult, DeliveryKind, Facts

CLICKS = tuple(name for name, _ in CLICK_FIELDS)
"""Names of click ids beside the main one, unless [attribution.clicks] has others."""
FALSE = frozenset({"false", "error", "failed", "failure"})
"""What a `status` or `success` of a 2xx answer says, in lower case, where nothing was recorded."""
ALREADY_THERE = 409
TRANSIENT = frozenset({408, 425, 429})
UNAUTHORIZED = frozenset({401, 403})
CLICK_ID = re.compile(r"click[ _-]?id", re.IGNORECASE)
CUTMESHORT = ("cme.sh", "cutmeshort.com")
DUB = ("dub.co",)
FIXED_FIELDS = ("event", "eventName", "invoiceId", "mode")
"""Of the formats that name their fields as CutMeShort and Dub do: what it is, and the ID by which it is counted once."""


@dataclass(frozen=True, slots=True)
class Options:
    """What the configuration says to a format."""

    amount_unit: Literal["major", "minor"] = "major"
    event_names: Mapping[str, str] = field(default_factory=dict)
    """What an event is called instead, by its own name. May use {form}, the name of the form."""
    template: Mapping[str, Any] = field(default_factory=dict)
    """The tables and keys of a template, as they stand in its destination's table."""
    parameters: Mapping[str, str] = field(default_factory=dict)
    """What a preset needs to know, by name."""
    secrets: tuple[str, ...] = ()
    """Names of the secrets that expressions may use. `token` is one of them where the destination has one."""
    clicks: tuple[str, ...] = CLICKS
    """Names of click ids beside the main one."""


@dataclass(frozen=True, slots=True)
class Age:
    """How old a conversion may be where it is sent; `text` for people: 7 days."""

    seconds: int
    text: str


@dataclass(frozen=True, slots=True)
class Body:
    """The JSON object to send, and one sentence for each optional field that was left out or shortened."""

    fields: dict[str, Any]
    omitted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request. `path` follows the path of the destination's URL, and begins with a slash unless it is empty."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Sent:
    """The attempt that an answer belongs to. `body` is what was sent, `tries` the attempts of this schedule before it."""

    kind: DeliveryKind
    body: str
    attempts: int = 0
    """All attempts before it."""
    tries: int = 0
    last_status: int | None = None
    """What the attempt before it was answered; None where there was none, or no answer."""
    note: str | None = None
    """The note of an earlier verdict."""
    remembered: str | None = None
    """What a verdict of an earlier attempt about the same Sale had remembered."""
    is_edited: bool = False


class Answered(Protocol):
    """What a destination answered."""

    @property
    def status(self) -> int: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def body(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an answer means for a delivery. `error` says why it was not delivered, `note` what else there is to know; both are
    shown to people.

    result "continued": this was one of several requests, and the delivery goes on with the next one at once. The attempt is
    recorded, and spends nothing of the schedule. remember: what the next request, or those of a later refund of the same Sale, need
    to know; "" forgets it. It is on disk before the next request leaves. at_last: the result where the schedule is used up.
    """

    result: AttemptResult
    error: str | None = None
    note: str | None = None
    remember: str | None = None
    at_last: AttemptResult | None = None


class Books(Protocol):
    """How to ask a destination's API which Sales it holds."""

    @property
    def title(self) -> str:
        """The service's name."""
        ...

    def list_request(self, since: datetime, page: int, token: str) -> HttpRequest:
        """For one page, from 1 on, of what was recorded since."""
        ...

    def listed(self, answer: Answered) -> Sequence[str] | None:
        """The invoice ids on a page; None if the answer is not one. A page with fewer than `page_size` is the last."""
        ...

    @property
    def page_size(self) -> int: ...

    def sale_request(self, invoice_id: str, token: str) -> HttpRequest:
        """For what the destination holds of one Sale, where the list does not have it."""
        ...

    def holds(self, answer: Answered, invoice_id: str) -> bool: ...


class Format(Protocol):
    """Subclass it and define `name`, `body` and `problem`; override the others where the destination differs."""

    @property
    def name(self) -> str: ...

    is_public_api: bool = False
    """Its destinations refuse what their schema does not allow, so that `bridge doctor` may send one empty object to see how."""

    @property
    def touch(self) -> Literal["first", "last"] | None:
        """Which click the service credits; None if it says nothing."""
        return None

    @property
    def books(self) -> Books | None:
        """For `bridge reconcile`; None if the destination has no API to ask."""
        return None

    @property
    def takes_refunds(self) -> bool:
        """It can tell its destination of a refund: `body`, `problem` and `request` know the kind `refund`."""
        return False

    @property
    def takes_restores(self) -> bool:
        """It can also tell that refunded money counts again (Refund.is_restored)."""
        return False

    @property
    def kinds(self) -> frozenset[str]:
        """What it can send."""
        return frozenset({"sale", "lead"})

    @property
    def fixed_fields(self) -> tuple[str, ...]:
        """Fields that an edit cannot change, by their names in this format: what it is, and the ID by which it is counted once."""
        return FIXED_FIELDS

    @property
    def max_age(self) -> Age | None:
        """What is older is not sent."""
        return None

    def body(self, facts: Facts) -> Body:
        """What to send, as far as things are known when it is recorded. It stays as it is from the first attempt on."""
        ...

    def problem(self, kind: DeliveryKind, fields: Mapping[str, Any]) -> str | None:
        """What is wrong with a body by this format's own rules, beginning with the field's name; None if nothing is."""
        ...

    @property
    def holds_back(self) -> bool:
        """Whether `not_sent` may hold back a body."""
        return False

    def not_sent(self, kind: DeliveryKind, body: str) -> Verdict | None:
        """What becomes of a body that is not to be sent, since it lacks what its destination needs; None if it is sent."""
        return None

    def with_secrets(self, secrets: Mapping[str, str], *, is_masked: bool = False) -> "Format":
        """The same format with the secrets, by name, that its requests carry beside the token. is_masked: these are masks."""
        return self

    def request(self, kind: DeliveryKind, body: str, key: str, token: str, now: datetime) -> HttpRequest:
        """The request of one attempt. `body` goes out to the byte; `key` is the delivery's key, the same at every attempt."""
        return HttpRequest("POST", f"/track/{kind}", json_headers(token, key), body.encode())

    def next_request(
        self, kind: DeliveryKind, body: str, key: str, token: str, now: datetime, remembered: str | None
    ) -> HttpRequest:
        """The request of the next attempt, for a format that needs several for one delivery: `remembered` says which is next. Every
        one of them may be repeated."""
        return self.request(kind, body, key, token, now)

    def verdict(self, answer: Answered, sent: Sent) -> Verdict:
        """What the answer means."""
        return unattributed(answer, sent) or by_status(answer, sent)

    def age_problem(self, fields: Mapping[str, Any], now: datetime) -> str | None:
        """Why the destination would refuse a body for its age at `now`, for the sandbox; None if it would not."""
        return None

    def sandbox_answer(
        self, kind: DeliveryKind, fields: Mapping[str, Any], is_known: Callable[[str], bool] = lambda _: True
    ) -> tuple[int, str]:
        """Status and body with which the bridge's own sandbox answers a body that passes `problem`, as the destination would.

        is_known: whether it was sent a conversion of that customer ID before."""
        return 200, f'{{"success":true,"kind":"{kind}"}}'

    def advice(
        self, host: str, *, rate: float | None, sources: Collection[str], net_of_tax: bool | None = None
    ) -> Iterator[str]:
        """What to change in the configuration of a destination at `host`, for `bridge doctor`. sources: that are open."""
        yield from ()

    def edit_problem(self, kind: DeliveryKind, before: Mapping[str, Any], after: Mapping[str, Any]) -> str | None:
        """Why a body cannot be edited like that; None if it can."""
        changed = [name for name in self.fixed_fields if before.get(name) != after.get(name)]
        if changed:
            return f"these fields identify the conversion and cannot be changed: {', '.join(changed)}"
        return self.problem(kind, after)


def is_host_of(host: str, *names: str) -> bool:
    """Whether `host` is one of `names`, or below it."""
    return any(host == name or host.endswith(f".{name}") for name in names)


def json_headers(token: str, key: str) -> dict[str, str]:
    """For JSON, with a bearer token and the key by which the destination can tell a repeat."""
    return {
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/json",
        "Accept": "application/json",
        "Idempotency-Key": header_text(key),
    }


def header_text(text: str) -> str:
    """`text` with everything but A-Z a-z 0-9 . _ : - percent-encoded, as a header can carry it."""
    return quote(text, safe=":").replace("~", "%7E")


def by_status(answer: Answered, sent: Sent) -> Verdict:
    """The meaning of a status, and of a 2xx that says in its JSON that nothing was recorded."""
    status = answer.status
    if 200 <= status <= 299:
        if refusal := said_no(answer.body):
            return Verdict("permanent", refusal)
        return Verdict("delivered")
    if status == ALREADY_THERE:
        if sent.is_edited:
            return Verdict("permanent", "answered 409: the destination already has this one as it was before the edit")
        return Verdict("delivered")
    if status in UNAUTHORIZED:
        return Verdict("unauthorized", f"answered {status}: the token is not accepted")
    if status in TRANSIENT:
        return Verdict("transient", f"answered {status}")
    if status >= 500 or status < 200:
        return Verdict("unknown", f"answered {status}")
    if 300 <= status <= 399:
        return Verdict("redirected", f"answered {status}: redirects are not followed")
    return Verdict("permanent", f"answered {status}: the destination rejected this payload")


def unattributed(answer: Answered, sent: Sent) -> Verdict | None:
    """Where a refusal names the click id and no other field of the body: the destination needs a click, and this person has none
    that it knows."""
    if answer.status not in (400, 404, 422):
        return None
    text = answer.body.decode("utf-8", "replace")
    others = [name for name in json_object(sent.body.encode()) if name != "clickId"]
    if not CLICK_ID.search(text) or any(re.search(rf"\b{re.escape(name)}\b", text) for name in others):
        return None
    return Verdict("unattributed", f"answered {answer.status}: the destination knows no click for this conversion")


def said_no(answer: bytes) -> str | None:
    """Why a 2xx recorded nothing: its JSON says `success: false` or `status: false`."""
    fields = json_object(answer)
    for name in ("success", "status"):
        value = fields.get(name)
        if value is False or (isinstance(value, str) and value.strip().lower() in FALSE):
            return f"the destination answered with {name} {str(value).lower()}, so nothing was recorded"
    return None


def json_object(answer: bytes) -> dict[str, Any]:
    """The object in an answer's body; {} where there is none."""
    try:
        fields = from_json(answer)
    except ValueError:
        return {}
    return fields if isinstance(fields, dict) else {}
