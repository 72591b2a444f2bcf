"""Sources of your own, from a table of bridge.toml instead of code. docs/sources.md shows them."""

from app.sources.custom.build import build

__all__ = ["build"]
