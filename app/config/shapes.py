"""What a secret must look like. Each message says what to change, and none shows the value.

A value pasted with its quotes, with "Bearer " before it, or from the wrong field of a provider's page starts without complaint
and then fails every request, so it is refused at start.
"""

import re
from collections.abc import Iterator

SHORTEST_SECRET = 8
"""Characters of a signing secret. What is shorter is part of a secret that has a comma in it, or can be guessed."""
QUOTES = "\"'`“”‘’«»"
STRIPE_KEYS = ("sk_live_", "sk_test_", "rk_live_", "rk_test_", "pk_live_", "pk_test_")
PLACEHOLDER = re.compile(r"(?:[a-z]+_)*(?:\.{3,}|…|x{3,}|\*{3,})|<[^<>]*>|\{[^{}]*\}|\$\{?\w+\}?", re.IGNORECASE)
COMMA_HINT = "a comma separates secrets: write \\, for a comma that belongs to one"


def bearer_token(text: str) -> str:
    """`text` without surrounding white space. Raises ValueError unless it can follow "Bearer " in a header."""
    token = text.strip()
    if problem := _prefix_problem(token):
        raise ValueError(problem)
    if not token or not (token.isascii() and token.isprintable()):
        raise ValueError("must be printable ASCII characters, so that a header can carry it")
    if " " in token:
        raise ValueError("has a space inside: a bearer token has none")
    if PLACEHOLDER.fullmatch(token):
        raise ValueError("is a placeholder: set the destination's token")
    return token


def own_token(text: str) -> str:
    """The same for a token that others send to the bridge (API_TOKEN, METRICS_TOKEN), which may have spaces."""
    if problem := _prefix_problem(text.strip()):
        raise ValueError(problem)
    return text


def stripe_api_key(text: str) -> str:
    """`text` without surrounding white space. Raises ValueError if it is certainly no key of Stripe's API."""
    key = text.strip()
    if problem := _quotes_problem(key):
        raise ValueError(problem)
    if key.startswith("whsec_"):
        raise ValueError("is a webhook's signing secret (whsec_…): an API key begins with sk_ or rk_")
    if key.startswith("pk_"):
        raise ValueError("is a publishable key (pk_…): an API key begins with sk_ or rk_")
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise ValueError("must be printable ASCII characters without a space")
    return key


def secret_problems(secrets: tuple[str, ...], prefix: str) -> Iterator[str]:
    """What is wrong with the signing secrets of a source, which begin with `prefix`."""
    several = len(secrets) > 1
    for number, secret in enumerate(secrets, 1):
        which = f"secret {number} of {len(secrets)} " if several else ""
        if problem := _quotes_problem(secret):
            yield f"{which}{problem}"
        elif PLACEHOLDER.fullmatch(secret):
            yield f"{which}is a placeholder: set the provider's signing secret"
        elif secret.startswith(STRIPE_KEYS):
            where = f" (a signing secret begins with {prefix})" if prefix else ""
            yield f"{which}is an API key, and not a signing secret{where}"
        elif prefix and not secret.startswith(prefix):
            hint = f"; {COMMA_HINT}" if several else ""
            yield f"{which}must begin with {prefix}, as every signing secret of this provider does{hint}"
        elif len(secret) < SHORTEST_SECRET or secret == prefix:
            hint = f"; {COMMA_HINT}" if several else ""
            yield f"{which}must be {SHORTEST_SECRET} characters or more{hint}"


def _prefix_problem(token: str) -> str | None:
    if re.match(r"(?:authorization\s*[:=]\s*)?bearer(?:[\s:]|$)|authorization\s*[:=]", token, re.IGNORECASE):
        return 'begins with "Bearer ", which the bridge adds by itself: set the token alone'
    return _quotes_problem(token)


def _quotes_problem(text: str) -> str | None:
    if len(text) > 1 and text[0] in QUOTES and text[-1] in QUOTES:
        return "is in quotes, which would be part of it: remove them"
    return None
