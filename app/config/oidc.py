"""Single sign-on with OpenID Connect: its variables, and what they say together."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from ipaddress import ip_address
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr

from app.config.sections.marks import NAMES, Section, Unset, Value
from app.config.setting_types import names, web_url
from app.errors import ConfigurationError

CALLBACK = "/login/sso/callback"
EXTRA = "pip install 'conversion-bridge[oidc]'"


def _issuer(value: str) -> str:
    """`value` as it is: whether it ends in a slash is part of an issuer's name."""
    value = value.strip()
    web_url(value)
    parts = urlsplit(value)
    if parts.query or parts.fragment:
        raise ValueError("must hold no ? and no #")
    if parts.scheme != "https" and not _is_loopback(parts.hostname or ""):
        raise ValueError("must begin with https://")
    return value


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


Issuer = Annotated[str, AfterValidator(_issuer), Value("URL")]


class OidcVariables(Section):
    """Single sign-on"""

    oidc_issuer: Annotated[Issuer | None, Unset("off")] = None
    """The OpenID provider for [single sign-on](users.md#single-sign-on). It needs OIDC_CLIENT_ID, OIDC_CLIENT_SECRET, PUBLIC_URL,
    and the extra `oidc`."""
    oidc_client_id: str | None = None
    """The bridge's name at the provider."""
    oidc_client_secret: SecretStr | None = None
    """The bridge's secret at the provider."""
    oidc_scopes: str = "openid profile email"
    """The scopes that the bridge asks for."""
    oidc_groups_claim: str = Field("groups", min_length=1)
    """The claim that holds the groups; a dot leads into an object (`realm_access.roles`)."""
    oidc_viewers: Annotated[str | None, NAMES] = None
    """Groups at the provider whose members may read. A user in no group of these three settings is refused; the highest role
    counts."""
    oidc_operators: Annotated[str | None, NAMES] = None
    """Groups at the provider whose members may act."""
    oidc_admins: Annotated[str | None, NAMES] = None
    """Groups at the provider whose members may manage users."""


@dataclass(frozen=True, slots=True)
class Oidc:
    """groups: by role, what the claim has to hold one of."""

    issuer: str
    client_id: str
    client_secret: str
    scopes: str
    groups_claim: str
    groups: Mapping[str, frozenset[str]]
    public_url: str

    @property
    def redirect_uri(self) -> str:
        return self.public_url + CALLBACK

    @property
    def host(self) -> str:
        """The provider, for people."""
        return urlsplit(self.issuer).hostname or self.issuer


def read_oidc(variables: OidcVariables, public_url: str | None) -> Oidc | None:
    """None if nobody asked for single sign-on. Raises ConfigurationError that names what is missing."""
    secret = variables.oidc_client_secret.get_secret_value() if variables.oidc_client_secret else ""
    groups = {
        "viewer": variables.oidc_viewers,
        "operator": variables.oidc_operators,
        "admin": variables.oidc_admins,
    }
    values = {
        "OIDC_ISSUER": variables.oidc_issuer,
        "OIDC_CLIENT_ID": variables.oidc_client_id,
        "OIDC_CLIENT_SECRET": secret,
        "PUBLIC_URL": public_url,
        "OIDC_OPERATORS or OIDC_VIEWERS": "".join(filter(None, groups.values())),
    }
    asked = [name for name, value in values.items() if value and name != "PUBLIC_URL"]
    if not asked:
        return None
    if missing := [name for name, value in values.items() if not value]:
        raise ConfigurationError(f"{asked[0]} is set: set {', '.join(missing)} too, for single sign-on")
    if find_spec("authlib") is None:
        raise ConfigurationError(f"OIDC_ISSUER is set, and Authlib is not installed: {EXTRA}")
    if "openid" not in variables.oidc_scopes.split():
        raise ConfigurationError("OIDC_SCOPES must contain openid")
    assert variables.oidc_issuer
    assert variables.oidc_client_id
    assert public_url
    return Oidc(
        variables.oidc_issuer,
        variables.oidc_client_id,
        secret,
        " ".join(variables.oidc_scopes.split()),
        variables.oidc_groups_claim,
        {role: frozenset(names(text or "")) for role, text in groups.items()},
        public_url,
    )
