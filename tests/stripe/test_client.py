"""What Stripe's API may answer, over real HTTP: what is tried again, and what is said in which words."""

import subprocess
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from app.config.settings import Settings
from app.errors import ConfigurationError
from app.stripe_api.client import RATE_LIMIT_PAUSES, StripeApi, StripeApiError, StripeNotFound, StripeRefused, make_api
from tests.conftest import PYTHON
from tests.stripe.test_stripe_api import KEY, FakeStripe

Answer = tuple[int, dict[str, Any]]


class ScriptedStripe(FakeStripe):
    """Answers of `script` come first, in turn, for paths that begin with `scripted`."""

    def __init__(self) -> None:
        super().__init__()
        self.script: list[Answer] = []
        self.scripted = "/v1/"

    def answer(self, method: str, path: str, params: dict[str, Any]) -> Answer:
        if self.script and path.startswith(self.scripted):
            self.requests.append((method, path, params))
            return self.script.pop(0)
        return super().answer(method, path, params)


@pytest.fixture
def stripe() -> Iterator[ScriptedStripe]:
    server = ScriptedStripe()
    yield server
    server.close()


@pytest.fixture
def api(stripe: ScriptedStripe) -> Callable[..., StripeApi]:
    return lambda **options: StripeApi(KEY, stripe.url, **{"retries": 0, "sleep": lambda _s: None, **options})


def refusal(status: int, message: str) -> Answer:
    return status, {"error": {"type": "invalid_request_error", "message": message}}


FORBIDDEN = (
    f"The provided key '{KEY[:8]}***' does not have the required permissions for this endpoint on account 'acct_1'. Having"
    " the 'rak_customer_read' permission would allow this request to continue."
)


def test_a_missing_permission_is_named_as_the_dashboard_and_as_stripe_name_it(
    api: Callable[..., StripeApi], stripe: ScriptedStripe
) -> None:
    stripe.script = [refusal(403, FORBIDDEN)]
    with pytest.raises(StripeRefused) as raised:
        api().get("/v1/customers/cus_1")
    assert "the permission Customers: Read (Stripe calls it rak_customer_read)" in str(raised.value)
    stripe.script = [refusal(403, "no")]
    with pytest.raises(StripeRefused, match="Webhook Endpoints: Write"):
        api().post("/v1/webhook_endpoints", url="https://a.example")


def test_a_server_error_is_tried_again_and_a_lasting_one_is_said(
    api: Callable[..., StripeApi], stripe: ScriptedStripe
) -> None:
    stripe.objects["/v1/customers/cus_1"] = {"id": "cus_1"}
    stripe.script = [refusal(500, "oops"), refusal(503, "oops")]
    assert api(retries=2).get("/v1/customers/cus_1") == {"id": "cus_1"}
    stripe.script = [refusal(500, "oops")] * 2
    with pytest.raises(StripeApiError, match="Stripe answered 500: its API has trouble, try again later"):
        api(retries=1).get("/v1/customers/cus_1")


def test_too_many_requests_end_in_words(api: Callable[..., StripeApi], stripe: ScriptedStripe) -> None:
    paused: list[float] = []
    stripe.limited = 99
    with pytest.raises(StripeApiError, match="429"):
        api(sleep=paused.append).get("/v1/events")
    assert tuple(paused) == RATE_LIMIT_PAUSES


def test_an_unknown_object_is_an_error_of_its_own(api: Callable[..., StripeApi]) -> None:
    with pytest.raises(StripeNotFound, match="No such object"):
        api().get("/v1/customers/cus_none")


@pytest.mark.parametrize("answer", [[], "text", None])
def test_an_answer_that_is_no_object_is_said(
    api: Callable[..., StripeApi], stripe: ScriptedStripe, answer: list[Any] | str | None
) -> None:
    stripe.script = [(200, cast("dict[str, Any]", answer))]
    with pytest.raises(StripeApiError, match="something else"):
        api().get("/v1/events")


def test_an_unreachable_api_names_the_base_and_not_the_key() -> None:
    with pytest.raises(StripeApiError, match="cannot be reached") as raised:
        StripeApi(KEY, "http://127.0.0.1:9", retries=0).get("/v1/events")
    assert "http://127.0.0.1:9" in str(raised.value)
    assert KEY not in str(raised.value)


def test_a_list_is_read_to_its_end_page_by_page(api: Callable[..., StripeApi], stripe: ScriptedStripe) -> None:
    stripe.lists["/v1/invoices"] = [{"id": f"in_{n}", "created": n, "status": "paid"} for n in range(230)]
    found = [invoice["id"] for invoice in api().each("/v1/invoices", status="paid")]
    assert found == [f"in_{n}" for n in range(229, -1, -1)]
    assert [params["limit"] for _, _, params in stripe.requests] == ["100"] * 3


def test_a_list_that_never_ends_is_left(api: Callable[..., StripeApi], stripe: ScriptedStripe) -> None:
    stripe.script = [(200, {"data": [{"id": "in_1"}], "has_more": True})] * 9
    assert len(list(api().each("/v1/invoices"))) == 2
    stripe.script = [(200, {"data": [], "has_more": True})] * 9
    assert list(api().each("/v1/invoices")) == []


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("pk_live_public", "publishable key"),
        ("whsec_secret", "signing secret"),
        ("sk_live_with space", "without a space"),
        ("sk_live_é", "printable ASCII"),
    ],
)
def test_what_is_no_key_is_said_without_showing_it(make_settings: Callable[..., Settings], key: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as raised:
        make_api(make_settings(STRIPE_API_KEY=key))
    assert key not in str(raised.value)


def test_a_key_with_a_line_break_from_its_file_is_taken(
    make_settings: Callable[..., Settings], stripe: ScriptedStripe
) -> None:
    stripe.objects["/v1/customers/cus_1"] = {"id": "cus_1"}
    settings = make_settings(STRIPE_API_KEY=f"{KEY}\n", STRIPE_API_BASE=stripe.url)
    assert make_api(settings).get("/v1/customers/cus_1") == {"id": "cus_1"}


def test_the_key_is_sent_to_this_machine_or_over_https_alone() -> None:
    with pytest.raises(ConfigurationError, match="STRIPE_API_BASE must begin with https://"):
        StripeApi(KEY, "http://stripe.example.com")
    assert StripeApi(KEY, "https://proxy.example.com/").base == "https://proxy.example.com"


def test_web_workers_and_commands_start_without_loading_the_library() -> None:
    code = "import sys, app.cli, app.web.factory, workers.__main__; sys.exit('stripe' in sys.modules)"
    assert subprocess.run([PYTHON, "-c", code], check=False, timeout=60).returncode == 0
