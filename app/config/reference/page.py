"""The part of docs/settings.md between two comments, which is written and never edited."""

from app.config.reference.rows import tables

BEGIN = "<!-- The tables are generated: edit app/config/sections, then run `make settings-reference`. -->\n"
END = "<!-- End of what is generated. -->\n"


def with_tables(page: str) -> str:
    """The page with its tables as they are to be. Raises ValueError if it lacks a comment."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page has no place for the tables: it needs the lines {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n{tables()}\n{END}{after}"
