"""Text that every database can store."""

import re

LONGEST_TEXT = 512


def storable(text: str) -> str:
    """Text that every database takes: no NUL, no lone surrogate, of bounded length. Nothing in it looks encrypted (\\x01)."""
    if text.isascii() and text.isprintable() and len(text) <= LONGEST_TEXT:
        return text
    return re.sub("[\x00\x01\ud800-\udfff]", "\ufffd", text)[:LONGEST_TEXT]


def printable(text: str) -> str:
    """`text` for a terminal: characters that would steer it (escapes, line breaks, reversed writing) are written as \\x1b."""
    return text if text.isprintable() else UNPRINTABLE.sub(_escaped, text)


UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
