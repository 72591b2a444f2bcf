"""The embedded Valkey: by a socket where its path fits, else by a port that asks for a password."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from redis import Redis
from redis.exceptions import AuthenticationError, RedisError

from app.queue import Nudges, connect
from app.stack.valkey import EmbeddedValkey
from tests.conftest import wait_for

pytestmark = pytest.mark.stack


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[tuple[EmbeddedValkey, "subprocess.Popen[bytes]"]]:
    """One whose socket's path would be too long, and its process."""
    folder = tmp_path / ("d" * 100)
    folder.mkdir()
    server = EmbeddedValkey(folder)
    process = server.start()
    yield server, process
    process.kill()
    process.wait()


def answers(url: str) -> bool:
    redis = connect(url)
    try:
        return bool(redis.ping())
    except RedisError:
        return False
    finally:
        redis.close()


def test_one_that_listens_on_a_port_takes_nothing_without_its_password(deep):
    server, process = deep
    wait_for(lambda: answers(server.url))
    parts = urlsplit(server.url)
    assert parts.hostname == "127.0.0.1"
    assert parts.password
    assert len(parts.password) >= 32
    redis = connect(server.url)
    assert Nudges(redis).nudge()
    redis.close()
    for password in (None, "", "wrong"):
        stranger = Redis(parts.hostname, parts.port or 0, password=password)
        with pytest.raises(AuthenticationError):
            stranger.keys("*")
        stranger.close()
    arguments = Path(f"/proc/{process.pid}/cmdline")
    if arguments.exists():
        assert parts.password.encode() not in arguments.read_bytes()


def test_another_one_has_another_password(tmp_path):
    folders = [tmp_path / str(number) / ("d" * 100) for number in range(2)]
    urls = [urlsplit(EmbeddedValkey(folder).url) for folder in folders]
    assert urls[0].password != urls[1].password
