"""Alerts of the real processes: three workers, one message, and nobody who forwards waits for it."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import PATIENCE_SECONDS, FakeDestination, wait_for
from tests.support.stack_parts import Stack

pytestmark = pytest.mark.stack


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_what_dies_is_told_once_by_three_workers_and_forwarding_goes_on(
    make_stack: Callable[..., Stack], make_purchase: Callable[..., bytes], destination: FakeDestination, tmp_path: Path
) -> None:
    hook, unblock_sales, answered = FakeDestination(), threading.Event(), []

    def answer_late(_request: object) -> tuple[int, dict[str, str], bytes]:
        unblock_sales.wait(9)  # a worker gives it ten seconds
        answered.append(True)
        return 200, {}, b"{}"

    hook.answer = answer_late
    destination.answer = lambda _request: (422, {}, b'{"error": "ada@example.com is nobody"}')
    config: Path = tmp_path / "bridge.toml"
    config.write_text("[alerts]\ngather_seconds = 1\ndead = 150\n")  # so that the one message is of all of them
    stack = make_stack(BRIDGE_CONFIG=str(config), ALERT_WEBHOOK_URL=hook.url, PUBLIC_URL="https://bridge.example")
    try:
        stack.serve()
        workers = [stack.start("worker") for _ in range(3)]
        assert set(stack.post_all([make_purchase() for _ in range(150)])) == {200}
        wait_for(lambda: stack.counts() == {"dead": 150})
        destination.answer = lambda _request: (200, {}, b"{}")
        wait_for(lambda: hook.requests)
        stack.post(make_purchase())  # while the hook takes its time
        wait_for(lambda: stack.counts().get("delivered") == 1)
        assert answered == []
        unblock_sales.set()
        time.sleep(6)
        (report,) = [request["json"]["text"] for request in hook.requests]
        assert "150 deliveries to main have failed permanently" in report
        assert "422 ×150" in report
        assert "https://bridge.example/failed?status=dead" in report
        assert "example.com" not in report.replace("bridge.example", "")
        for worker in workers:
            worker.terminate()
        assert {worker.wait(PATIENCE_SECONDS) for worker in workers} == {0}
    finally:
        hook.close()


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_with_no_worker_alive_the_web_tells(
    make_stack: Callable[..., Stack], make_purchase: Callable[..., bytes], destination: FakeDestination, tmp_path: Path
) -> None:
    hook = FakeDestination()
    config: Path = tmp_path / "bridge.toml"
    config.write_text("[alerts]\nlate_minutes = 0.05\n")
    stack = make_stack(BRIDGE_CONFIG=str(config), ALERT_WEBHOOK_URL=hook.url)
    try:
        stack.serve()
        stack.post(make_purchase())
        wait_for(lambda: hook.requests)
        (report,) = [request["json"]["text"] for request in hook.requests]
        assert "1 delivery is queued" in report
        assert "no worker is alive" in report
    finally:
        hook.close()
