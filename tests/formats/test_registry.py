"""A format is one file: it is found by itself, and everything else follows."""

import asyncio
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.destinations import formats
from app.destinations.formats import registry
from app.destinations.formats.base import Format, Options
from app.destinations.formats.registry import FORMATS, format_of
from app.destinations.target import Destination, DestinationClient
from tests.conftest import FakeDestination

DOCS = Path(__file__).parents[2] / "docs" / "formats.md"
HOOK = """
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from app.destinations.formats.base import Body, Format, HttpRequest, Options
from app.model import Facts, DeliveryKind


class Hook(Format):
    name = "hook"

    def body(self, facts: Facts) -> Body:
        return Body({"id": facts.customer_id, "what": facts.kind})

    def problem(self, kind: DeliveryKind, fields: Mapping[str, Any]) -> str | None:
        return None if fields.get("id") else "id is missing"

    def request(self, kind: DeliveryKind, body: str, key: str, token: str, now: datetime) -> HttpRequest:
        headers = {"X-Api-Key": token, "Content-Type": "application/json", "X-Time": str(int(now.timestamp()))}
        return HttpRequest("PUT", f"/v2/{kind}s", headers, body.encode())


def make(options: Options) -> Format:
    return Hook()
"""


@pytest.fixture
def hook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Format]:
    (tmp_path / "hook.py").write_text(HOOK)
    monkeypatch.setattr(formats, "__path__", [*formats.__path__, str(tmp_path)])
    yield registry.find()["hook"](Options())
    sys.modules.pop(f"{formats.__name__}.hook", None)
    delattr(formats, "hook")


def test_a_file_in_the_folder_is_a_format(hook: Format) -> None:
    assert hook.name == "hook"
    assert "hook" not in FORMATS


def test_its_request_is_what_is_sent(hook: Format, destination: FakeDestination) -> None:
    target = Destination("crm", f"{destination.url}/base", "a-token", hook, allow_private=True)
    now = datetime(2026, 4, 10, tzinfo=UTC)

    async def send() -> None:
        client = DestinationClient(target)
        await client.send("sale", '{"id":"u","what":"sale"}', "sale:stripe:in_1", now)
        client.close()

    destination.answer = lambda request: (200, {}, b"{}")
    asyncio.run(send())
    (request,) = destination.requests
    assert request["path"] == "/base/v2/sales"
    assert request["headers"]["x-api-key"] == "a-token"
    assert request["headers"]["x-time"] == str(int(now.timestamp()))
    assert "authorization" not in request["headers"]
    assert target.url_of("lead").endswith("/base/v2/leads")


def test_the_default_comes_first_and_every_format_is_documented() -> None:
    assert next(iter(FORMATS)) == "events"
    text = DOCS.read_text("utf-8")
    for name in FORMATS:
        assert f"| `{name}` |" in text
        assert format_of(name).name == name


def test_an_unknown_format_is_an_error() -> None:
    with pytest.raises(KeyError):
        format_of("smoke signals")
