"""Starting before the database, and what an orderly stop leaves behind."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import make_url

from app.ledger.engine import Ledger
from tests.conftest import PATIENCE_SECONDS, FakeDestination, wait_for
from tests.support.proxy import Proxy
from tests.support.stack_parts import Stack

pytestmark = pytest.mark.stack


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("last", ["web", "worker"])
def test_after_an_orderly_stop_the_ledger_s_file_alone_holds_everything(
    make_stack: Callable[..., Stack],
    make_purchase: Callable[..., bytes],
    destination: FakeDestination,
    tmp_path: Path,
    last: str,
) -> None:
    stack = make_stack()
    web, worker = stack.start("web"), stack.start("worker")
    assert stack.post_all([make_purchase() for _ in range(60)]) == [200] * 60
    wait_for(lambda: stack.counts() == {"delivered": 60})
    path = Path(str(make_url(stack.environment["DATABASE_URL"]).database))
    assert copied(path, tmp_path) < 60, "part of it is in the write-ahead log, else nothing is shown here"
    stack.ledger.close()
    assert stack.post_all([make_purchase() for _ in range(20)]) == [200] * 20
    wait_for(lambda: len(destination.requests) == 80)
    for process in (worker, web) if last == "web" else (web, worker):
        process.terminate()
        assert process.wait(PATIENCE_SECONDS) == 0
    assert copied(path, tmp_path) == 80
    wal = path.with_name(path.name + "-wal")
    assert not wal.exists() or wal.stat().st_size == 0


def copied(path: Path, folder: Path) -> int:
    """How many deliveries a copy of the file alone holds as delivered."""
    copy = folder / f"copy-{time.monotonic_ns()}.db"
    shutil.copy(path, copy)
    with sqlite3.connect(copy) as connection:
        try:
            return int(connection.execute("SELECT COUNT(*) FROM deliveries WHERE status = 'delivered'").fetchone()[0])
        except sqlite3.OperationalError:  # not even the schema
            return 0


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_a_command_leaves_nothing_in_the_write_ahead_log(ledger_url: str) -> None:
    """Nobody closes its ledger: it ends, as after any command."""
    path = Path(str(make_url(ledger_url).database))
    ledger = Ledger(ledger_url)
    with ledger.write() as tx:
        tx.run("INSERT INTO counters (name, value) VALUES ('x', 1)")
    wal = path.with_name(path.name + "-wal")
    assert wal.stat().st_size > 0
    del ledger, tx
    assert not wal.exists() or wal.stat().st_size == 0


@pytest.mark.parametrize("ledger_url", ["postgresql"], indirect=True)
def test_roles_wait_for_a_database_that_is_not_there_yet(
    make_stack: Callable[..., Stack], make_purchase: Callable[..., bytes], ledger_url: str
) -> None:
    proxy = Proxy("/nowhere.sock")
    stack = make_stack(DATABASE_URL=f"postgresql://postgres@127.0.0.1:{proxy.port}/{make_url(ledger_url).database}")
    web, worker = stack.start("web", wait=False), stack.start("worker")
    wait_for(lambda: stack.log_path.read_text().count("ledger.waiting") == 2)
    assert web.poll() is None
    assert worker.poll() is None
    proxy.lead_to(f"{make_url(ledger_url).query['host']}/.s.PGSQL.5432")
    stack.wait_until_up()
    assert stack.post(make_purchase()).status_code == 200
    wait_for(lambda: stack.counts() == {"delivered": 1})
    proxy.close()


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_a_web_process_that_is_stopped_before_it_serves_ends_at_once(make_stack: Callable[..., Stack]) -> None:
    """It ignored the signal, since its parent's handlers do nothing in it, and was killed after ten seconds."""
    stack = make_stack()
    code = (
        "import os, signal; signal.signal(signal.SIGTERM, lambda *_: None)\n"
        "from app.web.server.serve import load; load('json', False)\n"
        "os.kill(os.getpid(), signal.SIGTERM)"
    )
    done = subprocess.run([sys.executable, "-c", code], env=stack.environment, stdout=stack.log, stderr=stack.log)
    assert done.returncode == -signal.SIGTERM


@pytest.mark.parametrize("ledger_url", ["postgresql"], indirect=True)
def test_a_database_that_waiting_does_not_bring_ends_the_role_at_once(
    make_stack: Callable[..., Stack], ledger_url: str
) -> None:
    url = make_url(ledger_url).set(database="there_is_no_such")
    stack = make_stack(DATABASE_URL=url.render_as_string(hide_password=False))
    for role in ("web", "worker"):
        process = stack.start(role, wait=False)
        assert process.wait(PATIENCE_SECONDS) == 1
        stack.processes.remove(process)
    assert "ledger.waiting" not in stack.log_path.read_text()
    assert stack.log_path.read_text().count('database "there_is_no_such" does not exist') == 2


@pytest.mark.parametrize("ledger_url", ["postgresql"], indirect=True)
def test_a_web_process_that_dies_while_the_database_is_away_comes_back_and_answers_503_meanwhile(
    make_stack: Callable[..., Stack], make_purchase: Callable[..., bytes], ledger_url: str
) -> None:
    proxy = Proxy(f"{make_url(ledger_url).query['host']}/.s.PGSQL.5432")
    stack = make_stack(DATABASE_URL=f"postgresql://postgres@127.0.0.1:{proxy.port}/{make_url(ledger_url).database}")
    web = stack.start("web")
    assert stack.post(make_purchase()).status_code == 200
    proxy.lead_to("/nowhere.sock")
    proxy.cut()
    children = Path(f"/proc/{web.pid}/task/{web.pid}/children").read_text().split()
    for child in children:
        os.kill(int(child), signal.SIGKILL)
    wait_for(lambda: stack._is_up())
    assert stack.post(make_purchase()).status_code == 503
    proxy.lead_to(f"{make_url(ledger_url).query['host']}/.s.PGSQL.5432")
    wait_for(lambda: stack.post(make_purchase()).status_code == 200)
    proxy.close()
