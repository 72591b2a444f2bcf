"""Flask behind an event loop: a request that has come whole becomes a WSGI call on a thread of a pool."""

import asyncio
import io
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

WHOLE_BYTES = 512 * 1024
"""An answer of up to so many bytes goes out in one piece; a longer one (an export) as it is made."""
STALLED_SECONDS = 30.0
"""A reader who takes nothing of a long answer for that long has gone."""


class Threads:
    """Asks a WSGI application on threads of `pool`."""

    def __init__(self, application: "WSGIApplication", pool: ThreadPoolExecutor) -> None:
        self._application = application
        self._pool = pool

    async def ask(self, scope: Any, proto: Any, headers: dict[str, str], body: bytes) -> None:
        """Answers one request; `scope` and `proto` are RSGI's."""
        loop = asyncio.get_running_loop()
        environ = make_environ(scope, headers, body)
        await loop.run_in_executor(self._pool, self._run, environ, proto, loop)

    def _run(self, environ: "WSGIEnvironment", proto: Any, loop: asyncio.AbstractEventLoop) -> None:
        head: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], _error: Any = None) -> Any:
            head[:] = [int(status[:3]), [(name.lower(), value) for name, value in headers]]

        answer = self._application(environ, start_response)
        try:
            chunks = iter(answer)
            begun, is_all = _take(chunks, WHOLE_BYTES)
            if is_all:
                loop.call_soon_threadsafe(proto.response_bytes, *head, b"".join(begun))
            else:
                self._stream(proto, loop, head, chain(begun, chunks))
        finally:
            close = getattr(answer, "close", None)
            if close is not None:
                close()

    def _stream(self, proto: Any, loop: asyncio.AbstractEventLoop, head: list[Any], chunks: Iterable[bytes]) -> None:
        async def begin() -> Any:
            return proto.response_stream(*head)

        transport = asyncio.run_coroutine_threadsafe(begin(), loop).result(STALLED_SECONDS)
        for chunk in chunks:
            if chunk:
                asyncio.run_coroutine_threadsafe(transport.send_bytes(chunk), loop).result(STALLED_SECONDS)


def _take(chunks: Iterator[bytes], most: int) -> tuple[list[bytes], bool]:
    """The first chunks, up to some `most` bytes, and whether they are all."""
    taken, size = [], 0
    for chunk in chunks:
        taken.append(chunk)
        size += len(chunk)
        if size > most:
            return taken, False
    return taken, True


def make_environ(scope: Any, headers: dict[str, str], body: bytes) -> "WSGIEnvironment":
    """A request of RSGI as PEP 3333 wants it. Headers with an underscore, which could pass for others, are left out."""
    host, _, port = scope.server.rpartition(":")
    environ: WSGIEnvironment = {
        "REQUEST_METHOD": scope.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": scope.path.encode("utf-8", "surrogateescape").decode("latin-1"),
        "QUERY_STRING": scope.query_string,
        "SERVER_NAME": host or "localhost",
        "SERVER_PORT": port,
        "SERVER_PROTOCOL": f"HTTP/{scope.http_version}",
        "REMOTE_ADDR": scope.client.rpartition(":")[0].strip("[]"),
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.scheme,
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    if scope.authority:
        environ["HTTP_HOST"] = scope.authority
    for name, value in headers.items():
        if "_" not in name and name != "transfer-encoding":  # the body is whole, whatever it came as
            key = name.upper().replace("-", "_")
            environ[key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"] = value
    return environ
