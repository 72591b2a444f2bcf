"""Configuration: what is wrong is named, what is secret is shown nowhere, and docs/settings.md lists all of it."""

import re
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from app.config.generated_secrets import SECRETS_FILE, make_up_secrets
from app.config.reference.page import with_tables
from app.config.reference.rows import tables
from app.config.settings import Settings, split_secrets
from app.errors import ConfigurationError

SECRET = "s3cret-of-the-test"
WRONG = [
    ("PORT", SECRET),
    ("PORT", "70000"),
    ("WEB_THREADS", "0"),
    ("WEB_PROCESSES", "many"),
    ("DATABASE_URL", f"mysql://user:{SECRET}@host/name"),
    ("DATABASE_URL", SECRET),
    ("REDIS_URL", f"http://:{SECRET}@host"),
    ("REDIS_URL", f"redis://:{SECRET}/x@host:6379"),
    ("REDIS_URL", f"redis://[{SECRET}"),
    ("PUBLIC_URL", f"bridge.example/{SECRET}"),
    ("PUBLIC_URL", f"ftp://{SECRET}.example"),
    ("TRUSTED_PROXIES", f"10.0.0.0/8,{SECRET}"),
    ("DESTINATION_URL", f"https://user:{SECRET}@host"),
    ("DESTINATION_URL", f"https://host:{SECRET}"),
    ("DESTINATION_URL", "https://host:99999"),
    ("DESTINATION_URL", f"https://[{SECRET}"),
    ("DESTINATION_URL", "https://"),
    ("STRIPE_API_BASE", SECRET),
    ("STRIPE_SALE_EVENTS", f"checkout,{SECRET}"),
    ("STRIPE_ALLOW_TEST_EVENTS", SECRET),
    ("STRIPE_HOLD", "-1"),
    ("STRIPE_HOLD", "nan"),
    ("PHONE_REGION", "germany"),
    ("DESTINATION_TOKEN", f"{SECRET}\u20ac"),
    ("DESTINATION_TOKEN", f"{SECRET}\nX-Injected: 1"),
    ("DESTINATION_TOKEN", " \n"),
    ("DESTINATION_FORMAT", SECRET),
    ("DESTINATION_AMOUNT_UNIT", SECRET),
    ("DESTINATION_CONCURRENCY", "0"),
    ("DESTINATION_RATE", "0"),
    ("DESTINATION_RATE", "inf"),
    ("DESTINATION_TIMEOUT", "0"),
    ("DESTINATION_TIMEOUT", "inf"),
    ("DESTINATION_ALLOW_PRIVATE", SECRET),
    ("RETRY_SCHEDULE", f"5,{SECRET}"),
    ("RETRY_SCHEDULE", "5,-1"),
    ("RETRY_SCHEDULE", "nan"),
    ("RETRY_SCHEDULE", ","),
    ("HOLD_SECONDS", "-1"),
    ("HOLD_SECONDS", "inf"),
    ("DASHBOARD_PASSWORD", "hunter2"),
    ("DASHBOARD_VIEWER_PASSWORD", "hunter2"),
    ("API_TOKEN", "hunter2"),
    ("SECRET_KEY", "hunter2"),
    ("LOG_LEVEL", SECRET),
    ("ALERT_SMTP_URL", f"https://user:{SECRET}@mail.example"),
    ("ALERT_SMTP_URL", f"smtp://user:{SECRET}/x@mail.example"),
    ("ALERT_EMAIL_TO", f"ops@example.com,{SECRET}"),
    ("ALERT_EMAIL_FROM", f"Bridge <{SECRET}@example.com>"),
    ("ALERT_PAGERDUTY_KEY", SECRET),
    ("ALERT_PAGERDUTY_URL", f"ftp://{SECRET}.example"),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_wrong_variable_is_named_and_its_value_is_not_shown(
    make_settings: Callable[..., Settings], name: str, value: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make_settings(**{"DESTINATION_TOKEN": "a-token", name: value})
    text = str(caught.value)
    assert text.startswith(f"{name}: ")
    assert SECRET not in text
    assert "hunter2" not in text
    assert caught.value.__cause__ is None


def test_all_wrong_variables_are_named_at_once(make_settings: Callable[..., Settings]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        make_settings(PORT="x", LOG_LEVEL="x", DESTINATION_FORMAT="x")
    assert all(name in str(caught.value) for name in ("PORT", "LOG_LEVEL", "DESTINATION_FORMAT"))


def test_a_destination_needs_its_token(make_settings: Callable[..., Settings]) -> None:
    with pytest.raises(ConfigurationError, match="set DESTINATION_TOKEN"):
        make_settings(DESTINATION_URL="https://destination.example")


@pytest.mark.parametrize(
    "token", ["short", "with/slash-and-more-of-it", "with space and more", "caf\xe9caf\xe9caf\xe9caf\xe9"]
)
def test_a_path_token_that_guards_nothing_is_refused_without_being_shown(
    make_settings: Callable[..., Settings], token: str
) -> None:
    settings = make_settings(WPFORMS_PATH_TOKEN=f"a-token-of-16-characters,{token}")
    with pytest.raises(ConfigurationError, match="WPFORMS_PATH_TOKEN") as caught:
        settings.path_tokens_of("wpforms")
    assert token not in str(caught.value)


def test_no_secret_is_in_what_settings_print(make_settings: Callable[..., Settings]) -> None:
    secrets = {
        "DATABASE_URL": f"postgresql://user:{SECRET}@host/name",
        "REDIS_URL": f"redis://:{SECRET}@host:6379/0",
        "STRIPE_API_KEY": f"sk_live_{SECRET}",
        "DESTINATION_URL": "https://destination.example",
        "DESTINATION_TOKEN": SECRET,
        "DASHBOARD_PASSWORD": SECRET,
        "DASHBOARD_VIEWER_PASSWORD": SECRET,
        "API_TOKEN": SECRET,
        "SECRET_KEY": SECRET,
        "METRICS_TOKEN": SECRET,
        "STRIPE_WEBHOOK_SECRET": f"whsec_{SECRET}",
        "WPFORMS_PATH_TOKEN": SECRET,
    }
    settings = make_settings(**secrets)
    for text in (repr(settings), str(settings), settings.model_dump_json(), f"{settings.__dict__}"):
        assert SECRET not in text
    assert settings.secrets_of("stripe") == (f"whsec_{SECRET}",)
    assert settings.destination_token is not None
    assert settings.destination_token.get_secret_value() == SECRET


def test_settings_cannot_be_changed(make_settings: Callable[..., Settings]) -> None:
    with pytest.raises(ValueError, match="frozen"):
        setattr(make_settings(), "port", 1)  # noqa: B010


@pytest.mark.parametrize(
    "scheme", ["postgres", "postgresql", "postgresql+psycopg", "postgresql+psycopg2", "postgres+asyncpg"]
)
def test_every_spelling_of_postgresql_is_taken(make_settings: Callable[..., Settings], scheme: str) -> None:
    settings = make_settings(DATABASE_URL=f"{scheme}://user:p%40ss@host:5433/name?sslmode=require")
    assert settings.ledger_url == "postgresql://user:p%40ss@host:5433/name?sslmode=require"


def test_without_database_url_the_ledger_is_in_bridge_home(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    assert make_settings(BRIDGE_HOME=str(tmp_path)).ledger_url == f"sqlite:///{tmp_path}/ledger.db"


def test_a_token_loses_the_line_break_of_the_file_it_was_kept_in(make_settings: Callable[..., Settings]) -> None:
    token = make_settings(DESTINATION_TOKEN="a-token\r\n").destination_token
    assert token is not None
    assert token.get_secret_value() == "a-token"


def test_an_empty_variable_is_an_unset_one(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings(PORT="", DESTINATION_URL="", API_TOKEN="", STRIPE_WEBHOOK_SECRET="")
    assert (settings.port, settings.is_sandbox, settings.api_token) == (8000, True, None)
    assert settings.secrets_of("stripe") == ()


@pytest.mark.parametrize(
    ("text", "secrets"),
    [
        ("", ()),
        (" , ,", ()),
        ("one", ("one",)),
        ("one,two", ("one", "two")),
        (" one , two ,", ("one", "two")),
        ("v1,whsec_YQ==", ("whsec_YQ==",)),
        ("v1,whsec_YQ==|v1,whsec_Yg==", ("whsec_YQ==", "whsec_Yg==")),
        ("v1,whsec_YQ==,whsec_Yg==", ("whsec_YQ==", "whsec_Yg==")),
        ("v1,whsec_YQ==,a-bearer-token", ("whsec_YQ==", "a-bearer-token")),
        ("a|b", ("a|b",)),
    ],
)
def test_secrets_are_separated_by_commas_except_the_one_of_supabase_s_own_spelling(
    make_settings: Callable[..., Settings], text: str, secrets: tuple[str, ...]
) -> None:
    assert split_secrets(text) == secrets
    assert make_settings(SUPABASE_WEBHOOK_SECRET=text).secrets_of("supabase") == secrets


def test_a_source_s_name_becomes_its_variable(make_settings: Callable[..., Settings]) -> None:
    assert make_settings(MY_OWN_SHOP_WEBHOOK_SECRET="x").secrets_of("my-own.shop") == ("x",)


def test_made_up_secrets_stay_the_same_and_are_their_owner_s_alone(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    home = tmp_path / "generated"
    first = make_up_secrets(home)
    assert make_up_secrets(home) == first
    assert stat.S_IMODE((home / SECRETS_FILE).stat().st_mode) == 0o600
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    settings = make_settings(BRIDGE_HOME=str(home), DASHBOARD_PASSWORD="", STRIPE_WEBHOOK_SECRET="")
    assert settings.dashboard_password is not None
    assert settings.dashboard_password.get_secret_value() == first["DASHBOARD_PASSWORD"]
    assert settings.secrets_of("stripe") == (first["STRIPE_WEBHOOK_SECRET"],)


def test_made_up_signing_secrets_open_nothing_once_there_is_a_real_destination(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    make_up_secrets(tmp_path)
    variables = {"DESTINATION_URL": "https://destination.example", "DESTINATION_TOKEN": "a-token"}
    settings = make_settings(BRIDGE_HOME=str(tmp_path), STRIPE_WEBHOOK_SECRET="", **variables)
    assert settings.secrets_of("stripe") == ()


def test_the_environment_wins_over_what_was_made_up(make_settings: Callable[..., Settings], tmp_path: Path) -> None:
    make_up_secrets(tmp_path)
    settings = make_settings(BRIDGE_HOME=str(tmp_path), DASHBOARD_PASSWORD="my own password")
    assert settings.dashboard_password is not None
    assert settings.dashboard_password.get_secret_value() == "my own password"


@pytest.mark.parametrize("content", ["{not json", "", "\xff", "[]"])
def test_a_spoilt_file_of_secrets_is_named(
    make_settings: Callable[..., Settings], tmp_path: Path, content: str
) -> None:
    (tmp_path / SECRETS_FILE).write_text(content, encoding="latin-1")
    with pytest.raises(ConfigurationError, match=SECRETS_FILE):
        make_settings(BRIDGE_HOME=str(tmp_path))


@pytest.mark.parametrize(
    "content",
    ["not toml", "a = ", "\xff = 1", "sources = 5", "sources = [1]", "[sources]\nshop = 5", "[sources.x]\nkind = 'x'"],
)
def test_a_spoilt_bridge_toml_is_named(make_settings: Callable[..., Settings], tmp_path: Path, content: str) -> None:
    from app.sources.catalog import all_sources

    path = tmp_path / "bridge.toml"
    path.write_text(content, encoding="latin-1")
    with pytest.raises(ConfigurationError, match=r"bridge\.toml"):
        all_sources(make_settings(BRIDGE_CONFIG=str(path)).config)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[names]\nclick_id = ['a']", "names: is not known; known are the tables attribution,"),
        ("[attribution]\nclick_ids = ['a']", "attribution.click_ids: is not known; known are touch,"),
        ("[attribution]\nclick_id = 'a'", "attribution.click_id: must be a list"),
        ("[attribution]\ntouch = 'middle'", "attribution.touch: must be 'first' or 'last'"),
        ("attribution = 5", "attribution: must be a table"),
        ("[attribution.clicks]\nGCLID = ['a']", "attribution.clicks.GCLID"),
        ("[attribution.clicks]\ngclid = 'a'", "attribution.clicks.gclid: must be a list"),
        ("[attribution]\nclicks = ['gclid']", "attribution.clicks: must be a table"),
        ("[attribution.clicks]\ngclid = ['']", "attribution.clicks.gclid"),
        ("[sources.clerk]\nlead_mode = 'defered'", "sources.clerk.lead_mode: must be 'none' or 'deferred'"),
        ("[sources.clerk]\nlead_mode = ['deferred']", "sources.clerk.lead_mode: must be 'none' or 'deferred'"),
        (
            "[sources.clerk]\nlead_mode = 'deferred'\nverified_by = 'stripe'",
            "sources.clerk.verified_by: must be a list",
        ),
        (
            "[sources.clerk]\nlead_mode = 'deferred'\nverified_by = ['strip']",
            "sources.clerk.verified_by: there is no source called strip",
        ),
        ("[sources.clerk]\nverified_by = ['stripe']", "sources.clerk.verified_by: says nothing without lead_mode"),
        ("[sources.typeform]\nkind = 'lead'", "sources.typeform.kind: typeform is built in; it takes only lead_mode,"),
        (
            "[sources.shop]\nkind = 'sale'\ncurrency = 'EUR'\nlead_mode = 'deferred'\nfields = {order_id = 'a', amount = 'b'}",
            "sources.shop.lead_mode: a source of sales sends no leads",
        ),
    ],
)
def test_a_mistake_in_bridge_toml_is_reported_with_its_file_and_key(
    make_settings: Callable[..., Settings], tmp_path: Path, content: str, message: str
) -> None:
    from app.sources.catalog import all_sources

    path = tmp_path / "mine.toml"
    path.write_text(content)

    def read() -> object:
        settings = make_settings(BRIDGE_CONFIG=str(path))
        return all_sources(settings.config, settings.config_path), settings.rules

    with pytest.raises(ConfigurationError) as error:
        read()
    assert str(error.value).startswith(f"{path}: {message}")


def test_sources_that_defer_their_leads_are_read_with_what_verifies_them(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[sources.clerk]\nlead_mode = 'deferred'\n[sources.tally]\nlead_mode = 'none'\n[sources.own]\n")
    assert make_settings(BRIDGE_CONFIG=str(path)).deferred == {"clerk": frozenset({"stripe"})}


def test_test_events_are_allowed_by_source(make_settings: Callable[..., Settings]) -> None:
    assert make_settings().rules.accepts_test_events("shop")
    rules = make_settings(DESTINATION_URL="https://x.example", DESTINATION_TOKEN="t").rules
    assert not rules.accepts_test_events("stripe")
    rules = make_settings(STRIPE_ALLOW_TEST_EVENTS="0", MY_SHOP_ALLOW_TEST_EVENTS="yes").rules
    assert (rules.accepts_test_events("stripe"), rules.accepts_test_events("my_shop")) == (False, True)
    with pytest.raises(ConfigurationError, match="SHOP_ALLOW_TEST_EVENTS: must be 1 or 0"):
        _ = make_settings(SHOP_ALLOW_TEST_EVENTS="perhaps").rules


def test_what_a_client_reference_id_is_can_be_set(make_settings: Callable[..., Settings]) -> None:
    assert make_settings().rules.reference_names_customer
    assert not make_settings(STRIPE_REFERENCE="ignore").rules.reference_names_customer
    with pytest.raises(ConfigurationError, match="STRIPE_REFERENCE"):
        make_settings(STRIPE_REFERENCE="order")


def test_a_bridge_toml_that_is_named_and_missing_is_an_error(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    with pytest.raises(ConfigurationError, match="BRIDGE_CONFIG"):
        _ = make_settings(BRIDGE_CONFIG=str(tmp_path / "none.toml")).config


def test_the_settings_page_is_what_the_settings_say() -> None:
    page = (Path(__file__).parents[1] / "docs" / "settings.md").read_text(encoding="utf-8")
    assert page == with_tables(page), "run `make settings-reference`"


def test_the_reference_has_a_full_row_for_every_setting() -> None:
    rows = [re.split(r" ?\| ?", row) for row in re.findall(r"^\| (?!variable)(.*) \|$", tables(), re.MULTILINE)]
    of_sources = ["`<SOURCE>_WEBHOOK_SECRET`", "`<SOURCE>_PATH_TOKEN`", "`<SOURCE>_ALLOW_TEST_EVENTS`"]
    assert sorted(row[0] for row in rows) == sorted([*of_sources, *(name.upper() for name in Settings.model_fields)])
    for variable, meaning, value, *_, effect in rows:
        assert meaning.endswith("."), variable
        assert value, variable
        assert effect in ("reload", "restart"), variable


def test_a_row_of_the_reference_says_all_that_the_field_knows() -> None:
    rows = tables().splitlines()
    assert (
        "| STRIPE_REFERENCE | What a `client_reference_id` is when it is not a click ID: `customer` (your customer's ID) or "
        "`ignore` (an order or cart number). | `customer` or `ignore` | `customer` | | reload |"
    ) in rows
    assert any(
        row.startswith("| DATABASE_URL |") and row.endswith("| SQLite in BRIDGE_HOME | yes | restart |") for row in rows
    )
    assert any(row.startswith("| STOP_SECONDS |") and "| seconds, 0 to 60 |" in row for row in rows)
    assert any(row.startswith("| API_TOKEN |") and "| secret, 16 or more characters |" in row for row in rows)
