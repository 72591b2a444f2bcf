"""bridge doctor: it is red for whatever `up` refuses and whatever cannot work, and each remedy is a command that works."""

import ast
import re
import shlex
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from threading import Thread

import click
import pytest
from click.testing import Result
from werkzeug.serving import BaseWSGIServer, make_server

from app.cli import main
from app.config.settings import Settings
from app.ledger.alerting.refusals import add_refusals
from app.ledger.engine import Ledger
from app.queue import connect
from app.reloading.comparison import compared_values
from app.stack.home import as_json, describe_run, write_run_file
from app.web.factory import create_app
from tests.conftest import FakeDestination, Valkey
from tests.support.makers import change, checkout, settle, signed

sqlite_alone = pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
ROOT = Path(__file__).parents[2]


@pytest.fixture
def on_ledger(bridge: Callable[..., Result], ledger_url: str) -> Callable[..., Result]:
    """Runs a command on the ledger of the test."""
    return lambda *arguments, **variables: bridge(*arguments, **{"DATABASE_URL": ledger_url, **variables})


@pytest.fixture
def post(make_settings: Callable[..., Settings], ledger: Ledger) -> Iterator[Callable[[bytes], None]]:
    """Posts a signed body to a web on the ledger."""
    app = create_app(make_settings(), ledger)

    def send(body: bytes) -> None:
        assert app.test_client().post("/webhooks/stripe", **signed(body)).status_code == 200

    yield send
    app.extensions["writer"].stop()


def clock(ledger: Ledger) -> int:
    with ledger.read() as tx:
        return tx.now()


@pytest.fixture
def web(make_settings: Callable[..., Settings], ledger: Ledger) -> Iterator[BaseWSGIServer]:
    """A web that answers, as the one of `bridge up` does."""
    app = create_app(make_settings(), ledger)
    server = make_server("127.0.0.1", 0, app, threaded=True)
    Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    app.extensions["writer"].stop()


@pytest.fixture
def healthy(
    on_ledger: Callable[..., Result], ledger: Ledger, valkey: Valkey, destination: FakeDestination, web: BaseWSGIServer
) -> Callable[..., Result]:
    """`bridge doctor` where all is as it should be."""
    now = clock(ledger)
    statement = "INSERT INTO workers (host, pid, pid_started, started_at, heartbeat_at) VALUES ('h', 1, '', ?, ?)"
    change(ledger, statement, now, now + 60_000)
    variables = {
        "REDIS_URL": valkey.url,
        "PORT": str(web.server_port),
        "DESTINATION_URL": destination.url,
        "DESTINATION_TOKEN": "a-token",
        "DESTINATION_ALLOW_PRIVATE": "1",
    }
    return lambda **more: on_ledger("doctor", **{**variables, **more})


def wrong(result: Result) -> list[str]:
    return [line.split("WRONG", 1)[1].strip() for line in result.stdout.splitlines() if "WRONG" in line]


def test_doctor_finds_nothing_wrong_where_nothing_is(healthy: Callable[..., Result]) -> None:
    result = healthy()
    assert wrong(result) == []
    assert result.exit_code == 0
    for part in (
        "configuration",
        "stripe, typeform",
        "ledger",
        "workers alive: 1",
        "Redis accepts nudges",
        "destination main",
    ):
        assert part in result.stdout


def test_doctor_stays_green_for_what_is_unattributed(
    healthy: Callable[..., Result], post: Callable[[bytes], None], ledger: Ledger
) -> None:
    for number in range(3):
        post(checkout(number))
    settle(ledger, "unattributed", status=200, error="the destination knows no such customer")
    result = healthy()
    assert (wrong(result), result.exit_code) == ([], 0)


def test_doctor_tries_format_and_token_and_says_what_to_change(
    healthy: Callable[..., Result], destination: FakeDestination
) -> None:
    destination.answer = lambda _request: (403, {}, b'{"error":{"message":"upgrade"}}')
    assert ["plan, role or scope" in line for line in wrong(healthy(DESTINATION_FORMAT="dub"))] == [True]
    destination.answer = lambda _request: (422, {}, b'{"error":{"message":"customerExternalId: Required"}}')
    result = healthy(DESTINATION_FORMAT="dub")
    assert (wrong(result), result.exit_code) == ([], 0)
    assert "Stripe app" in result.stdout


