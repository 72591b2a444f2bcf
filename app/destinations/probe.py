"""Whether a destination answers, over the same path that deliveries take: its proxy, its certificate, the check of its address;
and whether it is one that takes the configured format and token."""

import asyncio
import secrets
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

from app.destinations.formats.base import Sent
from app.destinations.http import Answer, Client
from app.destinations.target import USER_AGENT, Destination, DestinationClient
from app.errors import TransientDeliveryError
from app.model import Kind

LONGEST_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Probe:
    """What came of a HEAD request that carries nothing, no token either. Any status counts as an answer."""

    answers: bool
    text: str
    """In words for the person who asked."""
    date: str | None = None
    """The destination's own time, as its answer has it."""


def probe(destination: Destination) -> Probe:
    """Asks once and follows no redirect. Takes five seconds at most."""

    async def ask() -> Probe:
        client = Client(destination.endpoint(), min(destination.timeout_seconds, LONGEST_SECONDS))
        began = time.perf_counter()
        try:
            headers = {"User-Agent": USER_AGENT, "Accept": "*/*"}
            answer = await client.request("HEAD", destination.path or "/", headers, expects_body=False)
        except TransientDeliveryError as error:
            return Probe(False, f"does not answer: {error}")
        finally:
            client.close()
        took_ms = (time.perf_counter() - began) * 1000
        text = f"answers: {answer.status} to a HEAD request, after {took_ms:.0f} ms"
        return Probe(True, text, answer.headers.get("date"))

    return asyncio.run(ask())


@dataclass(frozen=True, slots=True)
class Trial:
    """What came of one request that no schema allows."""

    level: Literal["ok", "warn", "wrong"]
    text: str


def try_out(destination: Destination) -> Trial | None:
    """`try_token` where nobody asked for it. None if the format is not one of a public API, which could take it."""
    return try_token(destination) if destination.format.is_public_api else None


def try_token(destination: Destination) -> Trial:
    """Sends an empty object, with the token, to where Leads are sent, and reads the refusal. An API that checks what it is sent
    makes no conversion of it."""
    key = f"probe:{secrets.token_hex(8)}"
    kind: Kind = "lead" if "lead" in destination.format.kinds else "sale"
    hasty = replace(destination, timeout_seconds=min(destination.timeout_seconds, LONGEST_SECONDS))

    async def ask() -> Answer:
        client = DestinationClient(hasty)
        try:
            return await client.send(kind, "{}", key, datetime.now(UTC))
        finally:
            client.close()

    try:
        return _read(asyncio.run(ask()), destination, kind)
    except TransientDeliveryError as error:
        return Trial("wrong", f"does not answer: {error}")


def _read(answer: Answer, destination: Destination, kind: Kind) -> Trial:
    status, name = answer.status, destination.format.name
    url = destination.url_of(kind)
    if status == 401:
        return Trial("wrong", "does not accept the token (401)")
    if status == 403:
        return Trial("wrong", "answers 403: the token's plan, role or scope does not allow conversions")
    if 300 <= status <= 399:
        location = answer.headers.get("location", "elsewhere").partition("?")[0][:200]
        return Trial("wrong", f"redirects to {location} ({status}): set that URL instead")
    if status in (404, 405):
        return Trial("wrong", f"has nothing at {url} ({status}): check its URL")
    result = destination.verdict(answer, Sent(kind, "{}")).result
    if result == "unauthorized":  # as this destination says it
        return Trial("wrong", f"does not accept the token ({status})")
    if 400 <= status <= 499:
        return Trial("ok", f"accepts the token and reads requests in format {name} ({status} to an empty one)")
    if 200 <= status <= 299 and result == "permanent":
        return Trial("ok", f"accepts the token and reads requests in format {name} (it refuses an empty one)")
    if 200 <= status <= 299:
        return Trial("warn", f"accepts an empty request ({status}): is {url} an API that takes the format {name}?")
    return Trial("warn", f"answers {status} to a request in format {name}")
