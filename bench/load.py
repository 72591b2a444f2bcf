"""The load generator, a process of its own: one thread, raw sockets, requests made and signed before the clock starts.

Reads an Order as JSON from standard input and writes a Tally as JSON to standard output. Closed loop: each connection asks
again as soon as it was answered. Paced: requests start at a steady rate, and a late one counts from when it was due.
"""

import gc
import json
import re
import select
import socket
import statistics
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass, field

from bench.purchases import Purchases, request

MOST_A_SECOND = 9000
"""How many requests are prepared for each second of a closed loop; it ends early where they are used up."""
LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
PATIENCE_SECONDS = 30.0


@dataclass(frozen=True)
class Order:
    """What to do. rate: requests a second, None for a closed loop. keep: tell when each purchase was answered."""

    port: int
    seconds: float
    connections: int = 32
    rate: float | None = None
    keep: bool = False


@dataclass
class Tally:
    """What came of it. Times are of the monotonic clock, which all processes of a machine share."""

    answered: int
    seconds: float
    p50_ms: float
    p99_ms: float
    started_at: float
    refused: dict[str, int]
    """Answers that were not 200, by status."""
    answered_at: dict[str, float] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        return self.answered / self.seconds


class Wire:
    """One connection and what it waits for."""

    __slots__ = ("asked_at", "number", "received", "sock")

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setblocking(False)
        self.received = b""
        self.number = 0
        self.asked_at = 0.0

    def ask(self, number: int, content: bytes, asked_at: float) -> None:
        self.number, self.asked_at, self.received = number, asked_at, b""
        if self.sock.send(content) != len(content):
            raise RuntimeError("a request did not fit into the socket's buffer")

    def hear(self) -> bool:
        """Takes what has come; True once the answer is whole."""
        part = self.sock.recv(65536)
        if not part:
            raise RuntimeError("the server closed a connection")
        self.received += part
        head, end, body = self.received.partition(b"\r\n\r\n")
        if not end:
            return False
        length = LENGTH.search(head)
        return length is not None and len(body) >= int(length.group(1))


def fire(order: Order) -> Tally:
    """Prepares, asks, and tells. Raises RuntimeError where a connection breaks or an answer does not come."""
    total = int(order.seconds * (order.rate or MOST_A_SECOND))
    purchases = Purchases()
    purchases_made = [purchases.make() for _ in range(total)]
    requests = [request(body, order.port) for _, body in purchases_made]
    identities = [identity for identity, _ in purchases_made]
    del purchases_made
    wires = [Wire(order.port) for _ in range(order.connections)]
    poll = select.epoll()
    by_number = {wire.sock.fileno(): wire for wire in wires}
    for number in by_number:
        poll.register(number, select.EPOLLIN)
    gc.freeze()
    gc.disable()
    answered_at, latencies, statuses = [0.0] * total, [], Counter[bytes]()
    pace = 1 / order.rate if order.rate else 0.0
    idle, following, busy = list(wires), 0, 0  # in turn: the server closes a connection that is idle for long
    started = now = time.monotonic()
    end = started + order.seconds
    while True:
        while idle and following < total and (started + following * pace <= now if pace else now < end):
            idle.pop(0).ask(following, requests[following], started + following * pace if pace else now)
            following += 1
            busy += 1
        if not busy and (following >= total or now >= end):
            break
        wait = PATIENCE_SECONDS
        if pace and idle and following < total:
            wait = max(0.0, started + following * pace - now)
        heard = poll.poll(wait)
        if not heard and wait == PATIENCE_SECONDS:
            raise RuntimeError(f"no answer within {PATIENCE_SECONDS:g} s")
        now = time.monotonic()
        for number, _ in heard:
            wire = by_number[number]
            if not wire.hear():
                continue
            now = time.monotonic()
            busy -= 1
            statuses[wire.received[9:12]] += 1
            latencies.append(now - wire.asked_at)
            answered_at[wire.number] = now
            if not pace and now < end and following < total:
                wire.ask(following, requests[following], now)
                following += 1
                busy += 1
            else:
                idle.append(wire)
    for wire in wires:
        wire.sock.close()
    cuts = statistics.quantiles(latencies, n=100)
    good = statuses.pop(b"200", 0)
    return Tally(
        answered=good,
        seconds=max(now - started, 1e-9),
        p50_ms=cuts[49] * 1000,
        p99_ms=cuts[98] * 1000,
        started_at=started,
        refused={status.decode(): count for status, count in statuses.items()},
        answered_at=dict(zip(identities[:following], answered_at, strict=False)) if order.keep else {},
    )


if __name__ == "__main__":
    json.dump(asdict(fire(Order(**json.load(sys.stdin)))), sys.stdout)
