"""Text that every database can store."""

import re

LONGEST_TEXT = 512


def storable(text: str) -> str:
    """Text that every database takes: no NUL, no lone surrogate, of bounded length."""
    if text.isascii() and text.isprintable() and len(text) <= LONGEST_TEXT:
        return text
    return re.sub("[\x00\ud800-\udfff]", "\ufffd", text)[:LONGEST_TEXT]
