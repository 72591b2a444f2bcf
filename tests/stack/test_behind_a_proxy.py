"""The samples for nginx and Caddy in deploy/: a restart behind them loses no webhook and counts none twice."""

import os
import shutil
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
import requests

from app.sources.stripe.source import SOURCE as STRIPE
from tests.conftest import PATIENCE_SECONDS, wait_for
from tests.support.nginx import start_nginx
from tests.support.ports import Port, listeners
from tests.support.reaper import guard_process
from tests.support.stack_parts import SECRET, Stack, purchase

pytestmark = pytest.mark.stack
ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
CLIENTS = 4
Start = Callable[[Path, int, list[int]], "subprocess.Popen[bytes]"]


def start_caddy(folder: Path, port: int, webs: list[int]) -> "subprocess.Popen[bytes]":
    (folder / "Caddyfile").write_text("{\n\tadmin off\n}\n" + (DEPLOY / "Caddyfile").read_text())
    environment = {
        **os.environ,
        "DOMAIN": f"http://127.0.0.1:{port}",
        "UPSTREAMS": "to " + " ".join(f"127.0.0.1:{web}" for web in webs),
        "HOME": str(folder),
    }
    command = [str(shutil.which("caddy")), "run", "--config", str(folder / "Caddyfile"), "--adapter", "caddyfile"]
    return subprocess.Popen(command, env=environment, stderr=(folder / "errors").open("wb"))


def needs(name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(name) is None, reason=f"{name} is not installed")


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[Callable[[Start, list[int]], str]]:
    running: list[subprocess.Popen[bytes]] = []
    port = Port()

    def begin(start: Start, webs: list[int]) -> str:
        folder = tmp_path / "proxy"
        folder.mkdir()
        running.append(start(folder, port.number, webs))
        guard_process(running[-1].pid)
        wait_for(lambda: answers(port.url))
        return port.url

    yield begin
    for process in running:
        process.terminate()
        process.wait(PATIENCE_SECONDS)
    port.close()


def answers(url: str) -> bool:
    try:
        return requests.get(url + "/readyz", timeout=5).status_code == 200
    except requests.RequestException:
        return False


class Load:
    """Clients that post one purchase after another."""

    def __init__(self, url: str) -> None:
        self.statuses: Counter[int] = Counter()
        self._url = url
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._post) for _ in range(CLIENTS)]
        for thread in self._threads:
            thread.start()
        self.go_on()

    def go_on(self) -> None:
        """Until 20 more were answered."""
        goal = self.statuses.total() + 20
        wait_for(lambda: self.statuses.total() > goal)

    def end(self, stack: Stack, most_lost: int) -> None:
        """Each 200 was counted once, and at most so many requests were answered 502."""
        self.go_on()
        self._over.set()
        for thread in self._threads:
            thread.join()
        assert set(self.statuses) <= {200, 502}, self.statuses
        assert self.statuses[502] <= most_lost, self.statuses
        with stack.ledger.read() as tx:
            counted = tx.run("SELECT COUNT(*) FROM deliveries").scalar_one()
        assert self.statuses[200] <= counted <= self.statuses.total()

    def _post(self) -> None:
        session = requests.Session()
        while not self._over.is_set():
            body = purchase()
            headers = {**STRIPE.sign(body, SECRET, datetime.now(UTC)), "Content-Type": "application/json"}
            answer = session.post(f"{self._url}/webhooks/stripe", data=body, headers=headers, timeout=60)
            self.statuses[answer.status_code] += 1
            self._over.wait(0.02)  # the restarts need the processors more


postgresql = pytest.mark.parametrize("ledger_url", ["postgresql"], indirect=True)


@needs("nginx")
@postgresql
def test_behind_nginx_two_webs_are_restarted_in_turn_and_no_webhook_is_refused(
    make_stack: Callable[..., Stack], proxy: Callable[[Start, list[int]], str]
) -> None:
    stack = make_stack()
    with Port() as second:

        def start(port: int) -> "subprocess.Popen[bytes]":
            stack.environment["PORT"] = str(port)
            process = stack.start("web", wait=False)
            wait_for(lambda: answers(f"http://127.0.0.1:{port}"))
            return process

        webs = {port: start(port) for port in (stack.port, second.number)}
        load = Load(proxy(start_nginx, list(webs)))
        for port, process in list(webs.items()):
            process.terminate()
            process.wait(PATIENCE_SECONDS)
            start(port)
            load.go_on()
        load.end(stack, most_lost=0)


@needs("caddy")
@postgresql
def test_behind_caddy_the_web_is_replaced_on_its_port_and_loses_at_most_what_arrives_as_it_closes(
    make_stack: Callable[..., Stack], proxy: Callable[[Start, list[int]], str]
) -> None:
    stack = make_stack()
    first = stack.start("web")
    load = Load(proxy(start_caddy, [stack.port]))
    stack.start("web", "--share-port", wait=False)
    wait_for(lambda: len(listeners(stack.port)) == 2)
    first.terminate()
    first.wait(PATIENCE_SECONDS)
    load.end(stack, most_lost=CLIENTS)
