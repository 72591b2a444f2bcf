"""Encryption at rest: intake with ENCRYPTION_KEY beside intake without it. The column `floor` is the bridge without the key."""

import base64
import secrets
from collections.abc import Iterator

from app.config.setting_types import ENCRYPTION_KEY_BYTES
from bench.load import Order, Tally
from bench.parts import Database, Part, Parts
from bench.processor import processor_seconds
from bench.table import Row, median, number


def measure(parts: Parts, *, rounds: int, seconds: float, databases: tuple[Database, ...]) -> Iterator[Row]:
    """Alternating rounds of two webs, each on a ledger of its own, no worker running."""
    key = base64.b64encode(secrets.token_bytes(ENCRYPTION_KEY_BYTES)).decode()
    for database in databases:
        sealing = parts.web(parts.database(database), ENCRYPTION_KEY=key)
        plain = parts.web(parts.database(database))
        yield from _compare(parts, f"intake with ENCRYPTION_KEY, {database}", sealing, plain, rounds, seconds)
        sealing[0].stop()
        plain[0].stop()


def _compare(
    parts: Parts, name: str, sealing: tuple[Part, int], plain: tuple[Part, int], rounds: int, seconds: float
) -> Iterator[Row]:
    webs = (sealing, plain)
    tallies: tuple[list[Tally], list[Tally]] = ([], [])
    used: tuple[list[float], list[float]] = ([], [])
    for _, port in webs:
        parts.load(Order(port, 1.0))
    for _ in range(rounds):
        for (web, port), tally, microseconds in zip(webs, tallies, used, strict=True):
            before = processor_seconds(web.pid)
            tally.append(parts.load(Order(port, seconds)))
            microseconds.append((processor_seconds(web.pid) - before) * 1e6 / tally[-1].answered)
    for what, unit, (with_key, without) in (
        ("webhooks a second", "", [median([tally.rate for tally in one]) for one in tallies]),
        ("p50", "ms", [median([tally.p50_ms for tally in one]) for one in tallies]),
        ("p99", "ms", [median([tally.p99_ms for tally in one]) for one in tallies]),
        ("web's processor time per webhook", "µs", [median(one) for one in used]),
    ):
        yield Row(f"{name}: {what}", number(with_key, unit), number(without, unit), with_key / without)
