"""HOST and PORT: every way to write an address works or is one plain line, and no web takes another's port by mistake."""

import socket
import subprocess
from collections.abc import Callable, Iterator

import pytest
import requests

from app.stack.listening import address_of, is_answering, why_not_listen
from tests.conftest import PATIENCE_SECONDS, wait_for
from tests.support.ports import listeners
from tests.support.stack_parts import Stack

sqlite_alone = pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which another program listens."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_a_name_becomes_its_ipv4_address_and_an_address_stays_itself() -> None:
    assert address_of("localhost", 80) == "127.0.0.1"
    for address in ("127.0.0.1", "0.0.0.0", "::", "::1"):
        assert address_of(address, 80) == address


@pytest.mark.parametrize(
    ("host", "message"),
    [
        ("192.0.2.1", "HOST: 192.0.2.1 is not an address of this machine"),
        ("name.invalid", "HOST: the name name.invalid cannot be resolved"),
        ("x" * 300, "is not an address of this machine"),
    ],
)
def test_what_cannot_be_listened_on_is_explained(host: str, message: str) -> None:
    assert message in str(why_not_listen(host, 8000))


def test_a_port_of_another_program_is_taken_even_where_sharing_is_allowed(taken: int) -> None:
    for shared in (False, True):
        assert why_not_listen("127.0.0.1", taken, shared=shared) == (
            f"port {taken} on 127.0.0.1 is taken by another process: choose another with --port or PORT"
        )


def test_a_port_that_is_shared_is_taken_unless_that_is_meant() -> None:
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
        assert why_not_listen("127.0.0.1", port) is None, "nobody listens"
        server.listen()
        assert "is taken" in str(why_not_listen("127.0.0.1", port))
        assert "is taken" in str(why_not_listen("localhost", port))
        assert why_not_listen("127.0.0.1", port, shared=True) is None
        assert is_answering("0.0.0.0", port)


def ended(stack: Stack, web: "subprocess.Popen[bytes]") -> list[str]:
    assert web.wait(PATIENCE_SECONDS) == 1
    stack.processes.remove(web)
    return stack.log_path.read_text().splitlines()


@pytest.mark.stack
@sqlite_alone
def test_a_web_whose_port_another_program_has_says_so_in_one_line(make_stack: Callable[..., Stack], taken: int) -> None:
    stack = make_stack(PORT=str(taken))
    assert ended(stack, stack.start("web", wait=False)) == [
        f"bridge: port {taken} on 127.0.0.1 is taken by another process: choose another with --port or PORT"
    ]


@pytest.mark.stack
@sqlite_alone
def test_a_second_web_on_one_port_is_refused_unless_it_is_to_share_it(make_stack: Callable[..., Stack]) -> None:
    stack = make_stack()
    first = stack.start("web")
    *_, line = ended(stack, stack.start("web", wait=False))  # after those of the first
    assert "is taken by another process" in line
    second = stack.start("web", "--share-port", wait=False)
    wait_for(lambda: len(listeners(stack.port)) == 2)
    assert second.poll() is None
    first.terminate()
    assert first.wait(PATIENCE_SECONDS) == 0
    stack.processes.remove(first)
    stack.wait_until_up()


@pytest.mark.stack
@sqlite_alone
@pytest.mark.parametrize(("host", "asked"), [("localhost", "127.0.0.1"), ("[::]", "[::1]"), ("[::]", "127.0.0.1")])
def test_the_web_listens_on_every_way_to_write_an_address(
    make_stack: Callable[..., Stack], host: str, asked: str
) -> None:
    stack = make_stack(HOST=host)
    stack.url = f"http://{asked}:{stack.port}"
    stack.start("web")
    assert requests.get(f"{stack.url}/healthz", timeout=PATIENCE_SECONDS).ok
