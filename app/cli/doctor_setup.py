"""The part of doctor that looks at what was set up: settings, their names, the bridge that runs with them, and its web."""

import os
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib.metadata import version
from urllib.parse import urlsplit

import requests

from app.bootstrap import configuration_problems
from app.config.env_file import env_file, read_lines, read_small_text
from app.config.settings import Settings, variable_of
from app.config.spelling import unknown_variables
from app.errors import BridgeError
from app.reloading.comparison import compared_values
from app.sources.base import Source
from app.stack.home import Running, read_running
from app.stack.listening import why_not_listen

Finding = tuple[str, str]
"""("ok" | "warn" | "wrong", text)"""


def check_settings(settings: Settings, sources: Mapping[str, Source]) -> Iterator[Finding]:
    """Everything that `bridge up` would refuse, and what would come to nothing."""
    problems = list(dict.fromkeys(configuration_problems(settings)))
    for problem in problems:
        yield "wrong", f"configuration: {problem}"
    if not problems:
        yield "ok", "configuration is valid"
    yield from _check_names(settings, sources)
    yield from _check_env_file()
    configured = [name for name in sources if _opens(settings, name)]
    if configured:
        yield "ok", f"sources: {', '.join(configured)}"
    else:
        yield (
            "wrong",
            "no source is configured, so every webhook gets a 404: set STRIPE_WEBHOOK_SECRET or another"
            " <SOURCE>_WEBHOOK_SECRET",
        )
    for name in settings.config.get("sources", {}):
        if name not in configured:
            variable = f"{variable_of(name)}_{'WEBHOOK_SECRET' if sources[name].signed else 'PATH_TOKEN'}"
            yield "wrong", f"sources.{name} of {settings.config_path} is not open: set {variable}"
    for name in configured:
        if sources[name].signs_url and settings.public_url is None:
            yield "wrong", f"{sources[name].title} signs the URL that it calls: set PUBLIC_URL"
        if settings.secrets_of(name) and not sources[name].signed:
            yield "warn", f"{variable_of(name)}_WEBHOOK_SECRET has no effect: {sources[name].title} does not sign"


def _opens(settings: Settings, name: str) -> bool:
    with suppress(BridgeError):  # a token that is refused, named above
        return settings.opens(name)
    return False


def _check_names(settings: Settings, sources: Mapping[str, Source]) -> Iterator[Finding]:
    for unknown in unknown_variables(settings, sources, os.environ, _names_in_file()):
        yield ("wrong" if unknown.is_missed else "warn"), str(unknown)


def _names_in_file() -> list[str]:
    path, _ = env_file()
    with suppress(OSError, ValueError):
        return [name for name, _ in read_lines(read_small_text(path), path)]
    return []


def _check_env_file() -> Iterator[Finding]:
    path, _ = env_file()
    with suppress(OSError):
        mode = path.stat().st_mode
        if stat.S_ISREG(mode) and mode & 0o004:
            yield "warn", f"every user of this machine can read {path}, which may hold secrets: `chmod 600 {path}`"


def check_running(settings: Settings) -> Iterator[Finding]:
    """Whether the bridge that runs is the one of these settings, and whether its web answers."""
    running = read_running(settings.bridge_home)
    if running is not None:
        yield "ok", f"`bridge up` is running (process {running.pid}) at {running.url}"
        names = running.differences(compared_values(settings))
        if names:
            yield (
                "wrong",
                f"the settings here differ from those of the running bridge: {', '.join(names)}. Put them into bridge.env,"
                " which every command reads, and run `bridge reload` or restart `bridge up`",
            )
        if running.version != (mine := version("conversion-bridge")):
            yield "warn", f"the running bridge is version {running.version}, this command {mine}: restart `bridge up`"
    yield from _check_web(settings, running)


def _check_web(settings: Settings, running: Running | None) -> Iterator[Finding]:
    urls = [running.url] if running else [settings.own_url]
    if running is None and settings.public_url:
        urls.append(settings.public_url)
    for url in urls:
        state = _ask_web(settings, url)
        if state == "alive":
            yield "ok", f"the web answers at {url}"
            return
        if state == "other":
            yield "wrong", f"another program answers at {url}: choose another PORT"
            return
    start = "see its log" if running else "start `bridge up`, or `bridge web`"
    problem = None if running else why_not_listen(settings.host, settings.port)
    where = " and ".join(urls)
    yield "wrong", f"the web does not answer at {where}, so no webhook can come in: {problem or start}"


def _ask_web(settings: Settings, url: str) -> str:
    """ "alive", "other" where somebody else answers, "silent"."""
    try:
        with settings.proxies.session(url) as http:
            answer = http.get(f"{url}/healthz", timeout=5, allow_redirects=False)
    except requests.RequestException:
        return "silent"
    with suppress(ValueError, AttributeError):
        if answer.json().get("status") == "alive":
            return "alive"
    return "other" if urlsplit(url).port else "silent"


def sandbox_url(settings: Settings, url: str) -> str:
    """The URL of the sandbox of the bridge that runs, which may listen on another port than these settings say."""
    running = read_running(settings.bridge_home)
    return f"{running.url}/sandbox" if running and running.is_sandbox else url


def problems_of_running(settings: Settings) -> list[str] | None:
    """What the web of the running bridge says does not work (/statusz); None where none runs here, or it does not say."""
    running = read_running(settings.bridge_home)
    if running is None:
        return None
    with suppress(requests.RequestException, ValueError, KeyError, TypeError):
        with settings.proxies.session(running.url) as http:
            answer = http.get(f"{running.url}/statusz", timeout=15, allow_redirects=False)
        return [str(problem) for problem in answer.json()["problems"]]
    return None
