"""Random and mutated bodies, rightly signed, over all sources: each is taken or refused, none is lost, nothing breaks."""

import json
import os
import random
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.bootstrap import make_intake, make_ledger
from app.config.settings import Settings
from app.errors import MalformedEvent, SignatureError
from app.model import Inbound
from app.sources.catalog import SOURCES, content_type_of

BODIES = int(os.environ.get("BRIDGE_FUZZ", "2000"))
"""20,000 in the nightly run."""
FIXTURES = sorted(
    p
    for p in Path(__file__).parents[1].glob("app/sources/*/fixtures/*")
    if p.is_file() and not p.name.endswith(".expected.json") and "several" not in p.name
)
JUNK = (
    b"null",
    b"[]",
    b'""',
    b"{}",
    b"-1",
    b"1e999",
    b"true",
    b'"\\ud800"',
    b"\x00",
    b"\xff\xfe",
    b'{"a":' * 50,
    b"&",
    b"%00",
)
TOKEN = "path-token-of-the-fuzz-test"


def mutate(body: bytes, dice: random.Random) -> bytes:
    """A few changes somewhere: bytes flipped, pieces cut out, repeated or replaced by junk."""
    for _ in range(dice.randint(0, 4)):
        start = dice.randrange(len(body) + 1)
        end = min(len(body), start + dice.choice((0, 1, 1, 4, 30, 200)))
        piece = dice.choice((b"", dice.choice(JUNK), bytes([dice.randrange(256)]), body[start:end] * 2))
        body = body[:start] + piece + body[end:]
    return body


VALUES: tuple[object, ...] = (
    None,
    "",
    "null",
    0,
    -1,
    1e308,
    10**30,
    True,
    [],
    {},
    [[]],
    {"id": None},
    "é\u202e😀",
    "x" * 3000,
    "\x00",
    "1970-01-01",
    "a@b.co",
)


def restructure(value: object, dice: random.Random) -> object:
    """JSON that is still JSON: some values replaced, some ids made fresh, some members gone."""
    if isinstance(value, dict):
        return {k: restructure(v, dice) for k, v in value.items() if dice.random() > 0.01}
    if isinstance(value, list):
        return [restructure(v, dice) for v in value]
    if dice.random() < 0.03:
        return dice.choice(VALUES)
    if isinstance(value, str) and len(value) > 12 and dice.random() < 0.5 and value.replace("_", "").isalnum():
        return value[:6] + dice.randbytes(8).hex()
    return value


@pytest.mark.timeout(600)
def test_nothing_that_comes_in_breaks_the_bridge_or_is_lost(
    make_settings: Callable[..., Settings], ledger_url: str
) -> None:
    tokens = {f"{n.upper()}_PATH_TOKEN": TOKEN for n, s in SOURCES.items() if not s.signed}
    secrets = {
        f"{n.upper()}_WEBHOOK_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" for n, s in SOURCES.items() if s.signed
    }
    settings = make_settings(DATABASE_URL=ledger_url, **tokens, **secrets)
    ledger = make_ledger(settings)
    intake, writer = make_intake(settings, ledger)
    seen: Counter[str] = Counter()

    def take(seed: int) -> tuple[str, str, bytes]:
        dice = random.Random(seed)
        path = dice.choice(FIXTURES)
        source = SOURCES[path.parents[1].name]
        original = path.read_bytes()
        kind = dice.random()
        if kind < 0.05:
            body = dice.randbytes(dice.randrange(400))
        elif kind < 0.75 and path.suffix == ".json" and not path.name.endswith("broken.json"):
            body = json.dumps(restructure(json.loads(original), dice)).encode()
        else:
            body = mutate(original, dice)
        now = datetime.now(UTC)
        headers = {"content-type": content_type_of(path.name, original), "host": "bridge"}
        if source.signed:
            signed = source.sign(body, secrets[f"{source.name.upper()}_WEBHOOK_SECRET"], now)
            headers |= {name.lower(): value for name, value in signed.items()}
        try:
            receipt = intake.take(source.name, Inbound(body, headers), None if source.signed else TOKEN, now)
        except (MalformedEvent, SignatureError) as refused:
            return type(refused).__name__, "", body
        return receipt.outcome, f"{source.name}:{receipt.id}", body

    with ThreadPoolExecutor(16) as pool:
        for outcome, row, _body in pool.map(take, range(BODIES)):
            seen[outcome] += 1
            assert outcome in ("MalformedEvent", "SignatureError") or row
    writer.stop()
    with ledger.read() as tx:
        rows, counted = tx.run("SELECT COUNT(*), SUM(received_count) FROM events").one()
        claimed = tx.run("SELECT COUNT(*) FROM dedupe_keys").scalar_one()
    taken = sum(n for outcome, n in seen.items() if outcome not in ("MalformedEvent", "SignatureError"))
    assert counted == taken
    assert rows > 0
    assert claimed > 0
    ledger.close()
    print(f"\n{BODIES} bodies: {dict(seen)}; {rows} events in the ledger, received {counted} times")
