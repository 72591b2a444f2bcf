"""bridge.env is read by every command, as a shell would read it, and the environment wins; secrets may stand in files."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.config.env_file import load_env_file, override, read_lines, read_value
from app.config.settings import SECRET_VARIABLES, Settings, load_settings
from app.errors import ConfigurationError
from tests.conftest import PYTHON

SECRET = "s3cret-of-the-test"
VALUES = [
    ("", ""),
    ("plain", "plain"),
    ("  ", ""),
    ("a=b=c", "a=b=c"),
    ("https://x.example/?a=1&b=2;c", "https://x.example/?a=1&b=2;c"),
    ("pass#word", "pass#word"),
    ("#first", "#first"),
    ("value # a comment", "value"),
    ("value\t#comment", "value"),
    ("'one two'", "one two"),
    ("'it is # no comment'", "it is # no comment"),
    ("\"double 'quoted'\"", "double 'quoted'"),
    (r'"a \"quote\" and a \\ and \$HOME and \n"', r'a "quote" and a \ and $HOME and \n'),
    (r"'nothing \n is $HOME special'", r"nothing \n is $HOME special"),
    (r"with\ space", "with space"),
    ("$HOME", "$HOME"),
    ("${HOME}", "${HOME}"),
    ("~/x", "~/x"),
    ("`date`", "`date`"),
    ("$(date)", "$(date)"),
    ("a'b c'\"d e\"f", "ab cd ef"),
    ("'' # nothing", ""),
    ("ü€", "ü€"),
]


@pytest.mark.parametrize(("written", "value"), VALUES)
def test_a_value_is_read_as_a_shell_reads_it_and_nothing_is_expanded(written: str, value: str) -> None:
    assert read_value(written) == value
    if not set("$`~&;?(") & set(written) or "'" in written:
        script = f'X={written}\nprintf %s "$X"'
        shown = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True).stdout
        assert shown == value, "bash"


FILE = """\ufeff# settings of the bridge

export DESTINATION_URL=https://destination.example   # the real one
DESTINATION_TOKEN='tok#en'
  PORT=8123\r
