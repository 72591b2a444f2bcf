"""What a failure on another machine has to tell: the condition that was waited for, and the end of the processes' logs."""

import ast
import inspect
import textwrap
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

LONGEST_VALUE = 2000
LOG_BYTES = 8000

LOGS: list[Path] = []
"""Logs of the processes that run now. Anyone who starts one puts it here, and takes it away where it ended as it should."""


def ends_of_logs() -> list[tuple[str, str]]:
    """Of each log its name and its end."""
    return [(f"end of {path}", path.read_text("utf-8", "replace")[-LOG_BYTES:]) for path in LOGS if path.exists()]


def describe_wait(condition: Callable[[], object], last: object) -> str:
    """What `condition` asks, what it said at last, and what its parts are now: of `stack.counts() == {…}` the counts."""
    try:
        source = textwrap.dedent(inspect.getsource(condition)).strip()
    except (OSError, TypeError):
        source = repr(condition)
    return "\n".join([source, f"at last: {_short(last)}", *_parts(condition, source)])


def _parts(condition: Callable[[], object], source: str) -> list[str]:
    """The values of what is compared or denied in a lambda, where they can be had."""
    try:
        (asked,) = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Lambda))
        found = inspect.getclosurevars(condition)
    except (SyntaxError, TypeError, ValueError):
        return []
    parts: list[ast.expr] = []
    for node in ast.walk(asked.body):
        if isinstance(node, ast.Compare):
            parts += [side for side in (node.left, *node.comparators) if not isinstance(side, ast.Constant | ast.Dict)]
        elif isinstance(node, ast.UnaryOp):
            parts.append(node.operand)
    names = {**found.builtins, **found.globals, **found.nonlocals}
    lines = []
    for part in parts:
        with suppress(Exception):  # a name of a comprehension within, or an object that is closed by now
            code = compile(ast.Expression(part), "<condition>", "eval")
            lines.append(f"now: {ast.unparse(part)} is {_short(eval(code, names))}")
    return lines


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}… ({len(text)} characters)"
