"""Secrets and URLs pasted the wrong way are refused at start, with what to change, and are never shown."""

from collections.abc import Callable
from pathlib import Path

import pytest

from app.config.settings import Settings, split_secrets
from app.config.shapes import bearer_token, secret_problems, stripe_api_key
from app.errors import ConfigurationError
from app.intake.verify_and_map import configured_sources, source_problems
from app.sources.catalog import all_sources

TOKEN = "dst-0123456789"
PASTED = [
    (f"Bearer {TOKEN}", 'begins with "Bearer "'),
    (f"bearer  {TOKEN}", 'begins with "Bearer "'),
    (f"Bearer: {TOKEN}", 'begins with "Bearer "'),
    (f"Authorization: Bearer {TOKEN}", 'begins with "Bearer "'),
    (f"authorization: {TOKEN}", 'begins with "Bearer "'),
    (f'"{TOKEN}"', "is in quotes"),
    (f"'{TOKEN}'\n", "is in quotes"),
    (f"“{TOKEN}”", "is in quotes"),
    ("dst 0123456789", "has a space inside"),
    ("dst\t0123456789", "must be printable ASCII"),
    ("<token>", "is a placeholder"),
    ("$DESTINATION_TOKEN", "is a placeholder"),
    ("...", "is a placeholder"),
]
MAIN = {"DESTINATION_URL": "https://destination.example", "DESTINATION_TOKEN": TOKEN}
CRM = '[destinations.crm]\nurl = "{}"\ntoken_env = "CRM_TOKEN"\n'


@pytest.mark.parametrize(("value", "message"), PASTED)
def test_a_token_pasted_with_more_than_itself_is_refused(
    make_settings: Callable[..., Settings], tmp_path: Path, value: str, message: str
) -> None:
    with pytest.raises(ConfigurationError, match=r"^DESTINATION_TOKEN: ") as caught:
        make_settings(**{**MAIN, "DESTINATION_TOKEN": value})
    assert message in str(caught.value)
    assert "0123456789" not in str(caught.value)
    path = tmp_path / "bridge.toml"
    path.write_text(CRM.format("https://crm.example"))
    settings = make_settings(**MAIN, BRIDGE_CONFIG=str(path), CRM_TOKEN=value)
    with pytest.raises(ConfigurationError, match="the variable CRM_TOKEN ") as caught:
        settings.token_of("crm")
    assert message in str(caught.value)
    assert "0123456789" not in str(caught.value)


@pytest.mark.parametrize("name", ["API_TOKEN", "METRICS_TOKEN"])
@pytest.mark.parametrize("value", ["Bearer 0123456789abcdef", '"0123456789abcdef"'])
def test_the_bridge_s_own_tokens_are_the_token_alone_too(
    make_settings: Callable[..., Settings], name: str, value: str
) -> None:
    with pytest.raises(ConfigurationError, match=f"^{name}: "):
        make_settings(**{name: value})


@pytest.mark.parametrize("token", ["abc", "bearer-of-bad-news", "a.b_c~d+e/f==", "Bearertoken"])
def test_other_tokens_are_taken_as_they_are(token: str) -> None:
    assert bearer_token(f" {token}\r\n") == token


URLS = ["/track/sale", "/track/lead", "/track/sale/", "/v1/Track/Lead", "/track/lead//"]


@pytest.mark.parametrize("path", URLS)
def test_a_url_that_ends_in_what_is_appended_is_refused(
    make_settings: Callable[..., Settings], tmp_path: Path, path: str
) -> None:
    url = f"https://destination.example{path}"
    with pytest.raises(ConfigurationError, match=r"^DESTINATION_URL: must be the base URL: remove /track/"):
        make_settings(**{**MAIN, "DESTINATION_URL": url})
    config = tmp_path / "bridge.toml"
    config.write_text(CRM.format(url))
    with pytest.raises(ConfigurationError, match=r"destinations\.crm\.url: must be the base URL: remove /track/"):
        _ = make_settings(**MAIN, BRIDGE_CONFIG=str(config)).destination_tables


@pytest.mark.parametrize("path", ["", "/", "/api", "/track", "/track/sales", "/track/sale/v2"])
def test_other_paths_are_kept(make_settings: Callable[..., Settings], path: str) -> None:
    settings = make_settings(**{**MAIN, "DESTINATION_URL": f"https://destination.example{path}\n"})
    assert settings.destination_url == f"https://destination.example{path}".rstrip("/")


