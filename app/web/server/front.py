"""The server's permanent entry point, which hands each request to the gateway of the current configuration.

A reload builds a complete new application beside the current one, and only then routes new requests to it. Earlier requests
finish where they began. So an invalid configuration changes nothing, and no connection is dropped.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

from app.web.server.gateway import Gateway

DRAIN_SECONDS = 60.0
"""How long the requests of the gateway before may take."""


class Front:
    """An RSGI application with a replaceable gateway."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._loop: asyncio.AbstractEventLoop | None = None
        self.at_end: Callable[[], None] = lambda: None
        """Called when the server stops, before the gateway's own end."""

    @property
    def gateway(self) -> Gateway:
        return self._gateway

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._gateway.__rsgi_init__(loop)

    def __rsgi_del__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.at_end()
        self._gateway.__rsgi_del__(loop)

    def __rsgi__(self, scope: Any, proto: Any) -> Coroutine[Any, Any, None]:
        return self._gateway.__rsgi__(scope, proto)

    def replace(self, gateway: Gateway) -> None:
        """Gives new requests to `gateway`, and ends the one before when its last request is answered. Returns at once."""
        if self._loop is not None:
            gateway.__rsgi_init__(self._loop)
        before, self._gateway = self._gateway, gateway
        threading.Thread(target=_end_when_idle, args=(before,), name="front", daemon=True).start()


def _end_when_idle(gateway: Gateway) -> None:
    deadline = time.monotonic() + DRAIN_SECONDS
    while True:
        time.sleep(0.1)
        if gateway.open == 0 or time.monotonic() > deadline:
            gateway.end()
            return
