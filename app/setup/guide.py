"""The steps of docs/sources.md that connect one source, as Markdown. The page is written once; app/setup/sources.md links to it."""

import re
from functools import cache
from importlib.resources import files

from app.sources.base import Source

HEADING = re.compile(r"(#{2,3}) +(.*)")
CELLS = re.compile(r"(?<!\\)\|")
EXAMPLE_URL = "https://bridge.example.com/webhooks/"
"""How the page writes a URL where a command needs a whole one."""
COLUMNS = ("source", "where", "secret or token", "known by", "notes")


def steps_for(source: Source, base_url: str) -> str | None:
    """What to do at the provider, with `base_url` in its URLs; None if the page has no heading of this source."""
    text = _sections().get(source.title) or _rows().get(source.name)
    if text is None:
        return None
    text = text.replace("PUBLIC_URL/webhooks/", f"{base_url}/webhooks/").replace(EXAMPLE_URL, f"{base_url}/webhooks/")
    return re.sub(r"\[([^\]]*)\]\(#[^)]*\)", r"\1", text)  # a link within that page


def sections_of(text: str) -> dict[str, str]:
    """Each section of a page by its heading, without it: up to the next heading that is not below it."""
    sections: dict[str, list[str]] = {}
    level: dict[str, int] = {}
    is_code = False
    for line in text.splitlines():
        is_code ^= line.lstrip().startswith("```")
        heading = None if is_code else HEADING.fullmatch(line)
        if heading:
            depth, title = len(heading[1]), heading[2].strip()
            level = {name: known for name, known in level.items() if known < depth}
            level[title], sections[title] = depth, []
        for name in level:
            if not (heading and name == heading[2].strip()):
                sections[name].append(line)
    return {title: "\n".join(lines).strip() for title, lines in sections.items()}


def rows_of(text: str) -> dict[str, str]:
    """The table of the presets: each source's row as a list."""
    rows = {}
    for line in text.splitlines():
        cells = [cell.strip().replace("\\|", "|") for cell in CELLS.split(line)[1:-1]]
        name = re.fullmatch(r"`([a-z0-9_]+)`", cells[0]) if len(cells) == len(COLUMNS) else None
        if name:
            items = [f"- {column.capitalize()}: {cell}" for column, cell in zip(COLUMNS, cells, strict=True) if cell]
            rows[name[1]] = "\n".join(items[1:])
    return rows


@cache
def _text() -> str:
    return (files("app.setup") / "sources.md").read_text(encoding="utf-8")


@cache
def _sections() -> dict[str, str]:
    return sections_of(_text())


@cache
def _rows() -> dict[str, str]:
    return next((rows_of(text) for title, text in _sections().items() if title.startswith("Presets")), {})
