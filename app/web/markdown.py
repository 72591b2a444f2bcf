"""Markdown of the bridge's own documentation as HTML. Raw HTML in it is shown as text, and links are plain ones."""

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it import MarkdownIt


def as_html(text: str) -> str:
    """HTML that a template can show unescaped. Code blocks can be scrolled by keyboard, and copied."""
    return str(_markdown().render(text)).replace("<pre>", '<pre tabindex="0" data-copy="the code">')


@cache
def _markdown() -> "MarkdownIt":
    """Loaded when a page needs it first: it takes 1 MB, which a web that only takes webhooks saves."""
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"html": False})
