"""Signed webhooks to post: Stripe's checkout.session.completed as it comes, each another purchase of another person."""

import hmac
import random
import time
from pathlib import Path

SECRET = "whsec_of_the_benchmark"
PATH = "/webhooks/stripe"
FIXTURE = Path(__file__).parent.parent / "app" / "sources" / "stripe" / "fixtures" / "checkout_payment.json"
IDS = {
    "evt_1QbrdgFx6QW8aAkvYj7NiDFN": "evt_\1@",
    "cs_live_a1j76DvqtpYErRVAYz5Vhx9Aq4RiShszJXGDfijhV58kTXLib3": "cs_live_a1@",
    "cus_Rk75X8ptT7qWmZ": "cus_@",
    "pi_1QbrdgFxstAXnWyxdmxyLns6": "pi_\1@",
    "clk_9fQ2mB7": "clk_@",
    "marta.reis@example.com": "@\0example.com",
    '"+351912345678"': "null",  # Checkout asks for it only where the merchant wants it
}
LENGTH = 24
"""Of an identity, in characters."""
DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class Purchases:
    """Makes bodies with fresh ids, as Stripe's are: random, but those of events and payments begin with the second in which
    they are made, so that new ones come last in an index."""

    def __init__(self) -> None:
        text = FIXTURE.read_text(encoding="utf-8")
        for name, mark in IDS.items():
            if name not in text:
                raise ValueError(f"{FIXTURE} changed: {name} is not in it")
            text = text.replace(name, mark)
        self._template = [part.replace("\0", "@").encode() for part in text.split("@")]
        self._parts: list[bytes] = []
        self._second = 0
        self._random = random.Random()

    def make(self) -> tuple[str, bytes]:
        """(identity, body): the identity is what all its ids end with."""
        if (second := int(time.time())) != self._second:
            begin = f"1{_digits(second)}Fx".encode()
            self._second, self._parts = second, [part.replace(b"\1", begin) for part in self._template]
        identity = self._random.randbytes(LENGTH // 2).hex()
        return identity, identity.encode().join(self._parts)


def _digits(seconds: int) -> str:
    """In the order of time, as text."""
    text = ""
    while seconds:
        seconds, digit = divmod(seconds, len(DIGITS))
        text = DIGITS[digit] + text
    return text


def signature(body: bytes, seconds: int) -> str:
    """Stripe's header: https://docs.stripe.com/webhooks#verify-manually."""
    digest = hmac.digest(SECRET.encode(), b"%d." % seconds + body, "sha256")
    return f"t={seconds},v1={digest.hex()}"


def request(body: bytes, port: int) -> bytes:
    """The whole HTTP request that posts `body`, signed now."""
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: Stripe/1.0 (+https://stripe.com/docs/webhooks)\r\n"
        f"Accept: */*; q=0.5, application/xml\r\nContent-Type: application/json; charset=utf-8\r\n"
        f"Stripe-Signature: {signature(body, int(time.time()))}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body
