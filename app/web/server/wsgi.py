"""Flask behind an event loop: a complete request becomes a WSGI call on a thread of a pool.

The thread builds the complete answer, and the server sends it at the client's pace without a thread. A long answer (a download)
is a temporary file, so a client that does not read costs disk space, but neither a thread nor memory.
"""

import asyncio
import io
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import IO, TYPE_CHECKING, Any

from app.web.server.peers import DESCRIPTORS

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

EXPORT_THREADS = 4
"""Downloads that are written at once; others wait their turn."""
OPENING_SECONDS = 60.0
"""How long a file is kept for the server to open. It reads through a descriptor of its own from then on."""


class FileAnswer:
    """What PEP 3333 calls a file wrapper. `file` is a real file, positioned at its beginning, and has no name any more."""

    def __init__(self, file: IO[bytes], block_size: int = 64 * 1024) -> None:
        self.file = file
        self._block_size = block_size

    def __iter__(self) -> "FileAnswer":
        return self

    def __next__(self) -> bytes:
        block = self.file.read(self._block_size)
        if not block:
            raise StopIteration
        return block

    def close(self) -> None:
        self.file.close()


class Threads:
    """Calls a WSGI application on threads of `pool`, and for downloads (.csv) on a few of its own."""

    def __init__(self, application: "WSGIApplication", pool: ThreadPoolExecutor) -> None:
        self._application = application
        self._pool = pool
        self._exports = ThreadPoolExecutor(EXPORT_THREADS, thread_name_prefix="export")

    async def ask(self, scope: Any, proto: Any, headers: dict[str, str], body: bytes) -> None:
        """Answers one request; `scope` and `proto` are RSGI's."""
        loop = asyncio.get_running_loop()
        environ = make_environ(scope, headers, body)
        pool = self._exports if scope.path.endswith(".csv") else self._pool
        status, answer_headers, answer = await loop.run_in_executor(pool, self._run, environ)
        if isinstance(answer, FileAnswer):
            proto.response_file(status, answer_headers, f"{DESCRIPTORS}/{answer.file.fileno()}")
            loop.call_later(OPENING_SECONDS, answer.close)
        else:
            proto.response_bytes(status, answer_headers, answer)

    def _run(self, environ: "WSGIEnvironment") -> tuple[int, list[tuple[str, str]], bytes | FileAnswer]:
        head: list[Any] = []

        def start_response(status: str, headers: list[tuple[str, str]], _error: Any = None) -> Any:
            head[:] = [int(status[:3]), [(name.lower(), value) for name, value in headers]]

        answer = self._application(environ, start_response)
        if isinstance(answer, FileAnswer):
            return head[0], head[1], answer
        try:
            return head[0], head[1], b"".join(answer)
        finally:
            close = getattr(answer, "close", None)
            if close is not None:
                close()


def make_environ(scope: Any, headers: dict[str, str], body: bytes) -> "WSGIEnvironment":
    """An RSGI request as a PEP 3333 environ. Headers with an underscore are left out, since they could pose as others."""
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
        "wsgi.file_wrapper": FileAnswer,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    if scope.authority:
        environ["HTTP_HOST"] = scope.authority
    for name, value in headers.items():
        if "_" not in name and name != "transfer-encoding":  # the body is complete, however it was sent
            key = name.upper().replace("-", "_")
            environ[key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"] = value
    return environ
