"""python -m workers: one worker process. It forwards due deliveries and sweeps, with or without Redis."""

import gc

gc.disable()  # imports leave no garbage, and looking for it takes a fifth of the time to start

import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import click
import structlog
from redis.exceptions import RedisError
from rq import SimpleWorker
from rq.timeouts import TimerDeathPenalty
from rq.worker.base import StopRequested

from app.alerts.thread import make_alert_thread
from app.bootstrap import (
    check_configuration,
    check_has_destination,
    check_ledger,
    make_nudges,
    make_routes,
    make_tracing,
    start_ledger,
)
from app.config.settings import Settings, load_settings
from app.destinations.target import destinations_of, live_names, stop_seconds_of
from app.errors import BridgeError
from app.ledger.engine import Ledger
from app.ledger.forwarding.sweep import register_worker, stop_worker
from app.ledger.metrics import MeasureKeeper
from app.ledger.upkeep.trace_seed import trace_seed
from app.logs import configure_logs, log_start
from app.queue import QUEUE_NAME, connect, worker_serializer
from app.reloading.settings import Reloaded
from app.reloading.thread import Reloader
from app.stack.heart import beat
from app.stack.processes import (
    STOP_MARGIN_SECONDS,
    Machine,
    StopFlag,
    collect_garbage_rarely,
    end_if_orphaned,
    end_with_parent,
    keep_files_private,
    on_stop_signals,
    pid_started,
    raise_file_limit,
    this_machine,
)
from app.telemetry.measures import Measures
from app.telemetry.tracing import TraceIds, Tracing
from app.text import printable
from workers.counting import Counting
from workers.direct import DirectRuns
from workers.forward import Forwarder, claim_seconds, install
from workers.lookups import make_lookups
from workers.nudge_job import NudgeJob
from workers.pruning import make_pruning
from workers.sweeper import Sweeper

gc.freeze()
gc.enable()

WORKER_TTL_SECONDS = 60
DEQUEUE_SECONDS, REDIS_SECONDS = 4, 8
"""Timeout for the next job and for any answer from Redis. RQ would wait 45 and 55 s for a server that vanished."""
LONGEST_PAUSE_SECONDS = 2.0
WAKE_SIGNAL = signal.SIGUSR1
"""Interrupts whatever the main thread waits for, so that a reload begins at once."""

log = structlog.get_logger(__name__)


