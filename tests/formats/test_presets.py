"""The presets: templates that come with the bridge."""

import tomllib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.config.settings import Settings
from app.destinations.formats.template.definition import OF_ALL, define
from app.destinations.formats.template.shipped import FOLDER, preset
from app.destinations.target import destinations_of
from app.errors import ConfigurationError
from tests.support.formats import PRESETS, SALE

KEYS = {*OF_ALL, "title", "url", "parameters", "event_names", "sandbox"}
MINIMAL = {
    "slack": 'url_env = "S"',
}


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_has_no_mistake_and_no_key_that_nobody_reads(name: str) -> None:
    raw = tomllib.loads((FOLDER / f"{name}.toml").read_text("utf-8"))
    assert set(raw) <= KEYS
    found = preset(name)
    parameters = {key: one.value for key, one in found.parameters.items()}
    assert define(found.template, parameters=parameters, secrets=found.secrets)[1] == []
    assert found.url.startswith("https://")


@pytest.mark.parametrize("name", PRESETS)
def test_its_parameters_are_all_that_it_needs_and_each_one_that_is_missing_is_named(
    make_settings: Callable[..., Settings], tmp_path: Path, name: str
) -> None:
    path = tmp_path / "bridge.toml"
    lines = MINIMAL[name].split("; ")
    secret = "https://hooks.slack.com/services/T/B/x" if name == "slack" else "secret-of-the-tests"

    def load(*lines: str) -> str:
        path.write_text("\n".join(("[destinations.x]", f'format = "{name}"', *lines)))
        (found,) = destinations_of(make_settings(BRIDGE_CONFIG=str(path), S=secret, T="token-of-the-tests"))
        return found.url

    assert load(*lines) == preset(name).url
    assert load(*lines, 'url = "https://proxy.example/base"') == "https://proxy.example/base"
    for line in lines:
        key = line.partition(" ")[0]
        with pytest.raises(ConfigurationError, match=rf"destinations\.x\.{key}: is missing"):
            load(*(one for one in lines if one is not line))
        with pytest.raises(ConfigurationError, match=rf"destinations\.x\.{key}: must be"):
            load(*(f"{key} = true" if one is line else one for one in lines))
    with pytest.raises(ConfigurationError, match=r"destinations\.x\.colour: is not known; known are"):
        load(*lines, 'colour = "red"')


def test_a_destination_s_own_tables_replace_those_of_the_preset(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    path = tmp_path / "bridge.toml"
    path.write_text('[destinations.x]\nformat = "slack"\nurl_env = "S"\nsale.body = {text = "source"}\n')
    settings = make_settings(BRIDGE_CONFIG=str(path), S="http://127.0.0.1:1/services/T?a=b")
    with pytest.raises(ConfigurationError, match=r"destinations\.x\.url points at 127\.0\.0\.1"):
        destinations_of(settings)
    path.write_text(path.read_text() + "allow_private = true\n")
    (found,) = destinations_of(make_settings(BRIDGE_CONFIG=str(path), S="http://127.0.0.1:1/services/T?a=b"))
    assert found.url == "http://127.0.0.1:1"
    assert found.format.body(SALE).fields == {"text": "stripe"}
    asked = found.request("sale", '{"text":"stripe"}', "sale:stripe:1", datetime.now(UTC))
    assert (asked.path, asked.body) == ("/services/T?a=b", b'{"text":"stripe"}')
    shown = found.shown_request("sale", '{"text":"stripe"}', "sale:stripe:1", datetime.now(UTC))
    assert "services" not in shown.path
