"""The front door, on the server's event loop: it reads bodies, takes webhooks, and hands everything else to Flask.

A request gets a thread only once it has arrived completely. (When Flask's threads read bodies themselves, as many clients as
there were threads could block the web for everyone, each by sending half a body, without any secret.) A small JSON webhook is
verified, mapped and handed to the ledger's writer right here, since 32 threads that compete for the interpreter's lock cost
more than the work itself. Slower requests, such as a large body or a form, run in a separate pool.

A request is refused as early as possible: by its URL before its body is read, and by its signature before its body is parsed.

RSGI: https://github.com/emmett-framework/granian/blob/master/docs/spec/RSGI.md. The Flask application alone also runs under
any WSGI server (app.web.factory:wsgi), which then has to provide all of this.
"""

import asyncio
import json
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

import structlog

from app.errors import BridgeError, LedgerUnavailable, SetupRequest, SourceError
from app.intake.quarantine import Request
from app.intake.verify_and_map import Intake
from app.ledger.recording.writer import GroupWriter, Submitted
from app.model import Inbound
from app.web.errors import RETRY_AFTER_SECONDS, status_of
from app.web.public.webhooks import Answers
from app.web.server.bodies import Bodies, BodyRefused, HeldBody, is_whole
from app.web.server.line_thread import LineThread
from app.web.server.patience import Patience
from app.web.server.wsgi import Threads
from app.web.throttle import Network, client_of, group_of, network_of

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

PREFIX = "/webhooks/"
SMALL = 32 * 1024
"""A JSON body up to this size is verified and mapped on the event loop."""
FORMS = ("application/x-www-form-urlencoded", "multipart/")
"""Content types that some sources can verify only by parsing the body."""
SLOW_THREADS = 2
JSON = ("content-type", "application/json")
RETRY_AFTER = ("retry-after", RETRY_AFTER_SECONDS)

log = structlog.get_logger(__name__)

Answer = tuple[int, list[tuple[str, str]], bytes]


