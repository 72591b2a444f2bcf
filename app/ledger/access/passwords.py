"""Passwords of named users: their rules, and their Argon2id hashes (RFC 9106).

Parameters: https://cheatsheetseries.owasp.org/cheatsheets/Password_Storage_Cheat_Sheet.html#argon2id
"""

import secrets
import threading
import unicodedata
from functools import cached_property

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from app.errors import AccessError

SHORTEST, LONGEST = 12, 256
LEAST_DIFFERENT = 5
AT_ONCE = 4
"""Hashes that one process computes at a time: each takes 19 MiB, and strangers ask for them."""


class Passwords:
    """Hashes and verifies. The defaults take about 20 ms; tests pass lower ones."""

    def __init__(self, *, time_cost: int = 2, memory_kib: int = 19_456) -> None:
        self._hasher = PasswordHasher(time_cost=time_cost, memory_cost=memory_kib, parallelism=1)
        self._slots = threading.BoundedSemaphore(AT_ONCE)

    def hash(self, password: str, name: str) -> str:
        """The hash of a new password for the user `name`. Raises AccessError if the password is too weak."""
        check_strength(password, name)
        with self._slots:
            return self._hasher.hash(_normal(password))

    def verify(self, kept: str | None, password: str) -> bool:
        """Whether `password` matches the hash. Without a hash: False, after the same time."""
        password = _normal(password)
        if len(password) > LONGEST:
            kept, password = None, ""
        with self._slots:
            try:
                self._hasher.verify(kept or self._nobody, password)
            except (VerificationError, InvalidHashError):
                return False
        return kept is not None

    def is_outdated(self, kept: str) -> bool:
        """Whether it was hashed with other parameters than these."""
        return self._hasher.check_needs_rehash(kept)

    def rehash(self, password: str) -> str:
        """The hash, with these parameters, of a password that was verified."""
        with self._slots:
            return self._hasher.hash(_normal(password))

    @cached_property
    def _nobody(self) -> str:
        return self._hasher.hash(secrets.token_urlsafe())


def generate_password() -> str:
    """A temporary password for the user to replace: 120 bits."""
    return secrets.token_urlsafe(15)


def chosen_or_generated(password: str | None) -> tuple[str, str | None]:
    """The password to set, and the one to show because it was generated: none was chosen."""
    generated = None if password else generate_password()
    return password or str(generated), generated


def check_strength(password: str, name: str) -> None:
    """Raises AccessError that says what the password lacks.

    Length counts, not kinds of characters: https://pages.nist.gov/800-63-4/sp800-63b.html#passwordver
    """
    password = _normal(password)
    if not SHORTEST <= len(password) <= LONGEST:
        raise AccessError(f"a password has {SHORTEST} to {LONGEST} characters")
    if "\x00" in password:
        raise AccessError("a password has no NUL character")
    if len(set(password)) < LEAST_DIFFERENT:
        raise AccessError(f"this password repeats itself: use at least {LEAST_DIFFERENT} different characters")
    if name and password.casefold().replace(name.casefold(), "").strip("0123456789!?.-_ ") == "":
        raise AccessError("this password is the user's name: choose another one")


def _normal(password: str) -> str:
    """One form of each character, whatever keyboard it was typed on. A lone surrogate cannot be hashed."""
    return unicodedata.normalize("NFC", password.encode("utf-8", "replace").decode())
