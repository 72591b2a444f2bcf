"""The fixtures of tests/web."""

from tests.web.conftest import make_app

__all__ = ["make_app"]
