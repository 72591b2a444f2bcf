"""Records each refused request: its count, its details, and whether it goes into the quarantine."""

from functools import partial

from app.errors import SignatureError, SourceError
from app.intake.quarantine import Request, Sealer
from app.intake.verify_and_map import TOKEN_PROBLEM
from app.ledger.inbound.details import Detail
from app.text import storable
from app.web.public.refusal_counter import RefusalCounter

LONGEST = 200


class RefusedRequests:
    def __init__(self, counter: RefusalCounter, sealer: Sealer) -> None:
        self._counter = counter
        self._sealer = sealer

    def note(self, source: str, reason: str, error: SourceError, size: int, request: Request) -> None:
        """Notes a refused request; returns at once."""
        if isinstance(error, SignatureError) and error.heals:
            error.source = source
            self._counter.hold(source, request.client, partial(self._sealer.seal, error, request))
        self._counter.count(source, reason, self._detail(source, error, size, request))

    def _detail(self, source: str, error: SourceError, size: int, request: Request) -> Detail:
        headers = request.inbound.headers
        proofs = self._sealer.proofs(source)
        has = any(name.lower() in headers for name in proofs)
        is_of_url = str(error) == TOKEN_PROBLEM
        return Detail(
            message=_short(str(error)),
            client=request.client,
            header="" if is_of_url else " or ".join(proofs),
            has_header=has if proofs and not is_of_url else None,
            skew_seconds=error.skew_seconds if isinstance(error, SignatureError) else None,
            size=size,
            content_type=_short(headers.get("content-type", "")),
            user_agent=_short(headers.get("user-agent", "")),
        )


def _short(text: str) -> str:
    return storable(text)[:LONGEST]