@pytest.mark.parametrize(
    "url", ['"https://a.example"', "'https://a.example'", "https://a .example", "https://a\n.example"]
)
@pytest.mark.parametrize("name", ["DESTINATION_URL", "PUBLIC_URL", "STRIPE_API_BASE", "ALERT_WEBHOOK_URL"])
def test_a_url_with_quotes_or_white_space_is_refused(
    make_settings: Callable[..., Settings], name: str, url: str
) -> None:
    with pytest.raises(ConfigurationError, match=f"^{name}: "):
        _ = make_settings(**{**MAIN, name: url}).alert_url


@pytest.mark.parametrize("key", ["whsec_0123", "pk_live_0123", "'sk_live_0123'", "sk_live_ 0123", "sk_live_…"])
def test_what_is_no_stripe_api_key_is_refused(make_settings: Callable[..., Settings], key: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^STRIPE_API_KEY: ") as caught:
        make_settings(STRIPE_API_KEY=key)
    assert "0123" not in str(caught.value)
    assert stripe_api_key(" sk_test_0123\n") == "sk_test_0123"


SECRETS = [
    ("STRIPE", "abc", "must begin with whsec_"),
    ("STRIPE", "sk_live_51Habc", "is an API key, and not a signing secret (a signing secret begins with whsec_)"),
    ("STRIPE", "rk_test_51Habc", "is an API key"),
    ("STRIPE", '"whsec_0123456789"', "is in quotes"),
    ("STRIPE", "‘whsec_0123456789’", "is in quotes"),
    ("STRIPE", "whsec_", "must be 8 characters or more"),
    ("STRIPE", "whsec_...", "is a placeholder"),
    ("STRIPE", "whsec_…", "is a placeholder"),
    ("STRIPE", "whsec_0123456789,12345", "secret 2 of 2 must begin with whsec_"),
    ("TYPEFORM", "abcdefgh,x", "secret 2 of 2 must be 8 characters or more; a comma separates secrets: write \\, for"),
    ("TYPEFORM", "x,abcdefgh", "secret 1 of 2 must be 8 characters or more; a comma separates secrets"),
    ("TYPEFORM", "short", "must be 8 characters or more"),
    ("TYPEFORM", "${TYPEFORM_SECRET}", "is a placeholder"),
    ("TYPEFORM", "sk_test_51Habc", "is an API key"),
    ("CLERK", "sk_live_51Habc", "is an API key"),
    ("CLERK", "not base64!", "must be whsec_ and base64"),
    ("JOTFORM", "a-long-enough-secret", "Jotform does not sign its webhooks. Set JOTFORM_PATH_TOKEN instead"),
    ("ELEMENTOR", "a-long-enough-secret", "does not sign its webhooks. Set ELEMENTOR_PATH_TOKEN instead"),
]  # fmt: skip


@pytest.mark.parametrize(("source", "value", "message"), SECRETS)
def test_a_signing_secret_that_can_verify_nothing_is_refused(
    make_settings: Callable[..., Settings], source: str, value: str, message: str
) -> None:
    settings = make_settings(**{f"{source}_WEBHOOK_SECRET": value})
    with pytest.raises(ConfigurationError) as caught:
        configured_sources(settings, all_sources({}))
    assert str(caught.value).startswith(f"{source}_WEBHOOK_SECRET: ")
    assert message in str(caught.value)
    assert not [part for part in value.split(",") if len(part) > 4 and part in str(caught.value) and part != "whsec_"]


def test_a_source_that_does_not_sign_is_open_with_its_token(make_settings: Callable[..., Settings]) -> None:
    settings = make_settings(JOTFORM_PATH_TOKEN="0123456789abcdef", JOTFORM_WEBHOOK_SECRET="of no use")
    assert "jotform" in configured_sources(settings, all_sources({}))


@pytest.mark.parametrize(
    ("text", "secrets"),
    [
        (r"one\,half", ("one,half",)),
        (r"one\,half,two", ("one,half", "two")),
        (r"one\,,two", ("one,", "two")),
        (r"\,", (",",)),
        (r"back\slash", (r"back\slash",)),
    ],
)
def test_a_comma_that_belongs_to_a_secret_has_a_backslash_before_it(
    make_settings: Callable[..., Settings], text: str, secrets: tuple[str, ...]
) -> None:
    assert split_secrets(text) == secrets
    assert make_settings(TYPEFORM_WEBHOOK_SECRET=text).secrets_of("typeform") == secrets


def test_secrets_that_can_verify_have_no_problem(make_settings: Callable[..., Settings]) -> None:
    for source, value in {
        "stripe": "whsec_0123456789,whsec_9876543210",
        "typeform": 'any "text" of a person\\, with a comma',
        "supabase": "v1,whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "clerk": "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
    }.items():
        settings = make_settings(**{f"{source.upper()}_WEBHOOK_SECRET": value})
        assert list(source_problems(settings, all_sources({})[source])) == []
    assert list(secret_problems((), "whsec_")) == []
