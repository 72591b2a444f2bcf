"""Markdown of the bridge's own documentation as HTML. Raw HTML in it is shown as text, and links are plain ones."""

from markdown_it import MarkdownIt

_MARKDOWN = MarkdownIt("commonmark", {"html": False})


def as_html(text: str) -> str:
    """HTML that a template can show unescaped. Code blocks can be scrolled by keyboard, and copied."""
    return str(_MARKDOWN.render(text)).replace("<pre>", '<pre tabindex="0" data-copy="the code">')
