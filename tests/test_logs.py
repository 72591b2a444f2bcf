"""Logs: each line is one JSON object, anyone who wrote it and whatever went wrong; on a terminal nothing steers it."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from app.config.settings import Settings
from app.logs import Sampler
from app.web.server.line_thread import MOST_WAITING, LineThread
from tests.conftest import PATIENCE_SECONDS, PYTHON, wait_for

FAILURES = """
import logging, sys, threading, warnings, asyncio
import structlog
from app.logs import configure_logs
configure_logs("info", sys.argv[1] if len(sys.argv) > 1 else None)
log = structlog.get_logger("ours")
log.info("delivery.attempted", status=200)
try:
    raise ValueError("two\\nlines")
except ValueError as error:
    log.error("request.failed", exc_info=error)
logging.getLogger("rq.worker").error("Worker %s\\nfailed", 1)
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger("psycopg.pool").exception("of a library")
warnings.warn("a warning")
def fail(): raise KeyError("in a thread")
thread = threading.Thread(target=fail, name="one"); thread.start(); thread.join()
async def forgotten(): raise OSError("in a task")
async def run():
    task = asyncio.ensure_future(forgotten()); await asyncio.sleep(0); del task
    import gc; gc.collect()
asyncio.run(run())
raise RuntimeError("uncaught")
"""


def lines_of(*arguments: str) -> list[str]:
    done = subprocess.run([PYTHON, "-c", FAILURES, *arguments], capture_output=True, text=True, timeout=100)
    assert done.returncode == 1
    return done.stderr.splitlines()


@pytest.mark.parametrize("arguments", [(), ("json",)])
def test_every_line_is_json_also_of_libraries_warnings_threads_and_what_ends_the_process(
    arguments: tuple[str, ...],
) -> None:
    entries = [json.loads(line) for line in lines_of(*arguments)]
    assert all({"event", "level", "timestamp"} <= set(entry) for entry in entries)
    events = [entry["event"] for entry in entries]
    for event in ("delivery.attempted", "request.failed", "of a library", "thread.failed", "process.failed"):
        assert event in events
    raised = [entry["exception"] for entry in entries if "exception" in entry]
    for text in (
        "ValueError: two",
        "ZeroDivisionError",
        "KeyError: 'in a thread'",
        "OSError: in a task",
        "RuntimeError: uncaught",
    ):
        assert any(text in exception for exception in raised), text
    assert {"rq.worker", "psycopg.pool", "py.warnings", "asyncio"} <= {entry.get("logger") for entry in entries}


def test_text_is_for_people() -> None:
    lines = lines_of("text")
    assert any("delivery.attempted" in line and "status=200" in line for line in lines)
    assert not any(line.startswith("{") for line in lines)


def test_what_comes_from_elsewhere_does_not_steer_the_terminal_that_shows_the_log() -> None:
    code = (
        "import structlog; from app.logs import configure_logs; configure_logs('info', 'text');"
        "structlog.get_logger().warning('delivery.failed', error='500 \\x1b[2J\\x9b\\u202e'); raise ValueError('\\x1b[31m')"
    )
    shown = subprocess.run([PYTHON, "-c", code], capture_output=True, text=True, timeout=100).stderr
    assert "delivery.failed" in shown
    assert not set("\x1b\x9b\u202e") & set(shown)


@pytest.mark.stack
@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_a_web_that_cannot_start_writes_json_alone(
    make_settings: Callable[..., Settings], ledger_url: str, tmp_path: Path
) -> None:
    make_settings(DATABASE_URL=ledger_url, SANDBOX="1", REDIS_URL="unix:///nowhere.sock")
    environment = {**os.environ, "SECRET_KEY": "short"}
    command = [sys.executable, "-P", "-m", "app.web.server.serve", "127.0.0.1", "0", "1", "json"]
    log = tmp_path / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    wait_for(lambda: log.read_text().count("\n") >= 2)  # it says why, and the server tries again
    process.terminate()
    process.wait(PATIENCE_SECONDS)
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    assert "SECRET_KEY" in entries[0]["error"]
    assert {entry["level"] for entry in entries} == {"error"}


def test_a_storm_of_one_kind_leaves_few_lines_and_says_how_many_it_left_out() -> None:
    now = [0.0]
    sampler = Sampler(lines=3, seconds=60, clock=lambda: now[0])
    assert [sampler.admit("a") for _ in range(5)] == [{}, {}, {}, None, None]
    assert sampler.admit("b") == {}
    now[0] = 60.0
    assert [sampler.admit("a") for _ in range(4)] == [{"left_out": 2}, {}, {}, None]
    now[0] = 200.0
    assert sampler.admit("b") == {}


def test_the_event_loop_does_not_wait_for_lines_and_a_flood_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    reader, written = threading.Event(), list[int]()
    lines = LineThread()

    def write(number: int) -> None:
        reader.wait(PATIENCE_SECONDS)
        written.append(number)

    for number in range(MOST_WAITING + 20):
        lines.put(partial(write, number))
    assert written == []
    reader.set()
    lines.stop()
    assert len(written) >= MOST_WAITING
    assert written == list(range(len(written)))
    assert "log.dropped" in capsys.readouterr().out


TOGETHER = """
import os, sys, threading
import structlog
from app.logs import configure_logs, lines_together
configure_logs("info", "json")
log = structlog.get_logger()
with lines_together():
    for number in range(60):
        log.info("event.received", number=number, timestamp=1700000000.25, text="\\u00e9\\ud800" * (4000 if number == 7 else 1))
    print("nothing is out yet", file=sys.stdout, flush=True)
    other = threading.Thread(target=log.info, args=("another.thread",)); other.start(); other.join()
log.info("after")
"""


def test_lines_that_are_written_together_keep_order_time_and_text_and_hold_up_no_other_thread() -> None:
    done = subprocess.run([PYTHON, "-c", TOGETHER], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    entries = [json.loads(line) for line in done.stderr.splitlines()]
    assert [entry["event"] for entry in entries] == ["another.thread", *["event.received"] * 60, "after"]
    assert [entry["number"] for entry in entries[1:61]] == list(range(60))
    assert {entry["timestamp"] for entry in entries[1:61]} == {"2023-11-14T22:13:20.250000Z"}
    assert entries[1]["text"] == "\u00e9\ud800"
    assert done.stderr.isascii()


INFO = """
import structlog
from app.logs import configure_logs, log_info
for level, log_format in (("info", "json"), ("info", "text"), ("warning", "json")):
    configure_logs(level, log_format)
    log_info("event.received", 1700000000.25, {"source": "stripe", "text": "\\u00e9\\ud800", "bytes": 7})
    structlog.get_logger().info("event.received", timestamp=1700000000.25, source="stripe", text="\\u00e9\\ud800", bytes=7)
"""


def test_the_short_way_of_a_line_of_level_info_writes_what_structlog_would() -> None:
    done = subprocess.run([PYTHON, "-c", INFO], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    in_json, same_in_json, in_text, same_in_text = done.stderr.splitlines()
    assert in_json == same_in_json
    assert json.loads(in_json)["timestamp"] == "2023-11-14T22:13:20.250000Z"
    assert in_text == same_in_text
    assert "event.received" in in_text
