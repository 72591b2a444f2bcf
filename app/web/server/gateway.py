"""The front door, on the server's event loop: it waits for bodies, takes the usual webhook, and hands all else to Flask.

A thread is asked only once a request has come whole. (While Flask's threads read bodies themselves, as many clients as there
were threads, each sending half a body and no more, stopped the web for everybody; none of them needed a secret.) And a whole,
authentic webhook is verified, mapped and given to the ledger's writer right here, since 32 threads that fight for the
interpreter's lock cost more than the work itself. It answers only what was recorded; everything else, every refusal
included, goes on to the Flask view with the same bytes, which is the one place that knows what to say.

RSGI: https://github.com/emmett-framework/granian/blob/master/docs/spec/RSGI.md. The Flask application alone also runs under
any WSGI server (app.web.factory:wsgi), where both of this must be somebody else's care.
"""

import asyncio
import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import structlog
from granian.rsgi import ProtocolClosed

from app.errors import BridgeError, LedgerUnavailable
from app.intake.verify_and_map import Intake
from app.ledger.recording.writer import GroupWriter, Submitted
from app.model import Inbound
from app.web.errors import RETRY_AFTER_SECONDS
from app.web.server.wsgi import Threads
from app.web.webhooks import LARGEST_BODY, told

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

PREFIX = "/webhooks/"
BODY_SECONDS = 30.0
"""For a whole body. Providers give up sooner."""
JSON = ("content-type", "application/json")

log = structlog.get_logger(__name__)


class Gateway:
    """An RSGI application in front of `flask`. count(source, outcome) is told of each webhook that was recorded here."""

    def __init__(
        self,
        flask: "WSGIApplication",
        intake: Intake,
        writer: GroupWriter,
        public_url: str | None,
        count: Callable[[str, str], None],
        threads: int,
        body_seconds: float = BODY_SECONDS,
    ) -> None:
        self._intake = intake
        self._writer = writer
        self._sources = frozenset(intake.configured)
        self._base = public_url
        self._count = count
        self._threads = Threads(flask, ThreadPoolExecutor(threads, thread_name_prefix="flask"))
        self._body_seconds = body_seconds
        self._loop: asyncio.AbstractEventLoop | None = None

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    async def __rsgi__(self, scope: Any, proto: Any) -> None:
        """One request."""
        headers = read_headers(scope.headers.items())
        limit = _Limit(self._body_seconds)
        try:
            body = await read_body(proto, headers)
        except asyncio.CancelledError:
            if not limit.is_over:
                raise
            proto.response_str(408, [JSON], json.dumps({"error": f"no whole body within {self._body_seconds:g} s"}))
            return
        except ProtocolClosed:  # the client went away amid it, or at least sends no more
            proto.response_str(400, [JSON], json.dumps({"error": "the body ended early"}))
            return
        finally:
            limit.lift()
        if scope.method == "POST" and scope.path.startswith(PREFIX) and not scope.query_string:
            answer = await self._take(scope.path, headers, body)
            if answer is not None:
                proto.response_bytes(*answer)
                return
        await self._threads.ask(scope, proto, headers, body)

    async def _take(
        self, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, list[tuple[str, str]], bytes] | None:
        """The answer to a webhook that was recorded (or that the ledger cannot take now); None where Flask is to say."""
        source, slash, token = path[len(PREFIX) :].partition("/")
        if source not in self._sources or (slash and not token) or not is_whole(headers, body):
            return None
        inbound = Inbound(body, headers, f"{self._base}{path}" if self._base else "")
        try:
            arrival = self._intake.read(source, inbound, token or None, datetime.now(UTC))
            assert self._loop is not None
            future: asyncio.Future[Submitted] = self._loop.create_future()
            self._writer.submit(arrival, self._tell, future)
            limit = self._loop.call_later(self._writer.patience_seconds, _give_up, future)
            settled = await future
            limit.cancel()
            receipt = settled.result()
        except (LedgerUnavailable, TimeoutError) as error:  # asking the view would only make it wait twice
            text = str(error) or "the ledger took no event in time"
            return 503, [JSON, ("retry-after", RETRY_AFTER_SECONDS)], json.dumps({"error": text}).encode()
        except BridgeError:
            return None
        except Exception as error:
            log.error("request.failed", path="/webhooks/…", exc_info=error)
            return None
        self._count(source, receipt.outcome)
        return 200, [JSON], told(receipt)

    def _tell(self, done: Sequence[Submitted]) -> None:
        """Called by the writer, on its thread, with all that one commit settled: one wake-up of the loop for many requests."""
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(_resolve, done)
        except RuntimeError:  # the loop is closed: the server has stopped, and its clients know
            return


class _Limit:
    """Cancels the task that made it after `seconds`, unless it is lifted before. As asyncio.timeout does, which took a tenth of
    a webhook's time for its bookkeeping."""

    __slots__ = ("_handle", "_task", "is_over")

    def __init__(self, seconds: float) -> None:
        self._task = asyncio.current_task()
        self._handle = asyncio.get_running_loop().call_later(seconds, self._end)
        self.is_over = False

    def _end(self) -> None:
        self.is_over = True
        if self._task is not None:
            self._task.cancel()

    def lift(self) -> None:
        self._handle.cancel()


def _give_up(future: "asyncio.Future[Submitted]") -> None:
    if not future.done():
        future.set_exception(TimeoutError())


def _resolve(done: Sequence[Submitted]) -> None:
    for one in done:
        if not one.context.done():
            one.context.set_result(one)


def read_headers(items: Iterable[tuple[str, str]]) -> dict[str, str]:
    """By lower-case name; a repeated one is joined as RFC 9110 (and, for cookies, RFC 9113) has it."""
    headers: dict[str, str] = {}
    for name, value in items:
        if name in headers:
            value = f"{headers[name]}{'; ' if name == 'cookie' else ', '}{value}"
        headers[name] = value
    return headers


async def read_body(proto: Any, headers: dict[str, str]) -> bytes:
    """The body. One that is too large is not read: what is returned, or told by content-length, then exceeds LARGEST_BODY."""
    length = headers.get("content-length")
    if length is not None:
        if not length.isdigit() or int(length[:18]) > LARGEST_BODY:
            return b""
        return bytes(await proto())
    if "transfer-encoding" not in headers:
        return b""
    body = bytearray()
    async for chunk in proto:
        body += chunk
        if len(body) > LARGEST_BODY:
            break
    return bytes(body)


def is_whole(headers: dict[str, str], body: bytes) -> bool:
    """Whether all came that was announced, and no more than may come."""
    length = headers.get("content-length")
    return len(body) <= LARGEST_BODY and (length is None or length == str(len(body)))
