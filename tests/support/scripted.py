"""A destination that misbehaves as scripted, and remembers every request with what it did about it."""

import asyncio
import json
import random
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

FINAL = frozenset({"refused"})
"""Answers after which the bridge must not try again."""
SILENT = frozenset({"half", "nothing", "reset", "hang", "drip"})
"""After these the bridge cannot know whether the request was taken."""
WELL = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n" + b'{"success":true}'
ANSWERS = {
    "ok": WELL,
    "500": b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\n\r\ndown",
    "429": b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nContent-Length: 4\r\n\r\nslow",
    "refused": b"HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\n\r\nbad",
    "redirect": b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/elsewhere\r\nContent-Length: 0\r\n\r\n",
}

TAKEN = frozenset({"ok", "1xx"})
"""The destination acted on these, and says so. "1xx": after an interim answer, and a moment later."""
INTERIM_SECONDS = 0.3

Script = Callable[[str, int], str]
"""(Idempotency-Key, how many requests of that key came before) -> ok, 1xx, 500, 429, refused, redirect, half, nothing, reset,
hang or drip."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request. taken: the destination acted on it; answered: and its answer left, whole."""

    key: str
    body: bytes
    at: float
    what: str
    taken: bool
    answered: bool


class ScriptedDestination:
    """Serves on a thread of its own. `script` may be replaced at any time; `delay_seconds` is before each answer."""

    def __init__(self, seed: int = 1) -> None:
        self.script: Script = lambda _key, _before: "ok"
        self.answers = dict(ANSWERS)
        self.delay_seconds = 0.0
        self.asked: list[Asked] = []
        self.open_requests = 0
        self.drip_seconds = 0.05
        """Between the bytes of an answer that drips; it is whole after some 95 of them."""
        self.lets_go = False
        """Whether what hangs or drips is ended, so that nobody has to wait until the other side gives up."""
        self.dice = random.Random(seed)
        self.seen: dict[str, int] = {}
        self._loop = asyncio.new_event_loop()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._is_up = threading.Event()
        self._thread = threading.Thread(target=self._run, name="scripted-destination", daemon=True)
        self._thread.start()
        self._is_up.wait(100)

    def close(self) -> None:
        """Idempotent."""
        if self._loop.is_closed():
            return
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._listener.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(
            self._loop.create_server(lambda: _Conversation(self), sock=self._listener)
        )
        self._is_up.set()
        try:
            self._loop.run_forever()
        finally:
            server.close()
            for task in asyncio.all_tasks(self._loop):
                task.cancel()
            self._loop.run_until_complete(asyncio.sleep(0))
            self._loop.close()


class _Conversation(asyncio.Protocol):
    """One connection: HTTP/1.1 with Content-Length, one request at a time."""

    def __init__(self, destination: ScriptedDestination) -> None:
        self._destination = destination
        self._received = b""
        self._transport: asyncio.Transport
        self._tasks: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, rest = self._received.partition(b"\r\n\r\n")
        if not end:
            return
        headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(":") for line in head.decode("latin-1").split("\r\n")[1:])
        }
        length = int(headers.get("content-length", "0"))
        if len(rest) < length:
            return
        self._received = rest[length:]
        task = asyncio.get_running_loop().create_task(self._answer(headers["idempotency-key"], rest[:length]))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _answer(self, key: str, body: bytes) -> None:
        destination, transport = self._destination, self._transport
        before = destination.seen.get(key, 0)
        destination.seen[key] = before + 1
        what, at = destination.script(key, before), time.monotonic()
        destination.open_requests += 1
        try:
            if destination.delay_seconds:
                await asyncio.sleep(destination.delay_seconds)
            if what == "1xx":
                transport.write(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
                await asyncio.sleep(INTERIM_SECONDS)
            taken = what in TAKEN or (what in SILENT and destination.dice.random() < 0.5)
            answered = what not in SILENT and not transport.is_closing()
            destination.asked.append(Asked(key, body, at, what, taken, answered))
            await self._say(what)
        finally:
            destination.open_requests -= 1

    async def _say(self, what: str) -> None:
        transport = self._transport
        if what == "1xx":
            transport.write(WELL)
        elif what in self._destination.answers:
            transport.write(self._destination.answers[what])
        elif what == "half":
            transport.write(WELL[:-6])
            transport.close()
        elif what == "nothing":
            transport.close()
        elif what == "reset":
            sock = transport.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            transport.abort()
        elif what == "hang":
            while not self._is_over:
                await asyncio.sleep(0.05)
            transport.close()
        elif what == "drip":
            for byte in WELL + b" " * 10_000:
                if self._is_over:
                    break
                transport.write(bytes([byte]))
                await asyncio.sleep(self._destination.drip_seconds)
            transport.close()

    @property
    def _is_over(self) -> bool:
        return self._transport.is_closing() or self._destination.lets_go


def sometimes(what: Sequence[str], share: float, seed: int) -> Script:
    """A fault of `what` for that share of the requests, at random."""
    dice = random.Random(seed)
    return lambda _key, _before: dice.choice(what) if dice.random() < share else "ok"


def for_good(what: str, share: float) -> Script:
    """`what` for a share of the keys, whenever they come."""
    return lambda key, _before: what if random.Random(key).random() < share else "ok"


def share_of(**shares: float) -> Script:
    """Each answer for its share of the keys, whenever they come, and "ok" for the others."""

    def script(key: str, _before: int) -> str:
        dice = random.Random(key).random()
        for what, share in shares.items():
            dice -= share
            if dice < 0:
                return what
        return "ok"

    return script


def invoice_of(body: bytes) -> str | None:
    """The invoiceId of a Sale; None for a Lead."""
    found: str | None = json.loads(body).get("invoiceId")
    return found
