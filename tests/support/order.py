"""The order of the files of a run: those whose tests wait for processes beside those whose tests compute, the longest first.

Several processes of pytest share the processors. While all of them wait, nothing is done; and a long file that begins last goes on
alone.
"""

import pytest


def mix_files(items: list[pytest.Item]) -> list[pytest.Item]:
    """The same items. Those of a file stay together, and in their order."""
    files: dict[str, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.nodeid.partition("::")[0], []).append(item)
    waiting: list[tuple[float, list[pytest.Item]]] = []
    computing: list[tuple[float, list[pytest.Item]]] = []
    for tests in files.values():
        seconds = sum(_seconds(test) for test in tests)
        (waiting if any(map(_waits, tests)) else computing).append((seconds, tests))
    ordered: list[tuple[float, list[pytest.Item]]] = []
    for kind in (waiting, computing):
        whole, before = sum(seconds for seconds, _ in kind), 0.0
        for seconds, tests in sorted(kind, key=lambda one: -one[0]):
            ordered.append((before / whole, tests))
            before += seconds
    return [test for _, tests in sorted(ordered, key=lambda one: one[0]) for test in tests]


def _waits(test: pytest.Item) -> bool:
    return test.get_closest_marker("stack") is not None


def _seconds(test: pytest.Item) -> float:
    """About what it takes."""
    if _waits(test):
        return 6.0
    return 0.4 if "ledger_url" in getattr(test, "fixturenames", ()) else 0.01
