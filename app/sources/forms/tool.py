"""Form tools whose whole body is one submission: where in it things are is all that their folders say."""

from collections.abc import Callable, Sequence
from typing import Any

from app.model import Inbound, Mapped, Rules
from app.sources.base import Vector
from app.sources.bodies import read_body
from app.sources.handshake import Handshake
from app.sources.outcomes import ignored, lead, parked
from app.sources.set_up import SetUp
from app.sources.submission import Submission
from app.sources.webhook import Scheme, Webhook

Reader = Callable[[dict[str, Any], Inbound], Submission | str]
"""The body and the request to a submission, or to the reason why it is not one."""


def form_tool(
    name: str,
    title: str,
    signature: Scheme | None,
    see: Reader,
    *,
    vectors: Sequence[Vector] = (),
    is_secret_chosen: bool = True,
) -> Webhook:
    def read(inbound: Inbound, rules: Rules) -> Mapped:
        seen = see(read_body(inbound), inbound)
        if isinstance(seen, str):
            return ignored(Submission(event="submission", submission_id=None, body=inbound.body), seen, rules)
        if not seen.fields:
            return parked(name, seen, rules, "it holds no answers where this tool puts them", lacks=("person",))
        if not seen.submission_id:
            return parked(
                name, seen, rules, "it has no id of the submission, so it could not be counted once", lacks=("id",)
            )
        return lead(name, seen, rules)

    stamps = signature.stamp if isinstance(signature, Handshake) and signature.hmac is None else None
    set_up = SetUp(is_secret_chosen=is_secret_chosen and signature is not None)
    return Webhook(name, title, signature, read, stamps, vectors=vectors, set_up=set_up)
