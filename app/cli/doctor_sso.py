"""The part of doctor that asks the OpenID provider of single sign-on."""

from collections.abc import Iterator

from app.cli.doctor_setup import Finding
from app.config.oidc import read_oidc
from app.config.settings import Settings


def check_sso(settings: Settings) -> Iterator[Finding]:
    """Whether the provider can be used. Raises ConfigurationError."""
    oidc = read_oidc(settings, settings.public_url)
    if oidc is None:
        return
    from app.web.sso.provider import Provider, ProviderUnavailable  # needs the extra

    try:
        document = Provider(oidc, settings.proxies).document()
    except ProviderUnavailable as error:
        yield "wrong", f"single sign-on: {error}: check OIDC_ISSUER"
        return
    yield "ok", f"single sign-on: {oidc.host} answers; register {oidc.redirect_uri} there as redirect URI"
    if "S256" not in document.get("code_challenge_methods_supported", ["S256"]):
        yield "warn", f"single sign-on: {oidc.host} does not list PKCE with S256, which the bridge uses"
    if "code" not in document.get("response_types_supported", ["code"]):
        yield "wrong", f"single sign-on: {oidc.host} does not offer the authorization code flow"