def test_doctor_names_each_trouble_and_its_remedy_and_goes_on(
    healthy: Callable[..., Result],
    post: Callable[[bytes], None],
    ledger: Ledger,
    valkey: Valkey,
    destination: FakeDestination,
) -> None:
    post(checkout(1))
    change(ledger, "UPDATE workers SET heartbeat_at = 1")
    settle(ledger, "permanent", status=400)
    post(checkout(2))
    change(ledger, "UPDATE deliveries SET destination = 'main' WHERE status = 'pending'")
    settle(ledger, "unauthorized", retry=True, status=401, destination="main")
    post(checkout(3))
    valkey.kill()
    destination.close()
    result = healthy()
    assert result.exit_code == 1
    troubles = wrong(result)
    for remedy in (
        "start `bridge worker`",
        "`bridge deliveries --status dead` says why, `bridge replay --status dead` sends them again",
        "check DESTINATION_TOKEN",
        "check REDIS_URL",
        "does not answer",
    ):
        assert any(remedy in trouble for trouble in troubles), remedy
    assert any("1 delivery waits for sandbox, which is no longer configured." in trouble for trouble in troubles)
    assert len(troubles) == 6


def test_doctor_says_what_the_overview_says(
    healthy: Callable[..., Result], post: Callable[[bytes], None], ledger: Ledger
) -> None:
    with ledger.write() as tx:
        add_refusals(tx, {("typeform", "wrong"): 40}, tx.now())
    result = healthy()
    (trouble,) = wrong(result)
    assert trouble.startswith("Typeform: 40 requests were refused (wrong signature ×40). Since ")
    assert "Check TYPEFORM_WEBHOOK_SECRET" in trouble
    assert result.exit_code == 1


@pytest.mark.parametrize(
    ("variables", "remedy"),
    [
        ({"STRIPE_WEBHOOK_SECRET": "", "TYPEFORM_WEBHOOK_SECRET": ""}, "set STRIPE_WEBHOOK_SECRET"),
        ({"PORT": "x"}, "PORT"),
        ({"WPFORMS_PATH_TOKEN": "short"}, "WPFORMS_PATH_TOKEN"),
        ({"BRIDGE_CONFIG": "/nowhere.toml"}, "BRIDGE_CONFIG"),
        ({"DESTINATION_ALLOW_PRIVATE": "0"}, "DESTINATION_ALLOW_PRIVATE=1"),
        ({"REDIS_URL": "unix:///nowhere.sock"}, "check REDIS_URL"),
        ({"DATABASE_URL": "sqlite:////nowhere/at/all.db"}, "ledger"),
    ],
)
@sqlite_alone
def test_doctor_says_which_setting_is_wrong(
    healthy: Callable[..., Result], variables: dict[str, str], remedy: str
) -> None:
    result = healthy(**variables)
    assert result.exit_code == 1
    assert any(remedy in trouble for trouble in wrong(result))


def test_doctor_tries_a_write_and_tells_what_is_late(
    healthy: Callable[..., Result], post: Callable[[bytes], None], ledger: Ledger, ledger_url: str, valkey: Valkey
) -> None:
    post(checkout(1))
    change(ledger, "UPDATE deliveries SET destination = 'main', due_at = ?", clock(ledger) - 600_000)
    assert [line.split(",")[0] for line in wrong(healthy())] == ["Deliveries to main are 10 min late"]
    redis = connect(valkey.url)
    redis.execute_command("REPLICAOF", "127.0.0.1", "1")
    redis.close()
    read_only = (
        "sqlite:///file:{}?mode=ro&uri=true" if ledger.is_sqlite else "{}&options=-cdefault_transaction_read_only%3Don"
    )
    result = healthy(DATABASE_URL=read_only.format(ledger_url.removeprefix("sqlite:///")))
    assert result.exit_code == 1
    assert any(re.search("ledger .*(readonly|read-only)", trouble) for trouble in wrong(result))
    assert any(trouble.startswith("Redis is read-only, as a replica is: check REDIS_URL") for trouble in wrong(result))


@sqlite_alone
def test_doctor_asks_for_the_schema(healthy: Callable[..., Result], ledger: Ledger) -> None:
    change(ledger, "UPDATE alembic_version SET version_num = '0000'")
    result = healthy()
    assert result.exit_code == 1
    assert any("bridge db upgrade" in trouble for trouble in wrong(result))


