"""The process that tries an edited mapping: reads a Task from its input, and writes what became of it (see trial.py)."""

import pickle
import resource
import sys
from contextlib import suppress

from app.intake.playground.trial import SECONDS, Task, run

MOST_MEMORY = 512 * 1024 * 1024


def main() -> None:
    seconds = int(SECONDS)
    for limit, most in ((resource.RLIMIT_CPU, seconds), (resource.RLIMIT_AS, MOST_MEMORY)):
        with suppress(ValueError, OSError):
            resource.setrlimit(limit, (most, most))
    task: Task = pickle.loads(sys.stdin.buffer.read())  # noqa: S301 - written by the process that started this one
    sys.stdout.buffer.write(pickle.dumps(run(task)))


if __name__ == "__main__":
    main()
