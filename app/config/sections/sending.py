"""Where conversions go, and how."""

from typing import Annotated, Literal

from pydantic import Field, SecretStr, model_validator

from app.config.sections.marks import SECONDS, Section, Unset, Value
from app.config.setting_types import BearerToken, DestinationUrl, FormatName, Schedule


class DestinationVariables(Section):
    """Destination"""

    destination_url: Annotated[DestinationUrl | None, Unset("the sandbox")] = None
    """The base URL of the destination `main`. It needs DESTINATION_TOKEN."""
    destination_token: BearerToken | None = None
    """The bearer token of the destination `main`."""
    destination_format: FormatName = "events"
    """The format that the destination accepts ([formats](formats.md))."""
    destination_amount_unit: Literal["major", "minor"] = "major"
    """For format `track`. The destination's own pages disagree (99.99 in the API reference, "in cents" in one SDK), so check the
    first Sale there."""
    destination_concurrency: int = Field(32, ge=1, le=1000)
    """Requests in flight per worker."""
    destination_rate: Annotated[float | None, Unset("no limit")] = Field(None, gt=0, le=1_000_000)
    """Requests per second over all workers."""
    destination_timeout: Annotated[float, SECONDS] = Field(10, gt=0, le=120)
    """How long a whole request may take."""
    destination_allow_private: bool = False
    """Lets DESTINATION_URL be a loopback, private or link-local address."""
    destination_traceparent: bool = False
    """Sends destinations the header `traceparent` of each attempt ([traces](operations.md#traces))."""
    sandbox: bool = False
    """Lets `bridge web` and `bridge worker` run with no destination: conversions then go to the bridge's own sandbox.
    `bridge up` does not need it."""
    retry_schedule: Schedule = "5,30,120,600,3600,10800,21600,43200,86400"
    """The waits between attempts; each varies at random by 20%."""
    hold_seconds: Annotated[float, SECONDS] = Field(900, ge=0, le=2_592_000)
    """How long a Sale waits for its person's undelivered Lead."""
    stop_seconds: Annotated[float | None, SECONDS, Unset("the longest timeout of a destination + 2, at most 60")] = (
        Field(None, ge=0, le=60)
    )
    """How long an orderly stop waits for the requests in flight ([stopping](operations.md#stopping))."""
    outbound_proxy: Annotated[SecretStr | None, Value("URL, or `environment`"), Unset("no proxy")] = None
    """The HTTP proxy for deliveries, probes, alerts and Stripe's API. `environment` takes it from HTTP_PROXY, HTTPS_PROXY,
    ALL_PROXY and NO_PROXY, which are ignored otherwise. The bridge always reaches its own machine directly."""

    @model_validator(mode="after")
    def _has_token(self) -> "DestinationVariables":
        if self.destination_url and self.destination_token is None:
            raise ValueError("DESTINATION_URL is set: set DESTINATION_TOKEN too")
        return self