@sqlite_alone
def test_doctor_in_sandbox_mode_needs_a_key_for_the_sandbox(healthy: Callable[..., Result]) -> None:
    result = healthy(DESTINATION_URL="", DESTINATION_TOKEN="", SECRET_KEY="")
    assert any("SECRET_KEY" in trouble for trouble in wrong(result))


# What `bridge up` refuses, and what comes to nothing

WRONG_SETTINGS = [
    ({"STRIPE_WEBHOOK_SECRET": "abc"}, "STRIPE_WEBHOOK_SECRET: must begin with whsec_"),
    ({"STRIPE_WEBHOOK_SECRET": "sk_live_51Habc"}, "STRIPE_WEBHOOK_SECRET: is an API key"),
    ({"STRIPE_WEBHOOK_SECRET": '"whsec_0123456789"'}, "STRIPE_WEBHOOK_SECRET: is in quotes"),
    ({"JOTFORM_WEBHOOK_SECRET": "a-long-enough-secret"}, "JOTFORM_WEBHOOK_SECRET: Jotform does not sign"),
    ({"DESTINATION_URL": "https://destination.example/track/sale"}, "remove /track/sale"),
    ({"DESTINATION_TOKEN": "Bearer abc"}, 'begins with "Bearer "'),
    ({"STRIPE_WEBHOOK_SECRET": "", "STRIPE_WEBHOOK_SECERT": "x"}, "did you mean STRIPE_WEBHOOK_SECRET?"),
    ({"TALY_WEBHOOK_SECRET": "x"}, "TALY_WEBHOOK_SECRET names no source; did you mean TALLY_WEBHOOK_SECRET?"),
    ({"WPFORM_PATH_TOKEN_FILE": "/proc/version"}, "did you mean WPFORMS_PATH_TOKEN_FILE?"),
    ({"DESTINATON_RATE": "5"}, "DESTINATON_RATE is not a setting; did you mean DESTINATION_RATE?"),
    ({"DESTINATION_CONCURENCY": "5"}, "did you mean DESTINATION_CONCURRENCY?"),
    ({"STRIPE_ALLOW_TEST_EVENT": "1"}, "did you mean STRIPE_ALLOW_TEST_EVENTS?"),
    ({"LOGLEVEL": "debug"}, "LOGLEVEL is not a setting; did you mean LOG_LEVEL?"),
]  # fmt: skip
WRONG_TABLES = [
    (
        '[destinations.crm]\nurl = "https://x.example"\ntoken_env = "CRM_TOKEN"\nsources = ["strpe"]',
        "did you mean stripe?",
    ),
    ('[destinations.crm]\nurl = "https://x.example/track/lead"\ntoken_env = "CRM_TOKEN"', "remove /track/lead"),
    ("[sources.shop]\nkind = 'refund'", "sources.shop.kind"),
    ("[retention]\nbodies_days = 0", "retention.bodies_days"),
    ("[alerts]\nkinds = ['fire']", "alerts.kinds"),
    ("[sources.clerk]\nlead_mode = 'deferred'\nverified_by = ['strip']", "did you mean stripe?"),
]


@sqlite_alone
@pytest.mark.parametrize(("variables", "report"), WRONG_SETTINGS, ids=[report for _, report in WRONG_SETTINGS])
def test_doctor_is_red_for_a_setting_that_is_refused_or_that_nobody_reads(
    healthy: Callable[..., Result], variables: dict[str, str], report: str
) -> None:
    result = healthy(**variables)
    assert result.exit_code == 1
    assert any(report in trouble for trouble in wrong(result)), result.stdout
    assert "configuration is valid" not in result.stdout or "did you mean" in report


@sqlite_alone
@pytest.mark.parametrize(("table", "report"), WRONG_TABLES, ids=[report for _, report in WRONG_TABLES])
def test_doctor_is_red_for_a_bridge_toml_that_up_refuses(
    healthy: Callable[..., Result], tmp_path: Path, table: str, report: str
) -> None:
    path = tmp_path / "bridge.toml"
    path.write_text(table)
    result = healthy(BRIDGE_CONFIG=str(path), CRM_TOKEN="token-of-the-crm")
    assert result.exit_code == 1
    assert any(report in trouble for trouble in wrong(result)), result.stdout


