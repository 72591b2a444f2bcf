"""Whether a destination answers, over the same path that deliveries take: its proxy, its certificate, the check of its address."""

import asyncio
import time
from dataclasses import dataclass

from app.destinations.http import Client
from app.destinations.target import USER_AGENT, Destination
from app.errors import TransientDeliveryError

LONGEST_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Probe:
    """What came of a HEAD request that carries nothing, no token either. Any status counts as an answer."""

    answers: bool
    text: str
    """In words for whoever asked."""
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
