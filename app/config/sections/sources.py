"""How bodies of sources are read."""

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from app.config.secret_files import PATH_TOKEN, SOURCE_SECRETS, WEBHOOK_SECRET
from app.config.sections.marks import SECONDS, Section, Unset
from app.config.setting_types import PhoneRegion, SaleEvents, StripeApiKey, WebUrl

ALLOW_TEST_EVENTS = "_ALLOW_TEST_EVENTS"
IN_SANDBOX_MODE = Unset("`1` in sandbox mode, else `0`")


@dataclass(frozen=True, slots=True)
class OfSource:
    """A variable that each source has: how its name ends, what it means, what its value looks like, and without it."""

    ending: str
    meaning: str
    value: str
    unset: str = ""

    @property
    def is_secret(self) -> bool:
        return self.ending in SOURCE_SECRETS


OF_SOURCE = (
    OfSource(
        WEBHOOK_SECRET,
        "The signing secret of a source, such as STRIPE_WEBHOOK_SECRET. Separate several with commas while you rotate "
        "(write a comma inside a secret as `\\,`). A source without a secret answers 404.",
        "secrets, 8 or more characters each",
        "generated for Stripe and Typeform in sandbox mode",
    ),
    OfSource(
        PATH_TOKEN,
        "For tools that do not sign: the URL is `/webhooks/<source>/<token>`. Separate several with commas while you rotate.",
        "secrets, 16 or more of `A-Z a-z 0-9 - _` each",
    ),
    OfSource(
        ALLOW_TEST_EVENTS,
        "Accepts the test events of a source that marks them (a source of your own: option `test`).",
        "`0` or `1`",
        IN_SANDBOX_MODE.text,
    ),
)


class SourceVariables(Section):
    """Sources"""

    stripe_api_key: StripeApiKey | None = None
    """For `stripe-endpoint`, `backfill` and `reconcile`, and to look up the customers of older subscriptions."""
    stripe_api_base: Annotated[WebUrl | None, Unset("Stripe's own")] = None
    """Another address of Stripe's API, for tests."""
    stripe_sale_events: SaleEvents = "checkout,invoice"
    """Which events may become a Sale."""
    stripe_allow_test_events: Annotated[bool | None, IN_SANDBOX_MODE] = None
    """Accepts events whose livemode is false."""
    stripe_reference: Literal["customer", "ignore"] = "customer"
    """What a `client_reference_id` is when it is not a click ID: `customer` (your customer's ID) or `ignore` (an order or cart
    number)."""
    stripe_hold: Annotated[float, SECONDS] = Field(20, ge=0, le=3600)
    """How long a Stripe conversion waits for the event that carries its click ID or names its customer; opt-in events wait 4.5
    times as long."""
    stripe_lead_once: bool = False
    """Sends no Lead from Stripe for a person who already has one."""
    net_of_tax: bool = False
    """Sends Sale amounts without tax; `net_of_tax` of a [destination](formats.md#more-than-one-destination) overrides it."""
    phone_region: Annotated[PhoneRegion | None, Unset("no region is assumed")] = None
    """The region of phone numbers without a country code."""
    require_click_id: bool = False
    """Parks Leads that have no click ID."""
