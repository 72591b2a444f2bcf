"""Netlify's tokens: JWS, signed with HS256 and a secret of any length.

Loaded when the first token is signed or read: the library takes 6 MB, which a bridge without Netlify saves.
"""

import jwt
from jwt.algorithms import HMACAlgorithm

from app.errors import SignatureError
from app.sources.signatures import key_of

ALGORITHM = "HS256"
UNREADABLE = "the signature is not a readable token signed with HS256"


class AnyLength(HMACAlgorithm):
    """HMAC without the library's warning about short keys: a Netlify secret is as long as somebody chose it."""

    def check_key_length(self, key: bytes) -> None:
        return None


JWS = jwt.PyJWS(algorithms=[ALGORITHM])
JWS.unregister_algorithm(ALGORITHM)
JWS.register_algorithm(ALGORITHM, AnyLength(HMACAlgorithm.SHA256))


def sign(content: bytes, secret: str) -> str:
    """A token that holds `content`."""
    return JWS.encode(content, key_of(secret), ALGORITHM)


def read(token: str, secret: str) -> bytes | None:
    """The content of a token; None if it was not signed with `secret`. Raises SignatureError if it is none."""
    try:
        content: bytes = JWS.decode(token, key_of(secret), [ALGORITHM])
    except jwt.InvalidSignatureError:
        return None
    except (jwt.PyJWTError, ValueError, TypeError, RecursionError):
        raise SignatureError(UNREADABLE) from None
    return content
