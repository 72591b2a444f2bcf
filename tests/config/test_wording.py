"""What is wrong with a setting is said in plain words, never in those of the library that checks it."""

import re
from collections.abc import Callable

import pytest
from pydantic import BaseModel

from app.config.bridge_toml import AlertTable, AttributionTable, LeadTable, RetentionTable
from app.config.destinations import DestinationTable
from app.config.settings import Settings
from app.config.wording import what_is_wrong
from app.errors import ConfigurationError
from app.sources.custom.tables import EventsTable, LeadFields, SaleFields, SignatureTable, SourceTable, StaticTable

LIBRARY = re.compile(
    r"input|should|valid|parse|unable|string|integer|boolean|instance|pattern|greater|less than|dictionary|tuple"
)
ODD = ["", "x", "-1", "1e999", "999999999999", "nan", "0", " ", "a b", "[]", "{}", "Germany", "1.5", "yes", "é"]
PLAIN = [
    ("PORT", "x", "PORT: must be a whole number"),
    ("PORT", "-1", "PORT: must be 0 or more"),
    ("PORT", "70000", "PORT: must be 65535 or less"),
    ("PORT", "80.5", "PORT: must be a whole number"),
    ("PHONE_REGION", "Germany", "PHONE_REGION: must be a two-letter country code, such as DE"),
    ("PHONE_REGION", "UK", "PHONE_REGION: must be a two-letter country code, such as GB"),
    ("WEB_PROCESSES", "0", "WEB_PROCESSES: must be 1 or more"),
    ("DESTINATION_RATE", "0", "DESTINATION_RATE: must be more than 0"),
    ("DESTINATION_RATE", "fast", "DESTINATION_RATE: must be a number"),
    ("DESTINATION_FORMAT", "xml", "DESTINATION_FORMAT: must be events, "),
    ("NET_OF_TAX", "maybe", "NET_OF_TAX: must be 1 or 0"),
    ("LOG_LEVEL", "loud", "LOG_LEVEL: must be debug, info, warning or error"),
    ("DASHBOARD_PASSWORD", "short", "DASHBOARD_PASSWORD: must be 8 characters or more"),
    ("HOST", "0.0.0.0:8000", "HOST: must be an address or host name alone"),
    ("HOST", "http://0.0.0.0", "HOST: must be an address or host name alone"),
    ("HOST", "*", "HOST: must be an address or host name alone"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value", "message"), PLAIN)
def test_a_wrong_variable_is_explained_in_plain_words(
    make_settings: Callable[..., Settings], name: str, value: str, message: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make_settings(**{name: value})
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("name", [name.upper() for name in Settings.model_fields])
def test_no_variable_is_explained_in_the_library_s_words(make_settings: Callable[..., Settings], name: str) -> None:
    for value in ODD:
        message = ""
        try:
            make_settings(**{name: value})
        except ConfigurationError as error:
            message = str(error)
        assert not LIBRARY.search(message), f"{value!r}: {message}"


BASES: dict[type[BaseModel], dict[str, str]] = {
    DestinationTable: {"url": "https://x.example", "token_env": "T"},
    SignatureTable: {"header": "X"},
}
TABLES = [AlertTable, AttributionTable, LeadTable, RetentionTable, DestinationTable]
OF_SOURCES = [SourceTable, EventsTable, LeadFields, SaleFields, SignatureTable, StaticTable]


@pytest.mark.parametrize("model", [*TABLES, *OF_SOURCES])
def test_no_key_of_bridge_toml_is_explained_in_the_library_s_words(model: type[BaseModel]) -> None:
    from pydantic import ValidationError

    for key in model.model_fields:
        for value in (None, 5, -5, 1.5, "x", "", [], [5], {}, {"a": 1}, True, [["x"]], float("inf")):
            message = ": "
            try:
                model.model_validate({**BASES.get(model, {}), key: value})
            except ValidationError as error:
                message = what_is_wrong(error, model, ("table",))
            assert not LIBRARY.search(message.split(": ", 1)[1]), f"{value!r}: {message}"


@pytest.mark.parametrize(("value", "region"), [("DE", "DE"), ("de", "DE"), (" gb ", "GB"), ("", None)])
def test_a_region_is_taken_in_any_case(make_settings: Callable[..., Settings], value: str, region: str | None) -> None:
    assert make_settings(PHONE_REGION=value).phone_region == region


@pytest.mark.parametrize(
    ("value", "host"),
    [("[::1]", "::1"), ("[::]", "::"), ("::", "::"), ("localhost", "localhost"), (" 0.0.0.0\n", "0.0.0.0")],
)
def test_a_host_is_taken_as_urls_write_it(make_settings: Callable[..., Settings], value: str, host: str) -> None:
    assert make_settings(HOST=value).host == host
