"""The floor of forwarding: a bare loop of aiohttp on one event loop and kept-alive connections. No ledger, claims or retries.

`python -m bench.bare PORT COUNT CONCURRENCY`
"""

import asyncio
import json
import secrets
import sys
from collections.abc import Iterator

import aiohttp
import uvloop

PAYLOAD = {
    "event": "sale",
    "timestamp": "2026-04-10T12:34:56.000Z",
    "clickId": "clk_@",
    "customerExternalId": "cus_@",
    "email": "@@example.com",
    "name": "Marta Reis",
    "currency": "USD",
    "amount": 199.99,
    "invoiceId": "pi_@",
}
HEADERS = {"Authorization": "Bearer token-of-the-benchmark", "Content-Type": "application/json"}


async def send_all(port: int, bodies: list[tuple[str, bytes]], concurrency: int) -> None:
    """Posts all of `bodies`, (key, payload) each. Raises RuntimeError where an answer is not 200."""
    turns = iter(bodies)
    url = f"http://127.0.0.1:{port}/track/sale"

    async def work(session: aiohttp.ClientSession, turns: Iterator[tuple[str, bytes]]) -> None:
        for key, payload in turns:
            async with session.post(url, data=payload, headers={"Idempotency-Key": key}) as answer:
                await answer.read()
                if answer.status != 200:
                    raise RuntimeError(f"answered {answer.status}")

    connector = aiohttp.TCPConnector(limit=0)
    jar = aiohttp.DummyCookieJar()
    async with aiohttp.ClientSession(connector=connector, cookie_jar=jar, headers=HEADERS) as session:
        await asyncio.gather(*[work(session, turns) for _ in range(concurrency)])


def main() -> None:
    port, count, concurrency = (int(argument) for argument in sys.argv[1:])
    text, bodies = json.dumps(PAYLOAD, separators=(",", ":")), []
    for _ in range(count):
        identity = secrets.token_hex(12)
        bodies.append((f"sale:stripe:pi_{identity}", text.replace("@", identity).encode()))
    uvloop.run(send_all(port, bodies, concurrency))


if __name__ == "__main__":
    main()
