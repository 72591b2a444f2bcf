"""The real processes, on each database in turn."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import FakeDestination, Valkey
from tests.support.stack_parts import Stack, purchase
from tests.support.up import Up


@pytest.fixture
def make_purchase() -> Callable[..., bytes]:
    return purchase


@pytest.fixture
def make_stack(
    ledger_url: str, valkey: Valkey, destination: FakeDestination, tmp_path: Path
) -> Iterator[Callable[..., Stack]]:
    made: list[Stack] = []

    def make(**variables: str) -> Stack:
        stack = Stack(tmp_path, ledger_url, valkey.url, destination.url, **variables)
        made.append(stack)
        return stack

    yield make
    for stack in made:
        stack.close()


@pytest.fixture
def make_up(tmp_path: Path) -> Iterator[Callable[..., Up]]:
    made: list[Up] = []

    def make(folder: str = "plain", home: str = "var") -> Up:
        up = Up(tmp_path / folder, tmp_path / folder / home)
        made.append(up)
        return up

    yield make
    for up in made:
        up.close()
