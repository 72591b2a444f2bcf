"""An orderly stop: what is in flight is waited for, and nothing is sent twice because of it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from app.config.settings import Settings
from app.destinations.target import stop_seconds_of
from app.errors import ConfigurationError
from app.stack.supervisor import Supervisor
from tests.conftest import PATIENCE_SECONDS, Valkey, wait_for
from tests.support.scripted import ScriptedDestination
from tests.support.stack_parts import Stack
from tests.support.up import Up

stack_alone = pytest.mark.stack
IN_TERMINAL = """
import fcntl, os, sys, termios
os.setsid()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, "-m", *sys.argv[1:]])
"""
"""Runs a module of ours as the leader of a session whose terminal is its standard input."""


@pytest.fixture
def place() -> Iterator[ScriptedDestination]:
    made = ScriptedDestination()
    yield made
    made.close()


@pytest.fixture
def stack(ledger_url: str, valkey: Valkey, place: ScriptedDestination, tmp_path: Path) -> Iterator[Stack]:
    made = Stack(tmp_path, ledger_url, valkey.url, place.url)
    yield made
    made.close()


@stack_alone
def test_a_worker_that_is_stopped_waits_for_what_is_in_flight_and_nothing_is_sent_twice(
    stack: Stack, place: ScriptedDestination, make_purchase: Callable[..., bytes]
) -> None:
    place.delay_seconds = 1.5
    stack.start("web")
    worker = stack.start("worker")
    assert stack.post_all([make_purchase() for _ in range(20)]) == [200] * 20
    wait_for(lambda: place.open_requests)
    worker.terminate()
    assert worker.wait(PATIENCE_SECONDS) == 0
    with stack.ledger.read() as tx:
        assert tx.run("SELECT COUNT(*) FROM deliveries WHERE claim IS NOT NULL").scalar_one() == 0
    sent = len(place.asked)
    assert sent > 0
    assert stack.counts().get("delivered") == sent, "each answer was waited for"
    stack.start("worker")
    wait_for(lambda: stack.counts() == {"delivered": 20})
    assert len(place.asked) == 20 == len({asked.key for asked in place.asked})


@stack_alone
@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_a_terminal_that_is_closed_ends_web_and_worker_in_good_order(stack: Stack) -> None:
    terminals = []
    for module in (["app", "web"], ["workers"]):
        ours, theirs = os.openpty()
        command = [sys.executable, "-c", IN_TERMINAL, *module]
        process = subprocess.Popen(command, env=stack.environment, stdin=theirs, stdout=stack.log, stderr=stack.log)
        stack.processes.append(process)
        os.close(theirs)
        terminals.append(ours)
    stack.wait_until_up()
    wait_for(lambda: "worker.started" in stack.log_path.read_text("utf-8"))
    for terminal in terminals:
        os.close(terminal)
    assert [process.wait(PATIENCE_SECONDS) for process in stack.processes] == [0, 0]
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{stack.url}/healthz", timeout=5)


@stack_alone
def test_up_waits_for_an_answer_that_takes_almost_as_long_as_a_request_may(
    tmp_path: Path, place: ScriptedDestination
) -> None:
    """Its worker gave up after 9 s, and it killed the worker after 12 s, whatever DESTINATION_TIMEOUT was."""
    place.delay_seconds = 12.5
    up = Up(tmp_path / "up", tmp_path / "up" / "var")
    up.environment |= {
        "DESTINATION_URL": place.url,
        "DESTINATION_TOKEN": "token",
        "DESTINATION_ALLOW_PRIVATE": "1",
        "DESTINATION_TIMEOUT": "40",
        "STRIPE_WEBHOOK_SECRET": "whsec_of_this_test",
        "STRIPE_ALLOW_TEST_EVENTS": "1",
    }
    up.start()
    try:
        up.bridge("send", "stripe", "--yes")
        wait_for(lambda: place.open_requests)
        assert up.process is not None
        up.process.terminate()
        assert up.process.wait(PATIENCE_SECONDS) == 0
        assert "part.killed" not in up.said()
        assert len(place.asked) == 1
        assert [(d["status"], d["attempts"]) for d in up.deliveries()] == [("delivered", 1)]
    finally:
        up.close()


@stack_alone
def test_a_hangup_that_is_ignored_stays_ignored(tmp_path: Path) -> None:
    """As under nohup."""
    code = (
        "import signal, sys, threading\n"
        "from app.stack.processes import on_stop_signals\n"
        "signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
        "stop = threading.Event()\n"
        "on_stop_signals(stop.set)\n"
        "print('ready', flush=True)\n"
        "while not stop.wait(0.05): pass\n"
        "print('stopped')\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGHUP)
    time.sleep(0.3)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.communicate(timeout=PATIENCE_SECONDS)[0] == "stopped\n"


def test_a_signal_that_comes_while_the_flag_is_waited_for_does_not_block() -> None:
    """A worker that was asked to stop while it waited for Redis could hang for ever: threading.Event blocks here at once."""
    code = (
        "import signal\n"
        "from app.stack.processes import StopFlag\n"
        "count = 0\n"
        "flag = StopFlag()\n"
        "def stop(*_):\n"
        "    global count\n"
        "    count += 1\n"
        "    flag.set()\n"
        "signal.signal(signal.SIGALRM, stop)\n"
        "signal.setitimer(signal.ITIMER_REAL, 0.003, 0.003)\n"
        "while count < 300:\n"
        "    flag.wait(0.00001)\n"
        "signal.setitimer(signal.ITIMER_REAL, 0)\n"
        "assert flag.wait(0) and StopFlag().wait(0.01) is False\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=PATIENCE_SECONDS)


def test_workers_are_stopped_all_at_once(tmp_path: Path) -> None:
    """Each of them may take STOP_SECONDS; one after the other they took that many times as long."""
    code = (
        "import signal, sys, time\nfrom pathlib import Path\n"
        "mine, other = map(Path, sys.argv[1:])\n"
        "def stop(*_):\n"
        "    mine.write_text('asked')\n"
        "    while not other.exists(): time.sleep(0.01)\n"
        "    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, stop)\n"
        "Path(str(mine) + '.ready').touch()\n"
        "while True: time.sleep(1)\n"
    )
    supervisor = Supervisor(tmp_path)
    one, two = tmp_path / "one", tmp_path / "two"
    supervisor.add(
        "worker 1", lambda: subprocess.Popen([sys.executable, "-c", code, str(one), str(two)]), PATIENCE_SECONDS
    )
    supervisor.add(
        "worker 2", lambda: subprocess.Popen([sys.executable, "-c", code, str(two), str(one)]), PATIENCE_SECONDS
    )
    processes = [part.process for part in supervisor._parts]
    wait_for(lambda: Path(f"{one}.ready").exists() and Path(f"{two}.ready").exists())
    supervisor.stop()
    assert [process and process.poll() for process in processes] == [0, 0]


@pytest.mark.parametrize(
    ("variables", "tables", "seconds"),
    [
        ({}, "", 12),
        ({"DESTINATION_TIMEOUT": "2.5"}, "", 4.5),
        ({"DESTINATION_TIMEOUT": "120"}, "", 60),
        ({"STOP_SECONDS": "5", "DESTINATION_TIMEOUT": "120"}, "", 5),
        ({"STOP_SECONDS": "0"}, "", 0),
        ({}, "timeout = 30", 32),
    ],
)
def test_a_stop_waits_as_long_as_a_request_may_take_unless_told_otherwise(
    make_settings: Callable[..., Settings],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variables: dict[str, Any],
    tables: str,
    seconds: float,
) -> None:
    if tables:
        path = tmp_path / "bridge.toml"
        path.write_text(f'[destinations.crm]\nurl = "https://crm.example"\ntoken_env = "CRM_TOKEN"\n{tables}\n')
        variables = {**variables, "BRIDGE_CONFIG": str(path), "CRM_TOKEN": "token"}
    settings = make_settings(DESTINATION_URL="https://main.example", DESTINATION_TOKEN="token", **variables)
    assert stop_seconds_of(settings) == seconds


def test_stop_seconds_are_at_most_60(make_settings: Callable[..., Settings]) -> None:
    with pytest.raises(ConfigurationError, match="STOP_SECONDS"):
        make_settings(STOP_SECONDS="61")
