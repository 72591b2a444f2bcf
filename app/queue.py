"""Nudges: RQ jobs that say only "look". They carry nothing, so losing every one of them loses nothing.

At most one nudge waits: a flag in Redis (SET NX, short expiry) is set before the job is queued and deleted by the job before
its first look, and none is queued behind another (the flag may expire while no worker is there). RQ's own unique ids are not
used for this: they refuse while the job runs, and live on after a kill.
"""

import threading
import time
import uuid
from typing import Any

import structlog
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.retry import Retry
from redis.sentinel import Sentinel
from rq import Queue
from rq.serializers import JSONSerializer

from app.config.addresses.redis import SENTINEL, read_sentinels

QUEUE_NAME = "bridge"
FLAG = "bridge:nudge"
FLAG_SECONDS = 5
PROBE = "bridge:probe"
JOB = "workers.forward.forward"
JOB_TIMEOUT_SECONDS = 900
REST_SECONDS = 0.005
"""Between two nudges: under load many events share one, and the requests get the processor."""
LONG_REST_SECONDS = 0.2
"""After a nudge that found one waiting. The worker has still to answer that one, and then looks again and again for longer than
this (LINGER_SECONDS): what comes meanwhile needs no nudge."""
QUIET_SECONDS = 1.0
"""After Redis failed: how long the nudger leaves it alone. The sweepers nudge as well."""

log = structlog.get_logger(__name__)


def connect(url: str, *, timeout_seconds: float = 1.0) -> "Redis":
    """A client that never retries by itself (redis-py would sleep for seconds) and reads a dead server's silence as failure.

    Where the URL names Sentinels, each new connection asks them for the master of that moment.
    """
    options: dict[str, Any] = {
        "socket_connect_timeout": timeout_seconds,
        "socket_timeout": timeout_seconds,
        "retry": Retry(NoBackoff(), 0),
        "health_check_interval": 0,
    }
    if not url.startswith("unix:"):
        options["socket_keepalive"] = True
    if not url.startswith(SENTINEL):
        return Redis.from_url(url, **options)
    named = read_sentinels(url)
    sentinel = Sentinel(list(named.hosts), sentinel_kwargs={**options, **named.own}, **options, **named.options)
    master: Redis = sentinel.master_for(named.service, redis_class=Redis)
    return master


class Nudges:
    """Queues nudges for the workers. Raises RedisError where Redis cannot be reached; forget it or try later."""

    def __init__(self, redis: "Redis") -> None:
        self._redis = redis
        self._queue = Queue(QUEUE_NAME, connection=redis, serializer=JSONSerializer)

    def nudge(self) -> bool:
        """Queues a nudge unless one waits already. Returns whether it queued one."""
        if not self._redis.set(FLAG, "1", nx=True, ex=FLAG_SECONDS):
            return False
        if self._queue.count:  # it is answered after this moment, so it finds what this one is for
            return False
        self._queue.enqueue(
            JOB,
            job_id=f"nudge-{uuid.uuid4().hex}",
            job_timeout=JOB_TIMEOUT_SECONDS,
            result_ttl=0,
            failure_ttl=3600,
            ttl=3600,
            description="look",
        )
        return True

    def try_nudge(self) -> bool:
        """`nudge`, for a caller that goes on without Redis. False where it did not answer: the sweep finds the work by itself."""
        try:
            self.nudge()
        except (RedisError, OSError):
            return False
        return True

    def clear(self) -> None:
        """The nudge is being answered: from here on a new one may be queued."""
        self._redis.delete(FLAG)

    def try_write(self) -> None:
        """Raises RedisError unless Redis accepts a write: a replica, or a full Redis, answers reads and refuses nudges."""
        self._redis.set(PROBE, "1", ex=60)


def redis_problem(nudges: Nudges) -> str | None:
    """Why Redis accepts no nudges now, without its address; None if it does."""
    try:
        nudges.try_write()
    except ReadOnlyError:
        return "Redis is read-only, as a replica is"
    except OutOfMemoryError:
        return "Redis is out of memory"
    except (AuthenticationError, NoPermissionError):
        return "Redis refuses the user or password of REDIS_URL"
    except ResponseError as error:
        return f"Redis takes no writes ({str(error).split(' ', 1)[0][:20]})"
    except (RedisError, OSError) as error:
        return f"Redis does not answer ({type(error).__name__})"
    return None


class Nudger:
    """A thread that nudges for the web, so that no request ever waits for Redis."""

    def __init__(self, nudges: Nudges) -> None:
        self._nudges = nudges
        self._asked = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()

    def ask(self) -> None:
        """Returns at once; a nudge follows, unless Redis is away."""
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="nudger", daemon=True)
                    self._thread.start()
        self._asked.set()

    def _run(self) -> None:
        reachable = True
        while True:
            self._asked.wait()
            self._asked.clear()
            try:
                queued = self._nudges.nudge()
                reachable = True
                time.sleep(REST_SECONDS if queued else LONG_REST_SECONDS)
            except (RedisError, OSError) as error:
                if reachable:
                    log.warning("nudge.failed", error=type(error).__name__)
                reachable = False
                time.sleep(QUIET_SECONDS)


def worker_serializer() -> Any:
    """The serializer that workers must share with Nudges: JSON, since pickle would let anyone who can write to Redis run code."""
    return JSONSerializer
