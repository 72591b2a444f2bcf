"""The Apps Script of docs/sources.md, run as it stands: what it sends is signed, and mapped to the whole Lead."""

import json
import re
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from app.intake.dry_run import explain
from app.model import Inbound, Rules
from app.sources.catalog import SOURCES

PAGE = Path(__file__).parents[2] / "docs" / "sources.md"
SECRET = "ein-Geheimnis-mit-ü-0123456789"
AROUND = """
const crypto = require('crypto'), sent = [];
const Utilities = {
  Charset: { UTF_8: 'utf8' },
  computeHmacSha256Signature: (value, key, charset) =>
    [...new Int8Array(crypto.createHmac('sha256', Buffer.from(key, charset)).update(Buffer.from(value, charset)).digest())],
  sleep() {},
};
const UrlFetchApp = { fetch: (url, options) => {
  sent.push({ url, ...options });
  return { getResponseCode: () => sent.length < 2 ? 503 : 200 };
} };
const item = (title, answer) => ({ getItem: () => ({ getTitle: () => title }), getResponse: () => answer });
const response = {
  getId: () => '2_ABaOn', getTimestamp: () => new Date(1775824496789), getRespondentEmail: () => '',
  getItemResponses: () => [item('Your name', 'Zoë Ångström 😀'), item('E-mail', 'zoe@example.com'),
    item('clickId', 'clk_gf_1'), item('Topics', ['a', 'b'])],
};
onSubmit({ source: { getId: () => 'f1', getTitle: () => 'Anfrage' }, response });
console.log(JSON.stringify(sent));
"""
"""Google's services, as far as the script uses them. Its signature is a list of signed bytes; the first answer is a 503."""


def run_script() -> list[dict[str, Any]]:
    """The requests that the script makes for one response."""
    node = shutil.which("node")
    if node is None:
        pytest.skip("the script is JavaScript, and node is not installed")
    (script,) = re.findall(r"```js\n(.*?)```", PAGE.read_text(), re.S)
    script = script.replace("PUBLIC_URL", "https://bridge.example").replace(
        "the value of GOOGLEFORMS_WEBHOOK_SECRET", SECRET
    )
    done = subprocess.run([node, "-e", script + AROUND], capture_output=True, text=True, timeout=60, check=True)
    found = json.loads(done.stdout)
    assert isinstance(found, list)
    return found


def test_the_script_of_the_page_signs_what_it_sends_and_tries_again() -> None:
    source, now = SOURCES["googleforms"], datetime.now(UTC)
    requests = run_script()
    assert [request["url"] for request in requests] == ["https://bridge.example/webhooks/googleforms"] * 2
    for request in requests:
        headers = {name.lower(): value for name, value in request["headers"].items()}
        inbound = Inbound(request["payload"].encode(), {"content-type": request["contentType"], **headers})
        source.verify(inbound, [SECRET], now)
        line = explain(source, inbound, Rules(), now)
    assert line["dedupe_keys"] == ["lead:googleforms:2_ABaOn"]
    assert line["payload"] == {
        "event": "lead",
        "timestamp": "2026-04-10T12:34:56.789Z",
        "clickId": "clk_gf_1",
        "customerExternalId": "zoe@example.com",
        "email": "zoe@example.com",
        "name": "Zoë Ångström 😀",
        "metadata": {"source": "googleforms", "form": "Anfrage", "event": "submission"},
    }
