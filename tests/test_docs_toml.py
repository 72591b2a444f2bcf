"""Every piece of bridge.toml that README and docs show can be pasted as it stands."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from app.bootstrap import make_policy
from app.config.settings import Settings
from app.destinations.target import destinations_of
from app.sources.catalog import all_sources

ROOT = Path(__file__).parents[1]
PIECES = [
    pytest.param(piece, id=f"{page.name}-{number}")
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
    for number, piece in enumerate(
        re.findall(r"```(?:toml)?\n(\[[^\]\n]+\]\n.*?)```", page.read_text("utf-8"), re.DOTALL)
    )
]


def test_there_are_pieces() -> None:
    assert len(PIECES) >= 5


@pytest.mark.parametrize("piece", PIECES)
def test_a_piece_of_bridge_toml_works_as_it_stands(
    piece: str, make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    path = tmp_path / "bridge.toml"
    path.write_text(piece, encoding="utf-8")
    named = dict.fromkeys(re.findall(r'^(?!secret_env)\w+_env *= *"(\w+)"', piece, re.MULTILINE), "token-of-the-docs")
    named |= dict.fromkeys(re.findall(r'secret_env *= *"(\w+)"', piece), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    named |= dict.fromkeys(re.findall(r'url_env *= *"(\w+)"', piece), "https://hooks.slack.com/services/T/B/x")
    settings = make_settings(**{"BRIDGE_CONFIG": str(path), "WAREHOUSE_TOKEN": "token-of-the-warehouse", **named})
    assert all_sources(settings.config, path)
    _ = make_policy(settings), settings.retention, settings.alerts
    if settings.destination_tables:
        assert len(destinations_of(settings)) == len(settings.destination_tables)
