"""Sources of your own, from a table of bridge.toml instead of code. docs/sources.md shows them."""

from app.sources.custom.build import build, build_shipped

__all__ = ["build", "build_shipped"]
