"""Reloading the configuration of running processes: whole, everywhere, and without losing or repeating a request."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests

from app.ledger.engine import Ledger
from app.ledger.upkeep.processes import Process, report, running
from app.reloading.request import reload_all
from app.sources.stripe.source import SOURCE as STRIPE
from tests.conftest import Valkey, wait_for
from tests.support.scripted import ScriptedDestination
from tests.support.stack_parts import Stack, purchase
from tests.support.up import Up

pytestmark = pytest.mark.stack
TOKEN = "an API token of the tests"
FIRST, SECOND = "whsec_before_the_reload", "whsec_after_the_reload"


@pytest.fixture
def places() -> Iterator[tuple[ScriptedDestination, ScriptedDestination]]:
    made = ScriptedDestination(), ScriptedDestination()
    yield made
    for place in made:
        place.close()


class Site:
    """A web and a worker whose configuration stands in files."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.stack = stack
        self.env_file, self.toml = folder / "bridge.env", folder / "bridge.toml"
        stack.environment |= {"BRIDGE_ENV_FILE": str(self.env_file), "BRIDGE_CONFIG": str(self.toml)}
        for name in ("STRIPE_WEBHOOK_SECRET", "DESTINATION_URL"):
            del stack.environment[name]
        self.toml.write_text("")

    def write(self, secret: str, destination: str, **others: str) -> None:
        named = {"STRIPE_WEBHOOK_SECRET": secret, "DESTINATION_URL": destination, **others}
        self.env_file.write_text("".join(f"{name}='{value}'\n" for name, value in named.items()))

    def bridge(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "app", *arguments]
        return subprocess.run(command, env=self.stack.environment, capture_output=True, text=True)

    def processes(self) -> int:
        with self.stack.ledger.read() as tx:
            return len(running(tx))

    def post(self, secret: str) -> int:
        body = purchase()
        headers = {**STRIPE.sign(body, secret, datetime.now(UTC)), "Content-Type": "application/json"}
        url = f"{self.stack.url}/webhooks/stripe"
        return requests.post(url, data=body, headers=headers, timeout=30).status_code


@pytest.fixture
def site(ledger_url: str, valkey: Valkey, tmp_path: Path) -> Iterator[Site]:
    stack = Stack(tmp_path, ledger_url, valkey.url, "")
    yield Site(stack, tmp_path)
    stack.close()


def test_secrets_and_destinations_are_taken_over_while_requests_are_in_flight_and_none_is_sent_twice(
    site: Site, places: tuple[ScriptedDestination, ScriptedDestination]
) -> None:
    stack, (before, after) = site.stack, places
    before.delay_seconds = 1.5
    site.write(FIRST, before.url)
    web, worker = stack.start("web"), stack.start("worker")
    wait_for(lambda: site.processes() == 2)
    assert [site.post(FIRST) for _ in range(40)] == [200] * 40
    wait_for(lambda: before.open_requests)
    site.write(SECOND, after.url, WEB_PROCESSES="2", LOG_LEVEL="warning")
    done = site.bridge("reload")
    assert done.returncode == 0, done.stderr
    assert (
        done.stdout
        == "Reloaded; changed: DESTINATION_URL, LOG_LEVEL, STRIPE_WEBHOOK_SECRET; needs a restart: WEB_PROCESSES.\n"
    )
    assert site.post(FIRST) == 401
    assert [site.post(SECOND) for _ in range(10)] == [200] * 10
    wait_for(lambda: stack.counts() == {"delivered": 50})
    keys = [asked.key for place in places for asked in place.asked]
    assert len(keys) == len(set(keys)) == 50
    assert len(after.asked) >= 10
    assert (web.poll(), worker.poll()) == (None, None)


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_a_wrong_configuration_is_rejected_whole_by_every_process_and_every_one_says_so(
    site: Site, places: tuple[ScriptedDestination, ScriptedDestination]
) -> None:
    stack, (place, other) = site.stack, places
    stack.environment["API_TOKEN"] = TOKEN
    site.write(FIRST, place.url)
    web, worker = stack.start("web"), stack.start("worker")
    wait_for(lambda: site.processes() == 2)
    site.write(SECOND, other.url)
    site.toml.write_text("[retention]\nbodies_days = 'soon'\n")
    web.send_signal(signal.SIGHUP)
    worker.send_signal(signal.SIGHUP)

    def rejected() -> list[str]:
        with stack.ledger.read() as tx:
            return [str(one.problem) for one in running(tx) if one.problem]

    wait_for(lambda: len(rejected()) == 2)
    assert all("retention.bodies_days" in problem for problem in rejected())
    assert site.post(FIRST) == 200
    assert site.post(SECOND) == 401
    wait_for(lambda: stack.counts() == {"delivered": 1})
    assert len(place.asked) == 1
    api = {"Authorization": f"Bearer {TOKEN}"}
    refused = requests.post(f"{stack.url}/api/v1/reload", headers=api, timeout=60).json()
    assert not refused["done"]
    assert "retention.bodies_days" in refused["message"]
    status = requests.get(f"{stack.url}/api/v1/status", headers=api, timeout=30).json()
    assert "configuration" in [problem["kind"] for problem in status["problems"]]

    site.toml.write_text("")
    answer = json.loads(site.bridge("reload", "--json").stdout)
    assert answer["done"]
    assert {one["role"] for one in answer["processes"]} == {"web", "worker"}
    assert not rejected()
    assert site.post(SECOND) == 200
    wait_for(lambda: len(other.asked) == 1)


def test_up_passes_the_reload_on_and_its_run_file_follows(make_up: Callable[..., Up]) -> None:
    up = make_up()
    env_file = up.folder / "bridge.env"
    env_file.write_text(f"TYPEFORM_WEBHOOK_SECRET={FIRST}\n")
    up.environment["BRIDGE_ENV_FILE"] = str(env_file)
    up.start()
    env_file.write_text(f"TYPEFORM_WEBHOOK_SECRET={SECOND}\n")
    assert up.process is not None
    assert "TYPEFORM_WEBHOOK_SECRET" in up.doctor(), "it differs from the running bridge"
    up.process.send_signal(signal.SIGHUP)  # without a terminal, this asks for a reload
    wait_for(lambda: up.said().count("configuration.reloaded") == 2)
    assert "lead" in up.bridge("send", "typeform"), "the web takes the new secret"
    assert "differ from those of the running bridge" not in up.doctor()
    assert up.ended() is None
    assert up.interrupt() == 0


def test_a_process_that_was_killed_is_not_waited_for_and_one_that_is_silent_is_named(ledger: Ledger) -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    host = os.uname().nodename
    ledger.transact(lambda tx: report(tx, Process("killed", "worker", host, gone.pid, 0)))
    ledger.transact(lambda tx: report(tx, Process("elsewhere", "worker", "another-machine", 7, 0)))
    answers = reload_all(ledger, "tests", wait_seconds=0.5)
    assert [one.host for one in answers.silent] == ["another-machine"]
    assert answers.message == "worker 7 on another-machine did not answer yet: it reloads once it can"
    assert not answers.is_done