class BridgeWorker(SimpleWorker):
    """RQ's worker, running its job in this process. On SIGTERM the job sees the stop flag."""

    death_penalty_class = TimerDeathPenalty  # the job's senders are threads; an alert signal would hit any system call
    max_connection_wait_time = LONGEST_PAUSE_SECONDS

    def __init__(self, *args: Any, stop: StopFlag, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._stop_flag = stop

    def _install_signal_handlers(self) -> None:
        """The process installs its own handlers: RQ's talk to Redis, which may be down."""

    def _set_ip_address(self, _connection: Any) -> None:
        """Skipped: nobody uses it, and the client cannot parse the answer if the path of a Unix socket has a space."""
        self.ip_address = "unknown"

    @property
    def dequeue_timeout(self) -> int:
        return DEQUEUE_SECONDS

    @property
    def connection_timeout(self) -> int:
        return REDIS_SECONDS

    def ask_to_stop(self) -> None:
        self._stop_requested = True


def run(settings: Settings, concurrency: int | None) -> None:
    """Runs until SIGTERM or SIGINT, or SIGHUP of a terminal. Raises BridgeError if it cannot start.

    A reload ends the work cleanly, as a stop does, and begins it again with the new settings, in the same process.
    """
    check_configuration(settings)
    check_has_destination(settings)
    ledger = start_ledger(settings)
    check_ledger(ledger)
    log_start("worker")
    turns = Turns(settings)
    reloader = Reloader(ledger, settings, "worker", turns.take_over)
    on_stop_signals(turns.end, reload=reloader.ask)
    signal.signal(WAKE_SIGNAL, lambda _number, _frame: turns.wake())
    keeper = MeasureKeeper(ledger, Measures(), "worker")
    traces = make_tracing(settings, ledger, "worker")
    try:
        keeper.start()
        reloader.start()
        while (following := turns.begin()) is not None:
            configure_logs(following.log_level, following.log_format)
            _run_turn(following, ledger, concurrency, turns, keeper.measures, traces)
    finally:
        reloader.stop()
        keeper.stop()
        if traces[1] is not None:
            traces[1].close()
        ledger.close()


class Turns:
    """The worker's work with one configuration after the other."""

    def __init__(self, settings: Settings) -> None:
        self._following: Settings | None = settings
        self._is_over = False
        self.stop = StopFlag()
        """Of the present turn."""
        self.interrupt: Callable[[], None] = lambda: None
        """Ends what the present turn waits for. Called after its flag is set; on the main thread it may raise StopRequested."""

    def begin(self) -> Settings | None:
        """What the next turn runs with; None after the last one."""
        following, self._following = self._following, None
        self.stop, self.interrupt = StopFlag(), lambda: None
        return None if self._is_over else following

    def end(self) -> None:
        """Ends the present turn, and no other follows. For a signal handler, on the main thread."""
        self._is_over = True
        self.stop.set()
        self.interrupt()

    def wake(self) -> None:
        """Ends what a turn that is over waits for. For a signal handler, on the main thread."""
        if self.stop.is_set():
            self.interrupt()

    def take_over(self, reloaded: Reloaded) -> None:
        """Ends the present turn, and another one follows. On any thread."""
        self._following = reloaded.settings
        self.stop.set()
        os.kill(os.getpid(), WAKE_SIGNAL)


def _run_turn(
    settings: Settings,
    ledger: Ledger,
    concurrency: int | None,
    turns: Turns,
    measures: Measures,
    traces: tuple[TraceIds | None, Tracing | None],
) -> None:
    stop = turns.stop
    destinations = destinations_of(settings)
    nudges = make_nudges(settings)
    machine = this_machine()
    worker_id = _register(ledger, machine)
    forwarder = Forwarder(
        ledger,
        destinations,
        settings.schedule_seconds,
        settings.hold_seconds,
        stop,
        concurrency,
        stop_seconds_of(settings),
        routes=make_routes(settings),
        measures=measures,
        tracing=traces[1],
        trace_ids=_header_ids(settings, ledger, traces[0]),
    )
    forwarder.worker_id = worker_id
    forwarder.begin()
    install(forwarder, nudges.clear)
    direct = DirectRuns(lambda: forwarder.run(lambda: None))
    names = live_names(destinations)
    threads = (make_lookups(settings, ledger), make_alert_thread(settings, ledger), make_pruning(settings, ledger))
    helpers = [helper for helper in (*threads, Counting(ledger)) if helper]

    def ask() -> None:
        for helper in helpers:
            helper.ask()

    sweeper = Sweeper(
        ledger,
        worker_id,
        machine,
        names,
        lambda: forwarder.is_running,
        nudges.nudge,
        ask,
        forwarder.begin,
        max(claim_seconds(d) for d in destinations),
        direct.ask,
        beat,
    )
    current: list[BridgeWorker] = []
    is_working = True

    def interrupt() -> None:
        for worker in current:
            worker.ask_to_stop()
        # Where no job is under way here, which would end by the stop flag, the wait for one ends at once.
        if is_working and (direct.is_running or not forwarder.is_running):
            raise StopRequested

    turns.interrupt = interrupt
    log.info("worker.started", worker=worker_id, destinations=names)
    if not machine.is_certain:
        log.info("worker.machine_unknown", effect="claims of a killed worker end by time, not at once")
    try:
        for helper in helpers:
            helper.start()
        sweeper.start()
        collect_garbage_rarely()
        _work(settings, stop, current)
    except StopRequested:
        pass
    finally:
        is_working = False
        sweeper.stop()
        for helper in helpers:
            helper.stop()
        direct.stop(stop_seconds_of(settings) + STOP_MARGIN_SECONDS / 2)
        forwarder.close()
        _unregister(ledger, worker_id)
        log.info("worker.stopped", worker=worker_id)


def _header_ids(settings: Settings, ledger: Ledger, ids: TraceIds | None) -> TraceIds | None:
    """For the header traceparent; None where destinations do not get it. A reload may have asked for it."""
    if not settings.destination_traceparent:
        return None
    return ids or TraceIds(trace_seed(ledger))


def _work(settings: Settings, stop: StopFlag, current: list[BridgeWorker]) -> None:
    """RQ's loop, restarted under a new name whenever Redis ended it."""
    assert settings.redis_url is not None
    pause = 0.1
    while not stop.is_set():
        try:
            redis = connect(settings.redis_url.get_secret_value(), timeout_seconds=5)
            worker = BridgeWorker(
                [QUEUE_NAME],
                connection=redis,
                serializer=worker_serializer(),
                job_class=NudgeJob,
                worker_ttl=WORKER_TTL_SECONDS,
                stop=stop,
            )
            current[:] = [worker]
            worker.work(logging_level="WARNING")
            pause = 0.1
        except (RedisError, OSError) as error:
            log.warning("redis.unreachable", error=type(error).__name__)
        except StopRequested:
            raise
        except Exception as error:
            log.error("queue.unreadable", exc_info=error)
        stop.wait(pause)
        pause = min(pause * 2, LONGEST_PAUSE_SECONDS)


def _register(ledger: Ledger, machine: Machine) -> int:
    pid = os.getpid()
    return ledger.transact(lambda tx: register_worker(tx, machine, pid, pid_started(pid), tx.now()))


def _unregister(ledger: Ledger, worker_id: int) -> None:
    try:
        ledger.transact(lambda tx: stop_worker(tx, worker_id, tx.now()))
    except BridgeError as error:
        log.warning("ledger.unavailable", error=str(error))


@click.command()
@click.option(
    "--concurrency", type=click.IntRange(1, 1000), help="Requests in flight; default DESTINATION_CONCURRENCY."
)
def main(concurrency: int | None) -> None:
    """Runs one worker."""
    keep_files_private()
    end_if_orphaned()
    try:
        settings = load_settings()
        configure_logs(settings.log_level, settings.log_format)
        end_with_parent(stop_seconds_of(settings) + STOP_MARGIN_SECONDS)
        raise_file_limit()
        run(settings, concurrency)
    except BridgeError as error:
        click.echo(printable(f"bridge worker: {error}"), err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
