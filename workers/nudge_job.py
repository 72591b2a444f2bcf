"""The only job that a worker runs: `forward`, without arguments.

RQ reads a job's function, callbacks and webhooks from Redis, and imports any dotted name there. So anyone who can write to
Redis could run code in the worker, or make it post anywhere. This class compares the names and never imports them.
"""

from typing import Any

import structlog
from rq.job import Job

from app.queue import JOB
from workers.forward import forward

log = structlog.get_logger(__name__)


class NudgeJob(Job):
    """RQ's job, of which only the name is used. A job that is not a nudge is dropped when its turn comes."""

    @property
    def func(self) -> Any:
        """The function that RQ runs instead of the one the job names."""
        return forward if self._is_nudge() else _drop

    def _is_nudge(self) -> bool:
        try:
            wants = (self.func_name, self.instance, list(self.args), dict(self.kwargs))
        except Exception:  # noqa: BLE001 - whatever a stranger wrote there
            return False
        return wants == (JOB, None, [], {})

    def _execute(self) -> Any:
        if not self._is_nudge():
            log.warning("job.refused", job=str(self.id)[:100])
        return self.func()

    def restore(self, raw_data: Any) -> None:
        """Reads the job without anything that would make RQ import, call, post or queue."""
        super().restore(raw_data)
        self._success_callback_name = self._failure_callback_name = self._stopped_callback_name = None
        self._success_callback = self._failure_callback = self._stopped_callback = None
        self.webhooks: list[object] = []
        self.retries_left = self.repeats_left = None
        self.result_ttl = 0

    @property
    def success_callback(self) -> None:
        return None

    @property
    def failure_callback(self) -> None:
        return None

    @property
    def stopped_callback(self) -> None:
        return None

    def send_webhooks(self, *_args: Any, **_kwargs: Any) -> None:
        """Sends none."""


def _drop() -> int:
    return 0
