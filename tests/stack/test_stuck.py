"""Workers that are stuck, and stores that fall silent."""

import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from sqlalchemy import make_url

from app.queue import connect
from app.stack import supervisor as supervising
from app.stack.heart import VARIABLE, Heart, beat
from app.stack.supervisor import Supervisor, child
from tests.conftest import PATIENCE_SECONDS, FakeDestination, Valkey, wait_for
from tests.support.proxy import Proxy
from tests.support.stack_parts import Stack

pytestmark = pytest.mark.stack
BEATING = "import os, time\nwhile True:\n    os.write(int(os.environ['BRIDGE_HEART']), b'.'); time.sleep(0.05)\n"
SILENT = "import time\nwhile True: time.sleep(1)\n"
BEATS_ONCE = "import os, time, signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + BEATING.replace(
    "while True:\n    ", ""
).replace("time.sleep(0.05)", "time.sleep(1000)")


def taken(stack: Stack, body: bytes) -> bool:
    return stack.post(body).status_code == 200


def test_a_part_that_beats_no_more_is_started_again_and_others_are_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervising, "STUCK_SECONDS", 5.0)
    supervisor = Supervisor(tmp_path)
    parts, hearts = {}, {}
    for name, code in (("worker 1", BEATING), ("worker 2", SILENT), ("worker 3", BEATS_ONCE), ("worker 4", BEATING)):
        heart = Heart()
        module = f"part_{name[-1]}"
        (tmp_path / f"{module}.py").write_text(code)
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        supervisor.add(name, partial(child, module, [], environment, heart), 0.5, heart)
        process = supervisor._parts[-1].process
        assert process is not None
        parts[name], hearts[name] = process.pid, heart

    def pid(name: str) -> int | None:
        part = next(part for part in supervisor._parts if part.name == name)
        return part.process.pid if part.process else None

    beating = [heart for name, heart in hearts.items() if name != "worker 2"]
    assert supervisor.watch(lambda: all(heart.silent_seconds() for heart in beating), PATIENCE_SECONDS)
    os.kill(parts["worker 4"], signal.SIGSTOP)
    assert supervisor.watch(lambda: pid("worker 3") not in (parts["worker 3"], None) and
                            pid("worker 4") not in (parts["worker 4"], None), PATIENCE_SECONDS)  # fmt: skip
    assert (pid("worker 1"), pid("worker 2")) == (parts["worker 1"], parts["worker 2"])
    supervisor.stop()


def test_a_beat_is_for_whoever_listens_and_nothing_otherwise() -> None:
    heart = Heart()
    beat({})
    beat({VARIABLE: "x"})
    beat({VARIABLE: "99999"})
    heart.start()
    assert heart.silent_seconds() == 0.0, "before its first beat a part may wait for the ledger"
    for _ in range(100_000):  # more than the pipe holds
        beat({VARIABLE: str(heart.writing)})
    first = heart.silent_seconds()
    time.sleep(0.05)
    assert heart.silent_seconds() >= first + 0.05


@pytest.mark.parametrize("ledger_url", ["postgresql"], indirect=True)
def test_web_and_worker_survive_a_postgresql_that_falls_silent(
    make_stack: Callable[..., Stack], make_purchase: Callable[..., bytes], destination: FakeDestination, ledger_url: str
) -> None:
    proxy = Proxy(f"{make_url(ledger_url).query['host']}/.s.PGSQL.5432")
    stack = make_stack(DATABASE_URL=f"postgresql://postgres@127.0.0.1:{proxy.port}/{make_url(ledger_url).database}")
    processes = [stack.start("web"), stack.start("worker")]
    assert stack.post_all([make_purchase() for _ in range(20)]) == [200] * 20
    wait_for(lambda: stack.counts() == {"delivered": 20})
    bodies = [make_purchase() for _ in range(20)]
    proxy.silence()
    for body in bodies:
        wait_for(partial(taken, stack, body))
    wait_for(lambda: stack.counts() == {"delivered": 40})
    assert [process.poll() for process in processes] == [None, None]
    assert len({payload["invoiceId"] for payload in destination.payloads}) == 40
    proxy.close()


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_forwarding_goes_on_with_a_redis_that_falls_silent(
    make_stack: Callable[..., Stack], make_purchase: Callable[..., bytes], destination: FakeDestination, valkey: Valkey
) -> None:
    target = urlsplit(valkey.url).path
    proxy = Proxy(target)
    stack = make_stack(REDIS_URL=f"redis://127.0.0.1:{proxy.port}/0")
    processes = [stack.start("web"), stack.start("worker")]
    assert stack.post(make_purchase()).status_code == 200
    wait_for(lambda: stack.counts() == {"delivered": 1})
    began = time.monotonic()
    proxy.silence(new=True)
    assert stack.post_all([make_purchase() for _ in range(20)]) == [200] * 20
    wait_for(lambda: stack.counts() == {"delivered": 21})
    assert time.monotonic() - began < 50, "RQ alone would wait for 55 s"
    proxy.restore()
    assert stack.post(make_purchase()).status_code == 200
    wait_for(lambda: stack.counts() == {"delivered": 22})
    for process in reversed(processes):
        process.terminate()
        assert process.wait(PATIENCE_SECONDS) == 0
    proxy.close()


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("command", [("REPLICAOF", "127.0.0.1", "1"), ("CONFIG", "SET", "maxmemory", "1")])
def test_forwarding_goes_on_with_a_redis_that_takes_no_writes(
    make_stack: Callable[..., Stack], make_purchase: Callable[..., bytes], valkey: Valkey, command: tuple[str, ...]
) -> None:
    stack = make_stack()
    worker = [stack.start("web"), stack.start("worker")][1]
    redis = connect(valkey.url)
    redis.execute_command(*command)
    assert stack.post_all([make_purchase() for _ in range(20)]) == [200] * 20
    wait_for(lambda: stack.counts() == {"delivered": 20})
    redis.close()
    worker.terminate()
    assert worker.wait(PATIENCE_SECONDS) == 0
