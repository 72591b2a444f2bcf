"""Two workers whose machines have the same host name and different PID namespaces: containers on the host's network, clones."""

import time
from pathlib import Path

import pytest

from app.ledger.reading.summary.stats import workers_alive
from tests.conftest import FakeDestination, Valkey, wait_for
from tests.support.stack_parts import NAMESPACE, Stack, can_make_namespaces, purchase

pytestmark = [
    pytest.mark.stack,
    pytest.mark.skipif(not can_make_namespaces(), reason="no PID namespace can be made here"),
]
COUNT = 40


def test_two_workers_of_one_host_name_send_nothing_twice_and_both_stay_alive(
    ledger_url: str, valkey: Valkey, destination: FakeDestination, tmp_path: Path
) -> None:
    destination.delay_seconds = 2.5
    stack = Stack(tmp_path, ledger_url, valkey.url, destination.url, DESTINATION_CONCURRENCY="8")
    try:
        stack.serve()
        stack.start("worker", within=NAMESPACE)
        assert set(stack.post_all([purchase() for _ in range(COUNT)])) == {200}
        wait_for(lambda: destination.requests)
        stack.start("worker", within=NAMESPACE)
        wait_for(lambda: stack.counts() == {"delivered": COUNT})
        keys = [request["headers"]["idempotency-key"] for request in destination.requests]
        assert len(keys) == len(set(keys)) == COUNT
        time.sleep(3)  # two sweeps of each
        with stack.ledger.read() as tx:
            workers = workers_alive(tx)
        assert len(workers) == 2
        assert len({host for _, host, _ in workers}) == 1
        assert "claim.lost" not in stack.log_path.read_text("utf-8")
    finally:
        stack.close()
