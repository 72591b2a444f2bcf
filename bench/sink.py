"""A destination, a process of its own: answers every POST with 200 {} at once, or after a delay, and remembers what came.

`python -m bench.sink [DELAY_SECONDS]` prints its port. GET /counts tells numbers and times (monotonic), GET /arrivals when
each Idempotency-Key came first, DELETE / forgets.
"""

import asyncio
import json
import sys
import time

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"


class Memory:
    """What came so far."""

    def __init__(self, delay_seconds: float) -> None:
        self.delay_seconds = delay_seconds
        self.forget()

    def forget(self) -> None:
        self.count = 0
        self.first_at = 0.0
        self.last_at = 0.0
        self.arrivals: dict[bytes, float] = {}


class Conversation(asyncio.Protocol):
    """One connection: raw HTTP/1.1 with Content-Length."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._received = b""
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        while True:
            end = self._received.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self._received[:end]
            whole = end + 4 + int(_header(head, b"\r\ncontent-length:") or b"0")
            if len(self._received) < whole:
                return
            self._received = self._received[whole:]
            self._answer(head)

    def _answer(self, head: bytes) -> None:
        memory, now = self._memory, time.monotonic()
        if not head.startswith(b"POST"):
            self._tell(head)
            return
        if not memory.count:
            memory.first_at = now
        memory.count += 1
        memory.arrivals.setdefault(_header(head, b"\r\nidempotency-key:"), now)
        if memory.delay_seconds:
            self._loop.call_later(memory.delay_seconds, self._send)
        else:
            self._send()

    def _send(self) -> None:
        self._memory.last_at = time.monotonic()
        self._transport.write(ANSWER)

    def _tell(self, head: bytes) -> None:
        memory = self._memory
        if head.startswith(b"DELETE"):
            memory.forget()
        answer: object = {key.decode(): arrived_at for key, arrived_at in memory.arrivals.items()}
        if not head.startswith(b"GET /arrivals"):
            first, last = memory.first_at, memory.last_at
            answer = {"count": memory.count, "distinct": len(memory.arrivals), "first_at": first, "last_at": last}
        body = json.dumps(answer).encode()
        self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


def _header(head: bytes, name: bytes) -> bytes:
    start = head.lower().find(name)
    if start < 0:
        return b""
    start += len(name)
    end = head.find(b"\r\n", start)
    return head[start : end if end >= 0 else len(head)].strip()


async def serve(delay_seconds: float) -> None:
    """Until killed."""
    memory = Memory(delay_seconds)
    server = await asyncio.get_running_loop().create_server(lambda: Conversation(memory), "127.0.0.1", 0, backlog=512)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(float(sys.argv[1]) if len(sys.argv) > 1 else 0.0))
