"""Two destinations of the real processes: one hangs, the other has a filter and a token of its own."""

from collections.abc import Callable
from pathlib import Path

import pytest
import requests

from tests.conftest import PATIENCE_SECONDS, FakeDestination, wait_for
from tests.faults.producer import Pile, Producer, make_pile
from tests.support.makers import one
from tests.support.scripted import ScriptedDestination
from tests.support.stack_parts import Stack

pytestmark = pytest.mark.stack
TOML = """
[destinations.crm]
url = "{url}"
token_env = "CRM_TOKEN"
kinds = ["lead"]
allow_private = true
"""


def test_leads_reach_the_crm_at_once_while_main_hangs_and_then_main_gets_everything(
    make_stack: Callable[..., Stack], destination: FakeDestination, tmp_path: Path
) -> None:
    main = ScriptedDestination()
    main.script = lambda _key, _before: "hang"
    path: Path = tmp_path / "bridge.toml"
    path.write_text(TOML.format(url=destination.url))
    stack = make_stack(
        BRIDGE_CONFIG=str(path),
        CRM_TOKEN="token-of-the-crm",
        DESTINATION_URL=main.url,
        DESTINATION_TIMEOUT="100",
        HOLD_SECONDS="0",
    )
    try:
        stack.serve()
        stack.start("worker")
        pile = Pile(make_pile("d", 60, 3).events)
        pile.posts = list(pile.events)
        leads = sum(1 for event in pile.events if event.key.startswith("lead:"))
        assert Producer(stack.port, pile).join(PATIENCE_SECONDS)
        wait_for(lambda: len(destination.requests) == leads and main.asked)
        ended = "SELECT COUNT(*) FROM attempts a JOIN deliveries d ON d.id = a.delivery_id WHERE d.destination = 'main'"
        assert one(stack.ledger, ended) == (0,), "nobody waited for the one that hangs: not one request to it is over"
        assert {r["path"] for r in destination.requests} == {"/track/lead"}
        assert {r["headers"]["authorization"] for r in destination.requests} == {"Bearer token-of-the-crm"}
        assert not any(asked.answered for asked in main.asked)
        main.script, main.lets_go = (lambda _key, _before: "ok"), True
        wait_for(lambda: stack.counts() == {"delivered": len(pile.keys) + leads})
        assert {asked.key for asked in main.asked if asked.answered} == pile.keys
        assert len(destination.requests) == leads
        assert requests.get(f"{stack.url}/healthz", timeout=PATIENCE_SECONDS).ok
    finally:
        main.close()


def test_nothing_starts_with_a_table_that_is_wrong(make_stack: Callable[..., Stack], tmp_path: Path) -> None:
    path: Path = tmp_path / "bridge.toml"
    path.write_text(TOML.format(url="https://crm.example"))
    stack = make_stack(BRIDGE_CONFIG=str(path))
    worker = stack.start("worker")
    assert worker.wait(PATIENCE_SECONDS) == 1
    stack.processes.remove(worker)
    log = stack.log_path.read_text()
    assert f"{path}: destinations.crm.token_env: the variable CRM_TOKEN is not set" in log
    assert "Traceback" not in log