PORT=8124
WEB_THREADS=
"""


def test_lines_blank_lines_comments_and_export_are_read(tmp_path: Path) -> None:
    assert dict(read_lines(FILE)) == {
        "DESTINATION_URL": "https://destination.example",
        "DESTINATION_TOKEN": "tok#en",
        "PORT": "8124",
        "WEB_THREADS": "",
    }


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"TYPEFORM_WEBHOOK_SECRET={SECRET} and more", "TYPEFORM_WEBHOOK_SECRET: has a space: put the value in single quotes"),
        (f"TYPEFORM_WEBHOOK_SECRET='{SECRET}", "the quote ' is not closed on the same line"),
        (f'TYPEFORM_WEBHOOK_SECRET="{SECRET}', 'the quote " is not closed on the same line'),
        (f"TYPEFORM_WEBHOOK_SECRET={SECRET}\\", "ends in a backslash"),
        (f"TYPEFORM_WEBHOOK_SECRET = {SECRET}", "write NAME=value, without spaces around ="),
        (f"TYPEFORM_WEBHOOK_SECRET: {SECRET}", "write NAME=value"),
        ("[env]", "write NAME=value"),
        ("MY-NAME=1", "write NAME=value"),
    ],
)  # fmt: skip
def test_a_line_that_cannot_be_read_is_named_and_its_value_is_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, message: str
) -> None:
    path = tmp_path / "bridge.env"
    path.write_text(f"# first\n{line}\n")
    monkeypatch.setenv("BRIDGE_ENV_FILE", str(path))
    with pytest.raises(ConfigurationError) as caught:
        load_settings()
    assert str(caught.value).startswith(f"{path}, line 2: ")
    assert message in str(caught.value)
    assert SECRET not in str(caught.value)


def test_what_the_environment_has_wins_even_where_it_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "bridge.env"
    path.write_text("PORT=1\nHOST=h\nLOG_LEVEL=debug\nAPI_TOKEN_FILE=/a\nSECRET_KEY=b\n")
    environment = {"BRIDGE_ENV_FILE": str(path), "PORT": "2", "HOST": "", "API_TOKEN": "mine", "SECRET_KEY_FILE": "/c"}
    before = dict(environment)
    assert load_env_file(environment) == path
    assert environment == {**before, "LOG_LEVEL": "debug", "BRIDGE_ENV_NAMES": "LOG_LEVEL"}


def test_a_process_that_another_one_started_reads_the_file_again(tmp_path: Path) -> None:
    path = tmp_path / "bridge.env"
    path.write_text("LOG_LEVEL=debug\nPHONE_REGION=DE\nHOST=::1\n")
    environment = {"BRIDGE_ENV_FILE": str(path), "STRIPE_HOLD": "1"}
    load_env_file(environment)
    override(environment, "HOST", "127.0.0.1")  # as `bridge up --host` does
    path.write_text("LOG_LEVEL=error\nSTRIPE_HOLD=9\nHOST=::1\n")
    inherited = dict(environment)
    load_env_file(inherited)
    assert {name: inherited.get(name) for name in ("LOG_LEVEL", "PHONE_REGION", "STRIPE_HOLD", "HOST")} == {
        "LOG_LEVEL": "error",
        "PHONE_REGION": None,
        "STRIPE_HOLD": "1",
        "HOST": "127.0.0.1",
    }


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"A=1\n" * 300_000])
def test_a_file_that_is_named_has_to_be_there_and_readable(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "other.env"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=r"other\.env (does not exist|cannot be read)"):
        load_env_file({"BRIDGE_ENV_FILE": str(path)})


def run(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {
        name: value for name, value in os.environ.items() if name not in ("BRIDGE_ENV_FILE", "BRIDGE_CONFIG")
    }
    environment |= {"PYTHONPATH": str(Path(__file__).parents[2]), **variables}
    command = [PYTHON, "-m", "app", *arguments]
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=100)


def test_commands_read_bridge_env_of_the_current_folder_or_the_file_that_is_named(tmp_path: Path) -> None:
    (tmp_path / "bridge.env").write_text("BRIDGE_HOME=of-the-file\n")
    (tmp_path / "other.env").write_text(f"BRIDGE_HOME='{tmp_path}/of the other'\n")
    assert run(tmp_path, "db", "upgrade").returncode == 0
    assert (tmp_path / "of-the-file" / "ledger.db").exists()
    assert run(tmp_path, "--env-file", "other.env", "db", "upgrade").returncode == 0
    assert (tmp_path / "of the other" / "ledger.db").exists()
    assert run(tmp_path, "db", "upgrade", BRIDGE_HOME="of-the-environment").returncode == 0
    assert (tmp_path / "of-the-environment" / "ledger.db").exists()
    missing = run(tmp_path, "--env-file", "none.env", "db", "current")
    assert (missing.returncode, missing.stderr.count("\n")) == (1, 1)
    assert "none.env does not exist" in missing.stderr


# NAME_FILE


def test_every_secret_may_stand_in_a_file_and_loses_one_line_break(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    values = {
        "DATABASE_URL": "postgresql://u:p@host/name",
        "REDIS_URL": "redis://:p@host:6379/0",
        "ALERT_WEBHOOK_URL": "https://hooks.example/x",
        "STRIPE_API_KEY": "sk_test_0123456789",
        "DESTINATION_TOKEN": "token-of-the-file",
        "ALERT_SMTP_URL": "smtp://u:p@mail.example:587",
        "ALERT_PAGERDUTY_KEY": "0123456789abcdef0123456789abcdef",
        "ENCRYPTION_KEY": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
    }
    files: dict[str, str] = {}
    for name in SECRET_VARIABLES:
        path = tmp_path / name.lower()
        path.write_text(values.get(name, f"a secret of {name}  ") + "\n")
        files |= {name: "", f"{name}_FILE": str(path)}
    settings = make_settings(**files, ALERT_EMAIL_TO="ops@mail.example")
    for name in SECRET_VARIABLES:
        assert getattr(settings, name.lower()).get_secret_value() == values.get(name, f"a secret of {name}  ")


def test_secrets_of_sources_and_of_destinations_may_stand_in_files(
    make_settings: Callable[..., Settings], tmp_path: Path
) -> None:
    (tmp_path / "stripe").write_text("whsec_one,whsec_two\r\n")
    (tmp_path / "token").write_text("0123456789abcdef")
    (tmp_path / "crm").write_text("token-of-the-crm\n")
    config = tmp_path / "bridge.toml"
    config.write_text('[destinations.crm]\nurl = "https://crm.example"\ntoken_env = "CRM_TOKEN"\n')
    settings = make_settings(
        BRIDGE_CONFIG=str(config),
        STRIPE_WEBHOOK_SECRET="",
        STRIPE_WEBHOOK_SECRET_FILE=str(tmp_path / "stripe"),
        WPFORMS_PATH_TOKEN_FILE=str(tmp_path / "token"),
        CRM_TOKEN_FILE=str(tmp_path / "crm"),
    )
    assert settings.secrets_of("stripe") == ("whsec_one", "whsec_two")
    assert settings.path_tokens_of("wpforms") == ("0123456789abcdef",)
    assert settings.opens("wpforms")
    assert settings.token_of("crm") == "token-of-the-crm"


@pytest.mark.parametrize(
    ("name", "content", "variables", "message"),
    [
        ("STRIPE_WEBHOOK_SECRET", SECRET, {"STRIPE_WEBHOOK_SECRET": SECRET}, "are both set: remove one of them"),
        ("API_TOKEN", SECRET, {"API_TOKEN": SECRET}, "are both set: remove one of them"),
        ("TALLY_WEBHOOK_SECRET", None, {}, "cannot be read: No such file or directory"),
        ("SECRET_KEY", None, {}, "cannot be read: No such file or directory"),
        ("WUFOO_WEBHOOK_SECRET", "", {}, "is empty"),
        ("WUFOO_WEBHOOK_SECRET", " \n", {}, "is empty"),
        ("WUFOO_WEBHOOK_SECRET", f"{SECRET}\nmore\n", {}, "must hold the secret alone, in one line"),
        ("DASHBOARD_PASSWORD", b"\xff\xfe", {}, "cannot be read: it is not UTF-8"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_and_its_content_is_not_shown(
    make_settings: Callable[..., Settings],
    tmp_path: Path,
    name: str,
    content: bytes | str | None,
    variables: dict[str, Any],
    message: str,
) -> None:
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ConfigurationError) as caught:
        make_settings(**{name: "", f"{name}_FILE": str(path), **variables})
    assert str(caught.value).startswith(name)
    assert message in str(caught.value)
    assert SECRET not in str(caught.value)
