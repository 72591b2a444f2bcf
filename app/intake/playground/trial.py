"""Maps bodies by a mapping that somebody is still editing, in a process of its own.

An expression of jmespath can double what it holds with every step, so an edited one could take all the time and memory that there
is. The process has a limit for both, and the one that asked goes on.
"""

import os
import pickle
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from app.errors import BridgeError, MalformedEvent
from app.intake.playground.mapping_text import Edited
from app.intake.playground.probes import Probed, probe
from app.model import Inbound, Mapped, Rules
from app.sources.base import Source
from app.stack.processes import command, isolated

SECONDS = 5.0
"""Seconds of computing for one task, the start of the process included."""
PATIENCE_SECONDS = 30.0
"""How long a busy machine may take for that."""
MOST_AT_ONCE = 2
KEPT = ("PATH", "PYTHONPATH", "LANG", "LC_ALL", "TZ")
"""Variables that the process gets: no secret is among them."""
MODULE = "app.intake.playground"

_free = threading.BoundedSemaphore(MOST_AT_ONCE)


class TrialFailed(BridgeError):
    """A mapping could not be tried: it takes too long, or too much memory."""


@dataclass(frozen=True, slots=True)
class Task:
    """Bodies to map. probes: also find which fields of the first one give which value."""

    edited: Edited
    inbounds: Sequence[Inbound]
    probes: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class Tried:
    """What bodies mean, in their order: a Mapped, or why one cannot be read. It is shorter where time ran out."""

    results: Sequence[Mapped | str]
    probed: Probed | None = None


def map_all(source: Source, inbounds: Sequence[Inbound], rules: Rules, seconds: float) -> list[Mapped | str]:
    """The meaning of each body, within `seconds` of processor time."""
    until = time.thread_time() + seconds
    results: list[Mapped | str] = []
    for inbound in inbounds:
        if results and time.thread_time() > until:
            break
        try:
            results.append(source.map(inbound, rules))
        except MalformedEvent as error:
            results.append(str(error))
    return results


def try_edited(edited: Edited, inbounds: Sequence[Inbound], *, probes: bool = False) -> Tried:
    """Maps `inbounds` by an edited mapping. Raises TrialFailed if that takes too much."""
    if not _free.acquire(timeout=PATIENCE_SECONDS):
        raise TrialFailed("other mappings are being tried: try again in a moment")
    try:
        return _ask(Task(edited, inbounds, probes, SECONDS / 2))
    finally:
        _free.release()


def _ask(task: Task) -> Tried:
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter and module
            command(MODULE),
            input=pickle.dumps(task),
            capture_output=True,
            env=isolated({name: os.environ[name] for name in KEPT if name in os.environ}),
            timeout=PATIENCE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise TrialFailed("the server is too busy to try a mapping: try again in a moment") from None
    if done.returncode != 0:
        raise TrialFailed("an expression of this mapping takes too much time or memory")
    tried: Tried = pickle.loads(done.stdout)  # noqa: S301 - written by our own process
    return tried


def run(task: Task) -> Tried:
    """Does a task, in the process that is there for it."""
    source = task.edited.source()
    results = map_all(source, task.inbounds, task.edited.rules, task.seconds)
    probed = None
    if task.probes and results and isinstance(results[0], Mapped):
        probed = probe(source, task.inbounds[0], task.edited.rules, results[0])
    return Tried(results, probed)
