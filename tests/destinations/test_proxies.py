"""Whether outgoing connections use a proxy is one setting, the same for deliveries, probes, alerts and Stripe's API."""

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest

from app.alerts.channel import AlertUnsent
from app.alerts.webhook import post
from app.config.proxies import Proxies
from app.config.settings import Settings
from app.destinations.formats.registry import format_of
from app.destinations.http import Client
from app.destinations.probe import probe
from app.destinations.target import Destination, DestinationClient, destinations_of
from app.errors import ConfigurationError, TransientDeliveryError
from tests.conftest import FakeDestination
from tests.destinations.test_http import CERTIFICATE, tls_server
from tests.support.http_proxy import Proxy
from tests.support.raw_server import OK, read_request, serving

PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")


@pytest.fixture
def proxy(destination: FakeDestination) -> Iterator[Proxy]:
    made = Proxy(("127.0.0.1", urlsplit(destination.url).port or 0))
    yield made
    made.close()


def send(destination: Destination) -> int:
    return asyncio.run(DestinationClient(destination).send("sale", "{}", "sale:x:1", datetime.now(UTC))).status


def test_a_delivery_a_probe_and_an_alert_ignore_the_proxies_of_the_environment(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch, destination: FakeDestination, proxy: Proxy
) -> None:
    for name in PROXY_VARIABLES:
        monkeypatch.setenv(name, proxy.url)
    settings = make_settings(DESTINATION_URL=destination.url, DESTINATION_TOKEN="token", DESTINATION_ALLOW_PRIVATE="1")
    (target,) = destinations_of(settings)
    assert target.proxy is None
    assert send(target) == 200
    assert not probe(target).answers or "HEAD" in probe(target).text
    post(destination.url, {}, settings.proxies, "it")
    assert proxy.heads == []


@pytest.mark.parametrize("setting", ["url", "environment"])
def test_the_setting_sends_deliveries_probes_and_alerts_through_the_proxy(
    make_settings: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
    destination: FakeDestination,
    proxy: Proxy,
    setting: str,
) -> None:
    if setting == "environment":
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
    settings = make_settings(
        DESTINATION_URL="http://crm.example",
        DESTINATION_TOKEN="token",
        OUTBOUND_PROXY=proxy.url.replace("://", "://ada:pass%20word@") if setting == "url" else "environment",
    )
    (target,) = destinations_of(settings)
    assert send(target) == 200
    probe(target)
    post("http://hooks.example/x", {}, settings.proxies, "it")
    lines = [head.split("\r\n", 1)[0] for head in proxy.heads]
    assert lines == [
        "POST http://crm.example/track/sale HTTP/1.1",
        "HEAD http://crm.example/ HTTP/1.1",
        "POST http://hooks.example/x HTTP/1.1",
    ]
    for head in proxy.heads:
        assert ("proxy-authorization: basic ywrhonbhc3mgd29yza==" in head.lower()) is (setting == "url")
    assert destination.requests[0]["headers"]["host"] == "crm.example"


def test_https_goes_through_a_tunnel_and_the_certificate_is_that_of_the_destination() -> None:
    def serve(connection: socket.socket) -> None:
        while read_request(connection):
            server.requests += 1
            connection.sendall(OK)

    async def ask(tls: ssl.SSLContext | None) -> int:
        destination = Destination(
            "main", "https://localhost", "token", format_of("events"), proxy=tunnel.url, allow_private=True
        )
        endpoint = destination.endpoint()
        client = Client(replace(endpoint, tls=tls or endpoint.tls), 30)
        statuses = [(await client.request("POST", "/", {}, b"{}")).status for _ in range(2)]
        client.close()
        assert statuses == [200, 200]
        return len(tunnel.heads)

    with serving(tls_server(serve)) as server:
        tunnel = Proxy(("127.0.0.1", server.port))
        assert asyncio.run(ask(ssl.create_default_context(cafile=str(CERTIFICATE / "localhost.pem")))) == 1
        assert tunnel.heads[0].split("\r\n") == ["CONNECT localhost:443 HTTP/1.1", "Host: localhost:443"]
        with pytest.raises(TransientDeliveryError, match="CERTIFICATE_VERIFY_FAILED"):
            asyncio.run(ask(None))
        assert server.requests == 2
        tunnel.close()


@pytest.mark.parametrize("answer", [b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", b"", b"x" * 20_000])
def test_a_proxy_that_opens_no_tunnel_means_that_nothing_was_sent(answer: bytes) -> None:
    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(answer)

    with serving(serve) as server:
        destination = Destination("main", "https://crm.example", "t", format_of("events"), proxy=server.url)
        with pytest.raises(TransientDeliveryError, match=r"cannot connect: .*the proxy (answered 407|did not open)"):
            send(destination)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://crm.example", "http://proxy.example:3128"),
        ("https://crm.example", "http://secure.example:3129"),
        ("http://inner.example", None),
        ("http://sub.inner.example:8080", None),
        ("http://dotted.example", None),
        ("http://x.dotted.example", None),
        ("http://notinner.example", "http://proxy.example:3128"),
        ("http://ported.example:81", None),
        ("http://ported.example", "http://proxy.example:3128"),
        ("http://10.1.2.3", None),
        ("http://11.1.2.3", "http://proxy.example:3128"),
        ("http://127.0.0.1:8000/sandbox", None),
        ("http://localhost:8000", None),
        ("http://[::1]:8000", None),
    ],
)
def test_no_proxy_names_hosts_domains_ports_and_networks_and_this_machine_is_always_reached_directly(
    url: str, expected: str | None
) -> None:
    environment = {
        "HTTP_PROXY": "proxy.example:3128",
        "https_proxy": "http://secure.example:3129",
        "NO_PROXY": "inner.example, .dotted.example,ported.example:81,10.0.0.0/8",
    }
    assert Proxies("environment", environment).of(url) == expected
    assert Proxies(None, environment).of(url) is None


@pytest.mark.parametrize(
    ("variables", "name"),
    [
        ({"OUTBOUND_PROXY": "socks5://me:secret@proxy.example"}, "OUTBOUND_PROXY"),
        ({"OUTBOUND_PROXY": "http://me:secret@proxy.example:x"}, "OUTBOUND_PROXY"),
        ({"OUTBOUND_PROXY": "environment", "HTTPS_PROXY": "socks5://me:secret@proxy.example"}, "HTTPS_PROXY"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_named_at_start_and_its_password_is_not_shown(
    make_settings: Callable[..., Settings], variables: dict[str, str], name: str
) -> None:
    with pytest.raises(ConfigurationError, match=name) as caught:
        destinations_of(make_settings(DESTINATION_URL="https://crm.example", DESTINATION_TOKEN="t", **variables))
    assert "secret" not in str(caught.value)


def test_a_probe_refuses_a_private_address_as_a_delivery_does(destination: FakeDestination) -> None:
    target = Destination("main", destination.url, "token", format_of("events"))
    found = probe(target)
    assert not found.answers
    assert "127.0.0.1, a private address: set DESTINATION_ALLOW_PRIVATE=1" in found.text
    assert destination.requests == []
    assert probe(replace(target, allow_private=True)).answers


def test_an_alert_that_fails_says_nothing_of_the_proxy(make_settings: Callable[..., Settings]) -> None:
    with pytest.raises(AlertUnsent) as caught:
        post("http://hooks.example/x", {}, Proxies("http://me:secret@127.0.0.1:1", {}), "it")
    assert "secret" not in str(caught.value)
