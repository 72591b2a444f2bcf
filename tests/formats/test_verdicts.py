"""What each destination's answers mean."""

import json
from dataclasses import dataclass, field
from typing import Any

import pytest

from app.destinations.formats.base import Sent, Verdict
from app.model import Kind
from tests.support.formats import FORMATS, SAYS_LITTLE, format_of, ready


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


SALE = json.dumps({"customerExternalId": "user_1", "amount": 500, "currency": "usd", "invoiceId": "in_1"})
LEAD = json.dumps({"customerExternalId": "user_1", "eventName": "Sign up", "clickId": "clk_1"})


def verdict(name: str, status: int, body: object = b"", kind: Kind = "sale", **sent: Any) -> Verdict:
    text = body if isinstance(body, bytes) else json.dumps(body).encode()
    return ready(name).verdict(Answer(status, text), Sent(kind, SALE if kind == "sale" else LEAD, **sent))


def error(message: str) -> dict[str, Any]:
    return {"error": {"code": "not_found", "message": message, "doc_url": "https://dub.co/docs"}}


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    ("statuses", "result"),
    [
        ([200, 201, 204, 299, 409], "delivered"),
        ([408, 425, 429], "transient"),
        ([500, 502, 503, 504, 599], "unknown"),
        ([401, 403], "unauthorized"),
        ([400, 402, 404, 405, 410, 413, 415, 418, 422, 451], "permanent"),
        ([300, 301, 302, 303, 304, 307, 308], "redirected"),
    ],
)
def test_every_class_of_answer_has_its_verdict(name: str, statuses: list[int], result: str) -> None:
    for status in statuses:
        found = verdict(
            name, status, format_of(name).sandbox_answer("sale", json.loads(SALE))[1].encode() if status < 300 else b""
        )
        assert found.result == result, status
        assert found.error is None or str(status) in found.error
        assert (found.error is None) is (result == "delivered")


@pytest.mark.parametrize("name", FORMATS)
def test_409_to_an_edited_body_says_that_the_first_one_is_there(name: str) -> None:
    assert verdict(name, 409, is_edited=True).result == "permanent"


@pytest.mark.parametrize("name", SAYS_LITTLE)
@pytest.mark.parametrize("answer", [b'{"success":false}', b'{"status": false, "data": "no"}', b'{"status":"error"}'])
def test_a_success_that_says_no_is_a_failure(name: str, answer: bytes) -> None:
    found = verdict(name, 200, answer)
    assert found.result == "permanent"
    assert "nothing was recorded" in str(found.error)


@pytest.mark.parametrize("name", SAYS_LITTLE)
@pytest.mark.parametrize(
    "answer",
    [
        *(b'{"success":true}', b'{"status":true,"data":"x"}', b'{"status":"ok"}', b"{}", b"[]", b"", b"ok", b"\xff"),
        *(b"null", b"[" * 100_000, b'{"customer": {"id": 1}}', b'{"data":{"success":false}}', b'{"link":{"id":"l"}}'),
    ],
)
def test_any_other_success_is_delivered(name: str, answer: bytes) -> None:
    assert verdict(name, 200, answer) == Verdict("delivered")
    assert verdict(name, 200, answer, "lead") == Verdict("delivered")


@pytest.mark.parametrize("name", ["events", "track"])
def test_a_refusal_that_names_the_click_id_alone_is_about_the_click(name: str) -> None:
    for answer in (
        {"message": "clickId is required"},
        {"errors": [{"path": ["clickId"], "message": "Required"}]},
        error("click ID not found"),
    ):
        assert verdict(name, 400, answer).result == "unattributed"
        assert verdict(name, 422, answer, "lead").result == "unattributed"
    for answer in (
        {"message": "clickId and amount are required"},
        {"message": "invalid payload"},
        json.loads(SALE) | {"clickId": None},
    ):
        assert verdict(name, 422, answer).result == "permanent"
    assert verdict(name, 403, {"message": "clickId is required"}).result == "unauthorized"


def test_dub_cannot_read_the_lead_yet() -> None:
    found = verdict("dub", 404, error("Lead event not found for externalId: user_1"))
    assert (found.result, found.error) == ("transient", "answered 404: the person's lead event cannot be read yet")


@pytest.mark.parametrize(
    "message", ["Link abc is disabled", "Link not found for domain", "Link does not belong to the workspace", ""]
)
def test_other_404s_of_dub_are_final(message: str) -> None:
    assert verdict("dub", 404, error(message)).result == "permanent"
    assert verdict("dub", 404, {"error": message}, "lead").result == "permanent"


def test_dub_knows_no_such_customer() -> None:
    assert verdict("dub", 200, {"eventName": "Purchase", "customer": None, "sale": None}).result == "unattributed"
    missing = "The `clickId` property was not provided and no existing customer with the provided `customerExternalId` was found."
    assert verdict("dub", 400, error(missing), "lead").result == "unattributed"
    assert verdict("dub", 400, error("customerExternalId is required"), "lead").result == "permanent"


def test_dub_does_not_find_the_click() -> None:
    answer = error("Click event not found for clickId: clk_1")
    lead = verdict("dub", 404, answer, "lead")
    assert lead.result == "unattributed"
    sales = [verdict("dub", 404, answer, tries=tries).result for tries in range(5)]
    assert sales == ["transient", "transient", "transient", "unattributed", "unattributed"]


def test_a_repeat_of_a_lead_says_whether_dub_had_it() -> None:
    repeat = {"click": {"id": "clk_1"}, "link": None, "customer": None}
    assert verdict("dub", 200, repeat, "lead") == Verdict("delivered", note="already had this Lead")
    assert verdict("dub", 200, repeat, "lead", attempts=1, last_status=200).note == "already had this Lead"
    for status in (500, 503, None):
        found = verdict("dub", 200, repeat, "lead", attempts=1, last_status=status)
        assert found == Verdict("delivered", note="perhaps lost")


def test_a_repeat_after_an_unknown_click_recorded_nothing() -> None:
    refused = verdict("dub", 404, error("Click event not found for clickId: clk_1"), "lead")
    again = verdict("dub", 200, {"link": None}, "lead", attempts=1, last_status=404, note=refused.note)
    assert (again.result, again.note) == ("unattributed", refused.note)
