"""Asking a destination which Sales it holds, over the same path that deliveries take. Reads only."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import count

from app.destinations.formats.base import Books, HttpRequest
from app.destinations.http import MOST_RECEIVED, Answer, Client
from app.destinations.target import USER_AGENT, Destination
from app.errors import DeliveryError

MOST_PAGES = 10_000
LONGEST_WAIT_SECONDS = 60.0
WAITS = 5
"""So often a 429 is waited for."""


class BooksRefused(DeliveryError):
    """The destination does not say what it holds; the text says why."""


@dataclass(frozen=True, slots=True)
class Held:
    """Invoice ids that a destination holds, of those that it was asked for. title: the service's name."""

    title: str
    invoice_ids: frozenset[str]


def held_of(destination: Destination, invoice_ids: Iterable[str], since: datetime) -> Held | None:
    """Which of these Sales the destination holds, and recorded since then; None if it has no API to ask.

    Its list is read first, and each Sale that this does not have is asked for by itself. Raises BooksRefused, and
    TransientDeliveryError where it does not answer.
    """
    books, asked_for = destination.format.books, frozenset(invoice_ids)
    if books is None:
        return None
    return Held(books.title, asyncio.run(_ask(_Asking(destination, books), asked_for, since)))


class _Asking:
    def __init__(self, destination: Destination, books: Books) -> None:
        self.books, self.token = books, destination.token
        self._path, self._rate = destination.path, destination.rate
        self._client = Client(destination.endpoint(), destination.timeout_seconds, longest_answer=MOST_RECEIVED)

    async def ask(self, asked: HttpRequest) -> Answer:
        """A 2xx. Waits where there are too many requests."""
        for waits in count():
            headers = {"User-Agent": USER_AGENT, **asked.headers}
            answer = await self._client.request(asked.method, self._path + asked.path, headers, asked.body)
            if answer.status != 429 or waits == WAITS:
                break
            pause = answer.headers.get("retry-after", "")
            await asyncio.sleep(min(float(pause) if pause.isdigit() else 5.0, LONGEST_WAIT_SECONDS))
        if not 200 <= answer.status <= 299:
            scope = ": the token may not read events or commissions" if answer.status in (401, 403) else ""
            raise BooksRefused(f"answered {answer.status} to {asked.path.partition('?')[0]}{scope}")
        if self._rate:
            await asyncio.sleep(1 / self._rate)
        return answer

    def close(self) -> None:
        self._client.close()


async def _ask(asking: _Asking, asked_for: frozenset[str], since: datetime) -> frozenset[str]:
    books, seen = asking.books, set[str]()
    try:
        for page in range(1, MOST_PAGES):
            listed = books.listed(await asking.ask(books.list_request(since, page, asking.token)))
            if listed is None:
                raise BooksRefused("answered with something other than a list of events")
            before = len(seen)
            seen.update(listed)
            if len(listed) < books.page_size or len(seen) == before:
                break
        for invoice_id in sorted(asked_for - seen):
            if books.holds(await asking.ask(books.sale_request(invoice_id, asking.token)), invoice_id):
                seen.add(invoice_id)
    finally:
        asking.close()
    return frozenset(seen & asked_for)
