"""The floor of forwarding: a bare loop of threads over http.client on kept-alive connections. No ledger, no claims, no retries.

`python -m bench.bare PORT COUNT THREADS`
"""

import http.client
import itertools
import json
import secrets
import sys
import threading

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


def send_all(port: int, bodies: list[tuple[str, bytes]], threads: int) -> None:
    """Posts all of `bodies`, (key, payload) each. Raises RuntimeError where an answer is not 200."""
    turns = itertools.count()  # next() of it is atomic
    failed: list[int] = []

    def work() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        headers = {"Authorization": "Bearer token-of-the-benchmark", "Content-Type": "application/json"}
        while (turn := next(turns)) < len(bodies):
            key, payload = bodies[turn]
            connection.request("POST", "/track/sale", payload, {**headers, "Idempotency-Key": key})
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                failed.append(answer.status)
        connection.close()

    started = [threading.Thread(target=work) for _ in range(threads)]
    for thread in started:
        thread.start()
    for thread in started:
        thread.join()
    if failed:
        raise RuntimeError(f"answered {failed[0]}")


def main() -> None:
    port, count, threads = (int(argument) for argument in sys.argv[1:])
    text, bodies = json.dumps(PAYLOAD, separators=(",", ":")), []
    for _ in range(count):
        identity = secrets.token_hex(12)
        bodies.append((f"sale:stripe:pi_{identity}", text.replace("@", identity).encode()))
    send_all(port, bodies, threads)


if __name__ == "__main__":
    main()