class Gateway:
    """An RSGI application in front of `flask`. proxies: addresses whose X-Forwarded-For is trusted."""

    def __init__(
        self,
        flask: "WSGIApplication",
        intake: Intake,
        writer: GroupWriter,
        public_url: str | None,
        answers: Answers,
        threads: int,
        proxies: Sequence[Network] = (),
        bodies: Bodies | None = None,
        busy: set[str] | None = None,
    ) -> None:
        self._intake = intake
        self._writer = writer
        self._base = public_url
        self._answers = answers
        self._pages = ThreadPoolExecutor(threads, thread_name_prefix="flask")
        self._slow = ThreadPoolExecutor(SLOW_THREADS, thread_name_prefix="webhook")
        self._threads = Threads(flask, self._pages)
        self._proxies = proxies
        self._bodies = bodies or Bodies()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._patience = Patience(writer.patience_seconds, _give_up)
        self.lines = LineThread()
        self.busy: set[str] = set() if busy is None else busy
        """Clients ("address:port") whose requests are not answered yet. Shared with the gateway that this one follows."""
        self.open = 0
        """How many requests of this gateway are not answered yet."""
        self.at_end: Callable[[], None] = lambda: None
        """Called when the server stops, or another gateway has taken over, after the last request."""

    def __rsgi_del__(self, _loop: asyncio.AbstractEventLoop) -> None:
        self.end()

    def end(self) -> None:
        """Call after the last request. Idempotent."""
        self.lines.stop()
        self._pages.shutdown(wait=False)
        self._slow.shutdown(wait=False)
        self.at_end()

    def __rsgi_init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    async def __rsgi__(self, scope: Any, proto: Any) -> None:
        """One request."""
        self.busy.add(scope.client)
        self.open += 1
        try:
            await self._serve(scope, proto)
        finally:
            self.open -= 1
            self.busy.discard(scope.client)

    async def _serve(self, scope: Any, proto: Any) -> None:
        headers = read_headers(scope.headers.items())
        webhook = webhook_of(scope) if scope.method == "POST" else None
        if webhook is not None:
            try:
                self._intake.admit_body(*webhook)
            except SourceError as error:
                request = self._request(scope, headers, webhook[1], Inbound(b"", headers), datetime.now(UTC))
                proto.response_bytes(*await self._refuse(webhook[0], error, 0, request))
                return
        try:
            body = await self._bodies.read(proto, headers, self._client(scope, headers))
        except BodyRefused as refusal:
            proto.response_bytes(*error_answer(refusal.status, str(refusal)))
            return
        try:
            if webhook is not None and is_whole(headers, body.data):
                answer = await self._take(*webhook, scope, headers, body)
                if answer is not None:
                    proto.response_bytes(*answer)
                    return
            await self._threads.ask(scope, proto, headers, body.data)
        finally:
            self._bodies.release(body)

    async def _take(
        self, source: str, token: str | None, scope: Any, headers: dict[str, str], body: HeldBody
    ) -> Answer | None:
        """Answers a webhook. None after an unexpected error: then the Flask view answers."""
        began, now = time.perf_counter(), datetime.now(UTC)
        inbound = Inbound(body.data, headers, f"{self._base}{scope.path}" if self._base else "")
        try:
            assert self._loop is not None
            if is_quick(inbound):
                arrival = self._intake.read(source, inbound, token, now)
            else:
                arrival = await self._loop.run_in_executor(self._slow, self._intake.read, source, inbound, token, now)
            future: asyncio.Future[Submitted] = self._loop.create_future()
            self._writer.submit(arrival, self._tell, future)
            self._patience.begin(future)
            try:
                settled = await future
            finally:
                self._patience.end(future)
            receipt = settled.result()
        except SetupRequest as ping:
            return 200, [JSON], self._answers.pinged(source, ping)
        except SourceError as error:
            size = len(body.data)
            self._bodies.release(body)
            return await self._refuse(source, error, size, self._request(scope, headers, token, inbound, now))
        except (LedgerUnavailable, TimeoutError) as error:
            self._answers.unavailable(source)
            if isinstance(error, LedgerUnavailable):
                log.warning("ledger.unavailable", error=str(error))
                return error_answer(503, error.public)
            return error_answer(503, "the ledger took no event in time")
        except BridgeError:
            return None
        except Exception as error:
            log.error("request.failed", path="/webhooks/…", exc_info=error)
            return None
        seconds, received_at = time.perf_counter() - began, time.time()
        self.lines.put(partial(self._answers.log_received, source, receipt, seconds, len(body.data), received_at))
        return 200, [JSON], self._answers.accepted(source, receipt, seconds)

    async def _refuse(self, source: str, error: SourceError, size: int, request: Request) -> Answer:
        """Records the refusal on a thread: writing a log line may block."""
        assert self._loop is not None
        await self._loop.run_in_executor(self._pages, self._answers.refuse, source, error, size, request)
        return error_answer(status_of(error), error.public)

    def _request(
        self, scope: Any, headers: dict[str, str], token: str | None, inbound: Inbound, now: datetime
    ) -> Request:
        """A request that is refused."""
        return Request(inbound, token, network_of(self._client_address(scope, headers)), now)

    def _client(self, scope: Any, headers: dict[str, str]) -> str:
        return _group(self._client_address(scope, headers))

    def _client_address(self, scope: Any, headers: dict[str, str]) -> str:
        address = _address(scope.client)
        return client_of(address, headers.get("x-forwarded-for", ""), self._proxies) if self._proxies else address

    def _tell(self, done: Sequence[Submitted]) -> None:
        """Called on the writer's thread with everything that one commit settled: one wake-up of the loop for many requests."""
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(_resolve, done)
        except RuntimeError:  # the loop is closed: the server has stopped, and its clients know
            return


_group = lru_cache(maxsize=4096)(group_of)


def _address(client: str) -> str:
    return client.rpartition(":")[0].strip("[]")


def webhook_of(scope: Any) -> tuple[str, str | None] | None:
    """Source and token in the path of a webhook. None for other paths, and for a query (some sources sign their whole URL,
    which Flask rebuilds)."""
    if not scope.path.startswith(PREFIX) or scope.query_string:
        return None
    source, slash, token = scope.path[len(PREFIX) :].partition("/")
    if not source or (slash and not token) or "/" in token:
        return None
    return source, token or None


def is_quick(inbound: Inbound) -> bool:
    """Whether a webhook is verified and mapped faster than another thread could be asked to."""
    return len(inbound.body) <= SMALL and not inbound.content_type.casefold().startswith(FORMS)


def error_answer(status: int, message: str) -> Answer:
    headers = [JSON, RETRY_AFTER] if status == 503 else [JSON]
    return status, headers, json.dumps({"error": message}).encode()


def _give_up(future: "asyncio.Future[Submitted]") -> None:
    if not future.done():
        future.set_exception(TimeoutError())


def _resolve(done: Sequence[Submitted]) -> None:
    for submitted in done:
        # Or the two would hold each other, and the event's body, until the garbage collector comes.
        future, submitted.context = submitted.context, None
        if not future.done():
            future.set_result(submitted)


def read_headers(items: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Headers by lower-case name. Repeated ones are joined as in RFC 9110, cookies as in RFC 9113."""
    headers: dict[str, str] = {}
    for name, value in items:
        if name in headers:
            value = f"{headers[name]}{'; ' if name == 'cookie' else ', '}{value}"
        headers[name] = value
    return headers
