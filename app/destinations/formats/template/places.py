"""Where a value stands in a TOML file, for messages: tomllib reads values and keeps no places.

It reads files that tomllib has read, so that it need not say what is wrong with one.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

Key = tuple[str | int, ...]
BARE = re.compile(r"[A-Za-z0-9_-]+")
SPACE = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
SCALAR = re.compile(r"[^,\]}#\n]*")
ESCAPES = re.compile(r"\\(?:u[0-9A-Fa-f]{4}|U[0-9A-Fa-f]{8}|\r?\n\s*|.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Place:
    """Of a value. start: where its text begins, after a quote; is_basic: it may have escapes."""

    start: int
    is_basic: bool = False


def line_and_column(text: str, keys: Key, offset: int | None = None) -> tuple[int, int] | None:
    """Line and column, from 1, of the value at `keys`, or of the character `offset` in it. Of the nearest key above it where that
    value is not in the file; None if no key of it is."""
    places = dict(_Reader(text).read())
    while keys and keys not in places:
        keys, offset = keys[:-1], None
    if not keys:
        return None
    place = places[keys]
    position = place.start if offset is None else _advance(text, place, offset)
    return text.count("\n", 0, position) + 1, position - (text.rfind("\n", 0, position) + 1) + 1


def _advance(text: str, place: Place, offset: int) -> int:
    position = place.start
    for _ in range(offset):
        escape = ESCAPES.match(text, position) if place.is_basic and text[position : position + 1] == "\\" else None
        position = escape.end() if escape else position + 1
    return min(position, len(text))


class _Reader:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.counts: dict[Key, int] = {}
        """How many tables each list of tables has so far."""

    def read(self) -> Iterator[tuple[Key, Place]]:
        table: Key = ()
        while self._skip() < len(self.text):
            if self.text[self.at] == "[":
                start = self.at
                is_list = self.text.startswith("[[", self.at)
                self.at += 2 if is_list else 1
                table = self._within(self._key(), is_list=is_list)
                self.at = self.text.index("]", self.at) + (2 if is_list else 1)
                yield table, Place(start)
            else:
                yield from self._pair(table)

    def _within(self, keys: Key, *, is_list: bool) -> Key:
        """The keys of a table's heading, with the number of each list that it is in."""
        path: Key = ()
        for position, key in enumerate(keys):
            path = (*path, key)
            is_last = position == len(keys) - 1
            if is_list and is_last:
                self.counts[path] = self.counts.get(path, -1) + 1
            if path in self.counts:
                path = (*path, self.counts[path])
        return path

    def _pair(self, table: Key) -> Iterator[tuple[Key, Place]]:
        start = self.at
        keys = self._key()
        self._skip()
        self.at += 1  # =
        for position in range(1, len(keys)):
            yield (*table, *keys[:position]), Place(start)
        yield from self._value((*table, *keys))

    def _key(self) -> Key:
        keys: list[str] = []
        while True:
            self._skip()
            if self.text[self.at] in "\"'":
                start, end, _ = self._string()
                keys.append(self.text[start:end])
            else:
                match = BARE.match(self.text, self.at)
                assert match is not None
                keys.append(match[0])
                self.at = match.end()
            self._skip()
            if self.text[self.at : self.at + 1] != ".":
                return tuple(keys)
            self.at += 1

    def _value(self, keys: Key) -> Iterator[tuple[Key, Place]]:
        self._skip()
        first = self.text[self.at]
        if first in "\"'":
            start, _, is_basic = self._string()
            yield keys, Place(start, is_basic)
        elif first == "[":
            yield keys, Place(self.at)
            yield from self._list(keys)
        elif first == "{":
            yield keys, Place(self.at)
            yield from self._inline(keys)
        else:
            yield keys, Place(self.at)
            match = SCALAR.match(self.text, self.at)
            assert match is not None
            self.at = match.end()

    def _list(self, keys: Key) -> Iterator[tuple[Key, Place]]:
        self.at += 1
        index = 0
        while self.text[self._skip()] != "]":
            yield from self._value((*keys, index))
            index += 1
            self._comma()
        self.at += 1

    def _inline(self, keys: Key) -> Iterator[tuple[Key, Place]]:
        self.at += 1
        while self.text[self._skip()] != "}":
            yield from self._pair(keys)
            self._comma()
        self.at += 1

    def _comma(self) -> None:
        if self.text[self._skip()] == ",":
            self.at += 1

    def _string(self) -> tuple[int, int, bool]:
        """Where the text of a string begins and ends, and whether it may have escapes."""
        quote = self.text[self.at]
        mark = quote * 3 if self.text.startswith(quote * 3, self.at) else quote
        start = position = self.at + len(mark)
        if len(mark) == 3:  # a line break right after the quotes is not part of the text
            position = start = start + (
                2 if self.text.startswith("\r\n", start) else 1 if self.text[start] == "\n" else 0
            )
        while not self.text.startswith(mark, position):
            escape = ESCAPES.match(self.text, position) if quote == '"' and self.text[position] == "\\" else None
            position = escape.end() if escape else position + 1
        end = position
        while len(mark) == 3 and self.text.startswith(quote, end + 3):
            end += 1  # up to two quotes may stand before the closing ones
        self.at = end + len(mark)
        return start, end, quote == '"'

    def _skip(self) -> int:
        match = SPACE.match(self.text, self.at)
        assert match is not None
        self.at = match.end()
        return self.at
