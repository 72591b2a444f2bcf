"""What to know of a provider when one of its webhooks is set up: beside how it signs, which only `verify` needs."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class SetUp:
    """is_secret_chosen: the operator chooses the signing secret and enters it at the provider, which does not generate one.
    secret_form: how a generated one is written, of {secret} (URL-safe letters) or {base64}.
    usual_prefixes: how secrets of the provider begin, as far as known; another one is pointed out and accepted.
    wrong_prefixes: how other credentials of the provider begin, and what they are: none of them signs webhooks.
    marks_tests: its events say whether they are tests, so <SOURCE>_ALLOW_TEST_EVENTS decides over them.
    redeliver: where the provider sends webhooks again, or that it does not, as a sentence with `backticks`; "" where not known.
    links: where the provider's own pages of things are, by how their IDs begin."""

    is_secret_chosen: bool = False
    secret_form: str = "{secret}"  # noqa: S105 (a template)
    usual_prefixes: tuple[str, ...] = ()
    wrong_prefixes: Mapping[str, str] = field(default_factory=dict)
    marks_tests: bool = False
    redeliver: str = ""
    links: tuple["Link", ...] = ()


@dataclass(frozen=True, slots=True)
class Link:
    """The page at the provider of what has an ID that begins with `prefix`: {id} stands for the ID. what: as in "invoice at
    Stripe". test: the page of test data, where that is another one."""

    prefix: str
    what: str
    url: str
    test: str = ""


NOTHING_KNOWN = SetUp()
PLAIN_ID = re.compile(r"[A-Za-z0-9_-]{1,255}")
"""Nothing else goes into a URL: an ID comes from outside."""


def link_of(source: object, identity: str, *, is_test: bool = False) -> Link | None:
    """Where the provider shows the thing with that ID; None if no page of it is known."""
    if not PLAIN_ID.fullmatch(identity):
        return None
    for link in set_up_of(source).links:
        if identity.startswith(link.prefix):
            url = (link.test if is_test and link.test else link.url).replace("{id}", identity)
            return replace(link, url=url)
    return None


def set_up_of(source: object) -> SetUp:
    """What `source` says of itself; nothing where it comes from a package that knows of no SetUp."""
    known = getattr(source, "set_up", NOTHING_KNOWN)
    return known if isinstance(known, SetUp) else NOTHING_KNOWN
