"""Processes of the operating system: which machine this is, which process runs, and how to end one."""

import gc
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, NoReturn

PROC = Path("/proc")
PARENT_VARIABLE = "BRIDGE_PARENT"
STOP_MARGIN_SECONDS = 10.0
"""Extra seconds beyond STOP_SECONDS for a worker to record outcomes and sign off."""
OPEN_FILES = 8192
OBJECTS_A_COLLECTION = 2_000
"""How many more containers than before make the garbage collector look (Python's default is 700). Almost everything goes by
reference counting; a cycle that holds a large body must not wait for long."""


class Machine(NamedTuple):
    """Where a process id means something: one boot of one kernel, and one PID namespace in it. `host` is its name, which other
    machines and containers may share. boot_id and pid_namespace are "" where the system does not tell them."""

    host: str
    boot_id: str
    pid_namespace: str

    @property
    def is_certain(self) -> bool:
        """Whether processes of this machine can be distinguished from those of every other one."""
        return all(self)


def this_machine() -> Machine:
    """The machine or container of this process."""
    return Machine(socket.gethostname(), _boot_id(), _pid_namespace())


def _boot_id() -> str:
    if sys.platform == "darwin":
        return _output_of("/usr/sbin/sysctl", "-n", "kern.bootsessionuuid")
    try:
        return (PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""


def _pid_namespace() -> str:
    if sys.platform == "darwin":
        return "none"
    try:
        if str((PROC / "self").readlink()) != str(os.getpid()):
            return ""  # /proc is that of another namespace, in which our pids are those of other processes
        return str((PROC / "self/ns/pid").readlink())
    except OSError:
        return ""


def pid_started(pid: int) -> str:
    """When a process began, as the system tells it: with the pid it identifies a process of this machine. "" where it is gone
    or the system does not tell."""
    if sys.platform == "darwin":
        return _output_of("/bin/ps", "-o", "lstart=", "-p", str(pid))
    try:
        fields = (PROC / str(pid) / "stat").read_text(encoding="ascii", errors="replace").rsplit(")", 1)[1].split()
    except (OSError, IndexError):
        return ""
    return "" if fields[0] == "Z" else fields[19]


def _output_of(*command: str) -> str:
    environment = {"LC_ALL": "C", "TZ": "UTC"}
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=5, check=False)  # noqa: S603 - fixed commands
    except (OSError, subprocess.SubprocessError):
        return ""
    return " ".join(done.stdout.split())


def is_alive(pid: int, started: str) -> bool:
    """Whether exactly this process of this machine still runs. Without start times, any process with its PID counts."""
    if started:
        return pid_started(pid) == started
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class StopFlag:
    """A flag that a signal handler may set at any moment. threading.Event is not safe: a handler that runs while the main thread
    is inside wait() finds the event's lock held by that same thread, and deadlocks."""

    def __init__(self) -> None:
        self._is_set = False
        self._reading, self._writing = os.pipe()

    def set(self) -> None:
        """Idempotent."""
        if not self._is_set:
            self._is_set = True
            os.write(self._writing, b"1")

    def is_set(self) -> bool:
        return self._is_set

    def wait(self, seconds: float) -> bool:
        """Waits until it is set or the seconds are over. Returns whether it is set."""
        select.select([self._reading], [], [], max(0.0, seconds))
        return self._is_set


def on_stop_signals(stop: Callable[[], object], reload: Callable[[], object] | None = None) -> None:
    """Makes SIGTERM and SIGINT request a clean stop, and SIGHUP too where there is a terminal whose end it tells. Without one
    SIGHUP asks to reload. An ignored SIGHUP (nohup) stays ignored."""
    on_hangup = stop if reload is None or has_terminal() else reload
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop())
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        signal.signal(signal.SIGHUP, lambda _number, _frame: on_hangup())


def hold_hangups() -> None:
    """Keeps SIGHUP until a thread awaits it. Call before any other thread is started: they all must hold it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})


def has_terminal() -> bool:
    """Whether this process has a controlling terminal, which sends SIGHUP when it is closed."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


def raise_file_limit() -> None:
    """Raises this process's limit of open files as far as many connections need."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    target = OPEN_FILES if hard == resource.RLIM_INFINITY else min(OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < target:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))


def end(pid: int, started: str, patience_seconds: float) -> None:
    """Sends SIGTERM, then SIGKILL if the process is still there after a while. Does nothing if it is gone."""
    for number, seconds in ((signal.SIGTERM, patience_seconds), (signal.SIGKILL, 5.0)):
        if not is_alive(pid, started):
            return
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + seconds
        while is_alive(pid, started) and time.monotonic() < deadline:
            time.sleep(0.02)


def command(module: str, *arguments: str) -> list[str]:
    """The command of one of our processes: our interpreter, with no imports from the current folder (-P), which may hold another
    app.py."""
    return [sys.executable, "-P", "-m", module, *arguments]


def isolated(environment: Mapping[str, str], parent: int | None = None) -> dict[str, str]:
    """The environment of a process of ours. parent: the process that it is to end with (see end_with_parent)."""
    variables = dict(environment)
    if parent is not None:
        variables[PARENT_VARIABLE] = str(parent)
    folder = str(Path(__file__).parents[2])
    if sys.path[:1] == [folder]:  # `python -m app` in a checkout that is not installed: -P would not find it
        variables["PYTHONPATH"] = os.pathsep.join(filter(None, (folder, variables.get("PYTHONPATH"))))
    return variables


def become(module: str, *arguments: str) -> NoReturn:
    """Replaces this process with one that runs `module`."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(sys.executable, command(module, *arguments), isolated(os.environ))  # noqa: S606 - our own interpreter


def collect_garbage_rarely() -> None:
    """Exempts everything loaded so far from garbage collection, which would scan it repeatedly without finding garbage.

    To be called when the process is about to begin its work, and again after a reload.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    gc.set_threshold(OBJECTS_A_COLLECTION, *gc.get_threshold()[1:])


def keep_files_private() -> None:
    """Makes files of this process and its children readable only by their user."""
    os.umask(os.umask(0o077) | 0o077)


def end_with_parent(patience_seconds: float = 12.0) -> None:
    """Starts a thread that ends this process when the one that started it is gone (killed outright); ends at once where it is
    gone already.

    Which one that is comes from the environment: asking the system for it would miss a parent that was killed before this call.
    Does nothing where the environment names none, as for a worker that an operator starts.
    """
    parent = _named_parent()
    if parent is None:
        return

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(patience_seconds)
        os._exit(1)

    end_if_orphaned()
    threading.Thread(target=watch, name="parent-watch", daemon=True).start()


def end_if_orphaned() -> None:
    """Ends this process where the one that started it is gone already: before anything else is done."""
    parent = _named_parent()
    if parent is not None and os.getppid() != parent:
        os._exit(1)


def _named_parent() -> int | None:
    named = os.environ.get(PARENT_VARIABLE, "")
    return int(named) if named.isdigit() else None
