"""Anyone who can write to Redis runs nothing in a worker: only our own job, without arguments, and nothing that a job names."""

import json
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from rq import Callback, Queue
from rq.job import Job, JobStatus
from rq.registry import StartedJobRegistry
from rq.serializers import JSONSerializer
from rq.webhook import Webhook

from app.queue import JOB, QUEUE_NAME, Nudges, connect
from app.stack.processes import StopFlag
from tests.conftest import FakeDestination, Valkey
from workers import forward as forwarding
from workers.__main__ import BridgeWorker
from workers.nudge_job import NudgeJob

TRAP = "trap_of_the_tests.spring"


class Looks:
    """Stands where a worker's forwarder does, and counts how often it was asked to look."""

    def __init__(self) -> None:
        self.count = 0

    def run(self, before_look: Callable[[], object]) -> int:
        before_look()
        self.count += 1
        return 0


class Office:
    """A real Valkey, a worker that works off what is queued, and somebody who writes there what they like."""

    def __init__(self, url: str, folder: Path) -> None:
        self.redis: Redis = connect(url)
        self.queue = Queue(QUEUE_NAME, connection=self.redis, serializer=JSONSerializer)
        self.nudges = Nudges(self.redis)
        self.looks = Looks()
        self.trap = folder / "sprung"
        """There once a module was imported because a job names it."""
        (folder / "trap_of_the_tests.py").write_text(
            f"import pathlib\npathlib.Path({str(self.trap)!r}).touch()\nspring = print\n"
        )
        forwarding.install(self.looks, self.nudges.clear)  # type: ignore[arg-type]

    def work(self) -> None:
        worker = BridgeWorker(
            [QUEUE_NAME], connection=self.redis, serializer=JSONSerializer, job_class=NudgeJob, stop=StopFlag()
        )
        worker.work(burst=True, logging_level="CRITICAL")

    def queue_raw(self, data: bytes, **fields: str) -> None:
        job = Job.create(JOB, connection=self.redis, serializer=JSONSerializer, origin=QUEUE_NAME)
        job.save()
        mapping: dict[Any, Any] = {"data": data, "status": "queued", **fields}
        self.redis.hset(job.key, mapping=mapping)
        self.redis.rpush(self.queue.key, job.id)


@pytest.fixture
def office(valkey: Valkey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "trap_of_the_tests", raising=False)
    made = Office(valkey.url, tmp_path)
    yield made
    forwarding._installed.clear()
    made.redis.close()


def test_our_own_job_runs(office: Office) -> None:
    office.nudges.nudge()
    office.work()
    assert office.looks.count == 1


@pytest.mark.parametrize("name", [TRAP, "os.mkdir", "subprocess.call", "workers.forward.install", "no.such.module"])
def test_no_other_name_is_called_nor_even_imported(office: Office, name: str) -> None:
    office.queue.enqueue(name, str(office.trap))
    office.nudges._queue.enqueue(JOB)
    office.work()
    assert not office.trap.exists()
    assert office.looks.count == 1, "and what is queued behind it runs"


@pytest.mark.parametrize(
    "call",
    [
        [JOB, None, ["surplus"], {}],
        [JOB, None, [], {"surplus": 1}],
        ["format", "{}", ["x"], {}],
        [JOB + "_er", None, [], {}],
        None,
        [],
        {"a": 1},
        [JOB, {"a": 1}, [], {}],
        [None, None, None, None],
    ],
)
def test_our_own_name_with_anything_else_is_dropped(office: Office, call: dict[str, int] | list[Any] | None) -> None:
    office.queue_raw(zlib.compress(json.dumps(call).encode()))
    office.queue.enqueue(JOB)
    office.work()
    assert office.looks.count == 1


@pytest.mark.parametrize("data", [b"", b"\x80\x04cos\nsystem\n.", b"not json", zlib.compress(b"\xff\xfe")])
def test_rubbish_is_dropped(office: Office, data: bytes) -> None:
    office.queue_raw(data)
    office.queue.enqueue(JOB)
    office.work()
    assert office.looks.count == 1


def test_no_callback_and_no_webhook_of_a_job_is_called(office: Office, destination: FakeDestination) -> None:
    for name in (JOB, "os.getcwd", "no.such.module"):
        office.queue.enqueue(
            name,
            on_success=Callback(TRAP),
            on_failure=Callback(TRAP),
            on_stopped=Callback(TRAP),
            webhooks=[Webhook(destination.url, status) for status in (JobStatus.FINISHED, JobStatus.FAILED)],
        )
    office.work()
    assert office.looks.count == 1
    assert not office.trap.exists()
    assert destination.requests == []


def test_no_callback_of_an_abandoned_job_is_called(office: Office) -> None:
    """RQ calls it while it cleans up after workers that died."""
    job = office.queue.enqueue(JOB, on_failure=Callback(TRAP))
    office.redis.delete(office.queue.key)
    job.set_status(JobStatus.STARTED)
    registry = StartedJobRegistry(QUEUE_NAME, connection=office.redis, serializer=JSONSerializer)
    office.redis.zadd(registry.key, {f"{job.id}:execution": time.time() - 100})
    worker = BridgeWorker(
        [QUEUE_NAME], connection=office.redis, serializer=JSONSerializer, job_class=NudgeJob, stop=StopFlag()
    )
    worker.clean_registries()
    assert not office.trap.exists()


def test_a_job_that_is_dropped_is_neither_kept_nor_queued_again(office: Office) -> None:
    from rq import Repeat, Retry

    office.queue.enqueue("os.mkdir", str(office.trap), retry=Retry(max=3))
    office.queue.enqueue("os.mkdir", str(office.trap), repeat=Repeat(times=3))
    office.work()
    assert office.queue.count == 0
    assert not office.trap.exists()
    assert office.redis.keys("rq:job:*") == []
