"""Throttles password attempts on pages."""

from collections.abc import Sequence

from flask import request

from app.web.throttle import Network, Throttle, client_of


class Guard:
    """The throttle of everything that takes a password, by the address of the client."""

    def __init__(self, proxies: Sequence[Network]) -> None:
        self._throttle = Throttle()
        self._proxies = proxies

    @property
    def address(self) -> str:
        return client_of(request.remote_addr or "", request.headers.get("X-Forwarded-For", ""), self._proxies)

    def begin(self) -> None:
        """Counts a try. Raises TooManyRequests."""
        self._throttle.begin(self.address)

    def succeeded(self) -> None:
        """Does not count that try."""
        self._throttle.succeeded(self.address)
