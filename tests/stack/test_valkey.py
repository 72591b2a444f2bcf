"""The embedded Valkey: by a socket where its path fits, else by a port that asks for a password."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, RedisError
from redis.retry import Retry

from app.queue import Nudges, connect
from app.stack.valkey import EmbeddedValkey
from tests.conftest import PATIENCE_SECONDS, wait_for
from tests.support.up import Up

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


def test_one_that_listens_on_a_port_takes_nothing_without_its_password(
    deep: tuple[EmbeddedValkey, "subprocess.Popen[bytes]"],
) -> None:
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
        stranger = Redis(parts.hostname, parts.port or 0, password=password, retry=Retry(NoBackoff(), 0))
        with pytest.raises(AuthenticationError):
            stranger.keys("*")
        stranger.close()
    arguments = Path(f"/proc/{process.pid}/cmdline")
    if arguments.exists():
        assert parts.password.encode() not in arguments.read_bytes()


def test_another_one_has_another_password(tmp_path: Path) -> None:
    folders = [tmp_path / str(number) / ("d" * 100) for number in range(2)]
    urls = [urlsplit(EmbeddedValkey(folder).url) for folder in folders]
    assert urls[0].password != urls[1].password


@pytest.mark.parametrize("damage", ["truncated middle", "no manifest", "not a folder"])
def test_one_whose_files_are_damaged_starts_without_them(tmp_path: Path, damage: str) -> None:
    server = EmbeddedValkey(tmp_path)
    process = server.start()
    wait_for(lambda: answers(server.url))
    redis = connect(server.url)
    for number in range(50):
        redis.set(f"key{number}", "x" * 100)
    redis.close()
    process.terminate()
    assert process.wait(PATIENCE_SECONDS) == 0
    spoil(tmp_path / "valkey" / "appendonlydir", damage)
    another = EmbeddedValkey(tmp_path)  # as of the next `bridge up`
    assert another.start().wait(PATIENCE_SECONDS) > 0
    process = another.start()
    wait_for(lambda: answers(another.url))
    assert (tmp_path / "valkey" / "damaged" / "appendonlydir").exists()
    process.kill()
    process.wait()
    process = another.start()
    wait_for(lambda: answers(another.url))
    assert (tmp_path / "valkey" / "appendonlydir").exists(), "a kill is not a damage"
    process.kill()
    process.wait()


def spoil(folder: Path, damage: str) -> None:
    (manifest,) = folder.glob("*.manifest")
    if damage == "no manifest":
        manifest.write_text("file nothing of the kind\n")
    elif damage == "not a folder":
        shutil.rmtree(folder)
        folder.write_text("")
    else:
        (file,) = (path for path in folder.glob("*.incr.aof"))
        text = bytearray(file.read_bytes())
        text[200:400] = b"?" * 200
        file.write_bytes(text)


def test_up_goes_on_with_a_damaged_append_only_file(make_up: Callable[..., Up]) -> None:
    up = make_up()
    up.start()
    up.bridge("send", "stripe")
    wait_for(lambda: up.statuses() == ["delivered"])
    assert up.interrupt() == 0
    folder = up.home / "valkey" / "appendonlydir"
    spoil(folder, "no manifest")
    up.start()
    assert up.statuses() == ["delivered"], "a second start goes on where the first stopped"
    up.bridge("send", "stripe")
    wait_for(lambda: up.statuses() == ["delivered"] * 2)
    wait_for(lambda: "accepts nudges" in up.doctor())


def test_while_the_embedded_one_cannot_start_workers_forward_and_doctor_says_so(make_up: Callable[..., Up]) -> None:
    up = make_up()
    (up.home / "valkey").mkdir(parents=True)
    (up.home / "valkey" / "valkey.sock").mkdir()  # nothing can listen there
    (up.home / "valkey" / "valkey.sock" / "x").touch()
    up.start()
    up.bridge("send", "stripe")
    wait_for(lambda: up.statuses() == ["delivered"])
    said = up.doctor()
    assert "the embedded Valkey does not answer" in said
    assert "valkey.log" in said