@sqlite_alone
def test_a_name_that_is_close_to_one_that_is_set_is_a_note(healthy: Callable[..., Result]) -> None:
    result = healthy(STRIPE_WEBHOOK_SECRETS="whsec_0")
    assert wrong(result) == []
    assert "note   STRIPE_WEBHOOK_SECRETS is not a setting; did you mean STRIPE_WEBHOOK_SECRET?" in result.stdout


@sqlite_alone
def test_variables_of_others_are_no_misspellings(healthy: Callable[..., Result]) -> None:
    others = {
        "GITHUB_WEBHOOK_SECRET": "x",
        "HOSTNAME": "h",
        "POSTGRES_URL": "x",
        "REDIS_HOST": "x",
        "SECRET_KEY_BASE": "x",
    }
    result = healthy(**others)
    assert wrong(result) == []
    assert "note   GITHUB_WEBHOOK_SECRET names no source" in result.stdout
    assert not [name for name in others if name in result.stdout and "GITHUB" not in name]


@sqlite_alone
def test_doctor_reads_the_names_in_bridge_env_and_who_may_read_it(
    healthy: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bridge.env"
    path.write_text("DESTINATION_FROMAT=track\nMY_OWN_THING=1\n")
    path.chmod(0o644)
    for name in ("DESTINATION_FROMAT", "MY_OWN_THING"):
        monkeypatch.setenv(name, "")  # so that what is read there is taken back after the test
        monkeypatch.delenv(name)
    result = healthy(BRIDGE_ENV_FILE=str(path))
    assert any("did you mean DESTINATION_FORMAT?" in trouble for trouble in wrong(result))
    assert "note   MY_OWN_THING is not a setting" in result.stdout
    assert f"`chmod 600 {path}`" in result.stdout


@sqlite_alone
def test_doctor_is_red_where_the_web_is_down_or_somebody_else_answers(
    healthy: Callable[..., Result], destination: FakeDestination
) -> None:
    result = healthy(PORT="9")
    assert any("the web does not answer at http://127.0.0.1:9" in trouble for trouble in wrong(result))
    port = destination.url.rpartition(":")[2]
    assert any("another program answers" in trouble for trouble in wrong(healthy(PORT=port)))


@sqlite_alone
def test_doctor_follows_the_bridge_that_runs_and_names_settings_that_differ(
    healthy: Callable[..., Result], web: BaseWSGIServer, make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    url = f"http://127.0.0.1:{web.server_port}"
    mine = compared_values(
        make_settings(DESTINATION_URL="https://other.example", DESTINATION_TOKEN="t", TALLY_WEBHOOK_SECRET="x")
    )
    write_run_file(home, as_json(describe_run(url, "0.0.1", mine, is_sandbox=False)))
    result = healthy(PORT="9", TALLY_WEBHOOK_SECRET="")
    (trouble,) = wrong(result)
    assert "the settings here differ from those of the running bridge" in trouble
    for name in ("DESTINATION_URL", "DESTINATION_TOKEN", "TALLY_WEBHOOK_SECRET"):
        assert name in trouble
    assert "STRIPE_WEBHOOK_SECRET" not in trouble
    assert f"the web answers at {url}" in result.stdout
    assert "the running bridge is version 0.0.1" in result.stdout


# Remedies

COMMAND = re.compile(r"`(?:\.venv/bin/)?bridge ([^`]+)`")
PLACEHOLDERS = {"SOURCE": "stripe", "FILE": "body.json", "PERSON": "ada@example.com", "N": "1", "T": "7d", "ID": "1"}
RUNS_ON = ("up", "web", "worker")


def messages_of(path: Path) -> Iterator[str]:
    """The texts of a module that people are shown, with something in place of what is put into them. No docstrings."""
    text = path.read_text("utf-8")
    if "bridge " not in text:  # to read all modules as syntax takes a second, in each process that collects tests
        return
    tree = ast.parse(text)
    silent = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "@" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in silent:
            yield node.value


def commands(texts: Iterable[str]) -> list[str]:
    """Every `bridge …` in `texts`, unless it stands for several (with … or brackets)."""
    found = {command for text in texts for command in COMMAND.findall(text)}
    return sorted(command for command in found if not re.search(r"[…\[\]|<>{}]", command))


def words_of(command: str) -> list[str]:
    words = [PLACEHOLDERS.get(word, word) for word in shlex.split(command, comments=True)]
    put_in = {"--since": "7d", "--id": "1", "--url": "https://bridge.example/webhooks/stripe"}
    return [
        word if "@" not in word or "@example" in word else put_in.get(before, "stripe")
        for before, word in zip(["", *words], words, strict=False)
    ]


def test_a_remedy_that_is_no_command_is_noticed(bridge: Callable[..., Result]) -> None:
    assert commands(["see `bridge deliveries --status dead`, then `bridge replay`"]) == [
        "deliveries --status dead",
        "replay",
    ]
    assert bridge("replay").exit_code == 2


MODULES = [*(ROOT / "app").rglob("*.py"), *(ROOT / "workers").rglob("*.py")]


@pytest.mark.parametrize("command", commands(text for path in MODULES for text in messages_of(path)))
def test_every_command_that_a_message_shows_is_one_that_works(
    bridge: Callable[..., Result], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "body.json").touch()
    words = words_of(command)
    if words[0] in RUNS_ON:
        words.append("--help")
    result = bridge(*words, PORT="9", input="")
    assert result.exit_code in (0, 1), result.output
    assert "Error" not in result.stderr


PAGES = [
    *(ROOT / f"{name}.md" for name in ("README", "SECURITY", "CONTRIBUTING")),
    *(ROOT / "docs").rglob("*.md"),
    *(ROOT / "app").rglob("*.html"),
]


def shown_on(path: Path) -> Iterator[str]:
    """A page, and the lines of its blocks of code, each as it would stand in a sentence."""
    text = path.read_text("utf-8")
    yield text
    for block in re.findall(r"^ *```\w*\n(.*?)^ *```", text, re.S | re.M):
        for line in block.splitlines():
            yield f"`{line.strip().removeprefix('$ ').partition(' #')[0].strip()}`"


@pytest.mark.parametrize("command", commands(text for path in PAGES for text in shown_on(path)))
def test_every_command_that_a_page_shows_is_one_that_the_command_line_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "body.json").touch()
    group: click.Command = main
    words, context = words_of(command), None
    while words and isinstance(group, click.Group):
        if words[0].startswith("--"):
            assert words[0] in [option for parameter in group.params for option in parameter.opts]
            words = words[2:]
            continue
        context = click.Context(group, parent=context)
        name, found, words = group.resolve_command(context, words)
        assert found is not None
        group = found
    if words:  # else it is only spoken of
        group.make_context(name, words, parent=context)


def lines_about(result: Result, title: str) -> list[str]:
    return [line.strip() for line in result.stdout.splitlines() if line[9:].startswith(title)]


def test_doctor_says_of_each_source_when_it_was_heard_of_or_what_to_do_first(
    healthy: Callable[..., Result], post: Callable[[bytes], None], ledger: Ledger, tmp_path: Path
) -> None:
    post(checkout(1))
    with ledger.write() as tx:
        add_refusals(tx, {("jotform", "missing"): 5}, tx.now())
    config = tmp_path / "bridge.toml"
    config.write_text(
        '[sources.shop]\nkind = "sale"\nsignature = "none"\n[sources.shop.fields]\norder_id = "id"\namount = "total"\n'
        'amount_unit = "cents"\ncurrency = "currency"\n'
    )
    result = healthy(
        BRIDGE_CONFIG=str(config),
        SHOP_PATH_TOKEN="token-of-the-tests-0123456789",
        JOTFORM_PATH_TOKEN="token-of-the-tests-0123456789",
        PADDLE_WEBHOOK_SECRET="pdl_sdbx_apikey_01h",
        STRIPE_ALLOW_TEST_EVENTS="1",
    )
    (heard,) = lines_about(result, "Stripe: last event")
    assert re.fullmatch(r"ok +Stripe: last event \d+ s ago \(sale\)", heard)
    (waiting,) = lines_about(result, "Typeform: ")
    assert "Typeform: no event yet. Enter http" in waiting
    assert waiting.endswith("/webhooks/typeform at Typeform, as the page /sources/typeform says")
    (refused, unheard) = lines_about(result, "Jotform: ")
    assert "5 requests were refused (no token ×5)" in refused
    assert "The page /sources/jotform has the steps at Jotform." in refused
    assert "/webhooks/jotform/…" in unheard
    assert lines_about(result, "shop: amounts are read in hundredths of every currency")
    assert lines_about(result, "test events of Stripe go to the real destination")
    assert [line for line in wrong(result) if line.startswith("PADDLE_WEBHOOK_SECRET is an API key")]
