"""Reading request bodies on the event loop, within bounds: of each body, of all bodies together, and of each client.

Clients are not authenticated while their bodies are read, so the memory of bodies is bounded over all connections, and so is
the number of unfinished bodies per client. At a bound, the oldest request of the client that holds the most is refused: an
honest body arrives within milliseconds and is hardly ever the oldest.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from granian.rsgi import ProtocolClosed

from app.web.public.webhooks import LARGEST_BODY
from app.web.server.patience import Patience

BODY_SECONDS = 30.0
"""Seconds for a whole body. Providers give up sooner."""
MOST_BYTES = 32 * LARGEST_BODY
"""Bytes of all bodies in a process, from their first byte until their request is answered."""
MOST_UNFINISHED = 256
"""The most unfinished bodies of one client."""
READ_AT_ONCE = 64 * 1024
"""A body up to this size is read in one call and counts in full from the start."""


class BodyRefused(Exception):
    """The body was not read completely. `status` is 400, 408 or 503; the text says why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class HeldBody:
    """The body of one request. `data` is set when it has arrived; b"" if it is too large."""

    __slots__ = ("_refusal", "_task", "client", "data", "size")

    def __init__(self, client: str) -> None:
        self.client = client
        self.data = b""
        self.size = 0
        self._task: asyncio.Task[Any] | None = None
        self._refusal: tuple[int, str] | None = None

    def refuse(self, status: int, message: str) -> None:
        """Stops reading. Raises BodyRefused if called from this body's own task."""
        if self._task is None or self._refusal is not None:
            return
        self._refusal = (status, message)
        if self._task is asyncio.current_task():
            raise BodyRefused(status, message)
        self._task.cancel()

    def begin(self) -> None:
        """From here on `refuse` ends the present task's reading."""
        self._task = asyncio.current_task()

    def end(self) -> None:
        self._task = None

    def refusal(self, error: asyncio.CancelledError | ProtocolClosed) -> tuple[int, str]:
        """What `error`, which ended the reading, means. Raises it if it was not `refuse` that cancelled the task."""
        if isinstance(error, ProtocolClosed):  # the client went away, or sends no more
            return 400, "the body ended early"
        if self._refusal is None:
            raise error
        return self._refusal


class Bodies:
    """All bodies of one process. For the event loop's thread only."""

    def __init__(
        self,
        seconds: float = BODY_SECONDS,
        most_bytes: int = MOST_BYTES,
        most_unfinished: int = MOST_UNFINISHED,
    ) -> None:
        self._patience = Patience[HeldBody](
            seconds, lambda held: held.refuse(408, f"no whole body within {seconds:g} s")
        )
        self._most_bytes = most_bytes
        self._most_unfinished = most_unfinished
        self._bytes = 0
        self._unfinished: dict[HeldBody, None] = {}
        """Oldest first."""
        self._bytes_of: Counter[str] = Counter()
        self._unfinished_of: Counter[str] = Counter()

    async def read(self, proto: Any, headers: Mapping[str, str], client: str) -> HeldBody:
        """The body of a request; `release` it once the request is answered. Raises BodyRefused."""
        held = HeldBody(client)
        if self._unfinished_of[client] >= self._most_unfinished:
            self._give_way(client)
        self._unfinished[held] = None
        self._unfinished_of[client] += 1
        self._patience.begin(held)
        held.begin()
        refusal: tuple[int, str] | None = None
        try:
            size = small_size(headers)
            if size is None:
                held.data = await read_body(proto, headers, lambda more: self._grow(held, more))
            else:
                self._grow(held, size)
                held.data = await proto()
        except (asyncio.CancelledError, ProtocolClosed) as error:
            self.release(held)
            refusal = held.refusal(error)
        except BaseException:
            self.release(held)
            raise
        finally:
            held.end()
            self._patience.end(held)
            self._finish(held)
        if refusal is not None:
            raise BodyRefused(*refusal)  # raised out here, it references no other error, and so no part of the body
        return held

    def release(self, held: HeldBody) -> None:
        """Frees its memory. Idempotent."""
        self._bytes -= held.size
        _count_down(self._bytes_of, held.client, held.size)
        held.size = 0
        held.data = b""

    def _grow(self, held: HeldBody, size: int) -> None:
        held.size += size
        self._bytes += size
        self._bytes_of[held.client] += size
        if self._bytes > self._most_bytes:
            clients = {unfinished.client for unfinished in self._unfinished}
            self._give_way(max(clients, key=self._bytes_of.__getitem__))

    def _give_way(self, client: str) -> None:
        oldest = next(held for held in self._unfinished if held.client == client)
        self._finish(oldest)
        oldest.refuse(503, "too many request bodies at once; please send it again")

    def _finish(self, held: HeldBody) -> None:
        if held in self._unfinished:
            del self._unfinished[held]
            _count_down(self._unfinished_of, held.client, 1)


def _count_down(counter: "Counter[str]", name: str, by: int) -> None:
    counter[name] -= by
    if counter[name] <= 0:
        del counter[name]


def small_size(headers: Mapping[str, str]) -> int | None:
    """The announced size of a body that is small enough to be read in one call; None if it is not, or not announced."""
    length = headers.get("content-length")
    if length is None or "transfer-encoding" in headers or not length.isdigit():
        return None
    size = int(length[:18])
    return size if size <= READ_AT_ONCE else None


async def read_body(proto: Any, headers: Mapping[str, str], grow: Callable[[int], None]) -> bytes:
    """A body that is not small; b"" where it is too large to be read (see `is_whole`). grow(n): n more bytes are held.

    Raises ProtocolClosed if the connection ended before the body did.
    """
    if "transfer-encoding" not in headers:
        length = headers.get("content-length")
        if length is None or not length.isdigit() or int(length[:18]) > LARGEST_BODY:
            return b""
    chunks: list[bytes] = []
    size = ends = 0
    async for chunk in proto:
        if not chunk:
            ends += 1
            continue
        grow(len(chunk))
        chunks.append(chunk)
        size += len(chunk)
        if size > LARGEST_BODY:
            return b"".join(chunks)
    # The server yields an empty chunk at the end of a body, and a second one if the body broke off early (or had
    # trailers, which nobody sends). It raises nothing, so only exactly one empty chunk means a complete body.
    if ends != 1:
        raise ProtocolClosed
    return b"".join(chunks)


def is_whole(headers: Mapping[str, str], body: bytes) -> bool:
    """Whether the announced length arrived, and no more than allowed."""
    length = None if "transfer-encoding" in headers else headers.get("content-length")
    return len(body) <= LARGEST_BODY and (length is None or length == str(len(body)))
