"""map: what bodies would become, which field gave each value, and what a changed mapping would change."""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from app.bootstrap import make_policy, open_ledger
from app.cli.options import unknown_destination
from app.cli.output import say, say_json
from app.cli.table import print_table
from app.config.env_file import read_small_text, reason_of
from app.config.settings import Settings, load_settings
from app.destinations.target import Destination, destinations_of
from app.intake.dry_run import explain, parts_of
from app.intake.playground.bench import MOST_EVENTS, Asked, Playground
from app.model import Inbound
from app.sources.catalog import content_type_of, source_called

LINE = ("outcome", "reason", "event_id", "event_type", "dedupe_keys", "payload")
EXPLAINED = (*LINE, "origins", "deciding", "tried", "fields", "destinations")


@click.command("map")
@click.argument("source")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
@click.option("--content-type", help="Content type of the bodies. Default: from the file name.")
@click.option("-H", "headers", multiple=True, metavar="'NAME: VALUE'", help="A header of the request.")
@click.option("--destination", metavar="NAME", help="Also show the request that this destination would get.")
@click.option("--explain", "explains", is_flag=True, help="Show which field of the body gave each value.")
@click.option(
    "--mapping",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Use [sources.SOURCE] and [attribution] of this TOML file instead of bridge.toml.",
)
@click.option(
    "--last",
    type=click.IntRange(1, MOST_EVENTS),
    help="With --mapping, instead of FILES: how the last events in the ledger would change.",
)
@click.option("--json", "as_json", is_flag=True, help="With --explain or --last: print JSON.")
def map_files(
    source: str,
    files: tuple[Path, ...],
    content_type: str | None,
    headers: tuple[str, ...],
    destination: str | None,
    explains: bool,
    mapping: Path | None,
    last: int | None,
    as_json: bool,
) -> None:
    """Show what raw bodies would become.

    A dry run: checks no signature, stores nothing and sends nothing. Prints one JSON object per line.
    """
    if last is not None and (mapping is None or files or explains):
        raise click.UsageError("--last goes with --mapping, and with neither FILES nor --explain")
    if last is None and not files:
        raise click.UsageError("name FILES, or --mapping and --last")
    if destination and (explains or mapping):
        raise click.UsageError("--explain and --mapping show every destination: leave --destination out")
    settings = load_settings()
    toml = _text_of(mapping) if mapping else None
    if last is not None and toml is not None:
        _compare(settings, source, toml, last, as_json=as_json)
        return
    if toml is None:
        source_called(source, settings.config, settings.config_path)
    given_headers, target = headers_of(headers), _destination(settings, destination) if destination else None
    playground = _playground(settings) if explains or toml is not None else None
    unreadable = False
    for path in files:
        try:
            body = path.read_bytes()
        except OSError as error:
            say(f"{path}: {error.strerror}", err=True)
            unreadable = True
            continue
        inbound = Inbound(body, {"content-type": content_type or content_type_of(path.name, body), **given_headers})
        if playground is None:
            provider = source_called(source, settings.config, settings.config_path)
            for part in parts_of(provider, inbound):
                say_json({"file": str(path), **explain(provider, part, settings.rules, datetime.now(UTC), target)})
            continue
        shown = playground.explain(Asked(source, inbound, datetime.now(UTC), toml), origins=explains)
        names = EXPLAINED if explains else LINE
        if explains and not as_json:
            _show(str(path), shown)
        else:
            say_json({"file": str(path), **{name: shown[name] for name in names}})
    sys.exit(1 if unreadable else 0)


def _text_of(mapping: Path) -> str:
    """Raises click.BadParameter."""
    try:
        return read_small_text(mapping)
    except (OSError, ValueError) as error:
        raise click.BadParameter(f"{mapping} cannot be read: {reason_of(error)}", param_hint="--mapping") from None


def _playground(settings: Settings) -> Playground:
    """Without a ledger: a body is read by itself."""
    has_none = settings.is_sandbox and settings.secret_key is None
    return Playground(settings, [] if has_none else destinations_of(settings), make_policy(settings))


def _show(path: str, shown: dict[str, Any]) -> None:
    say(f"{path}: {shown['outcome']}: {shown['reason']}", bold=True)
    if shown["events"] > 1:
        say(f"The body holds {shown['events']} events. This is the first one.")
    values = {**{f"dedupe_keys[{n}]": key for n, key in enumerate(shown["dedupe_keys"])}}
    rows = [(name, str(value), shown["origins"].get(name)) for name, value in values.items()]
    rows += [(name, str(value), shown["origins"].get(f"payload.{name}")) for name, value in _values(shown["payload"])]
    print_table(("value", "is", "from"), ((name, value, origin_text(origin)) for name, value, origin in rows))
    for sent in shown["destinations"]:
        request = sent["request"]
        say(
            f"{sent['name']}: {request['method']} {request['url']}"
            if request
            else f"{sent['name']}: {sent['not_sent']}"
        )
    if shown["deciding"]:
        say(f"These fields decide the outcome: {', '.join(shown['deciding'])}.")
    if shown["tried"] < shown["fields"]:
        say(f"Time ran out: {shown['tried']} of {shown['fields']} fields were tried.")


def _values(payload: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(payload, dict):
        for name, value in payload.items():
            yield from _values(value, f"{path}.{name}" if path else name)
    elif isinstance(payload, list):
        for index, value in enumerate(payload):
            yield from _values(value, f"{path}[{index}]")
    elif payload is not None:
        yield path, payload


def origin_text(origin: dict[str, Any] | None) -> str:
    """Where a value comes from, for people."""
    if origin is None:
        return ""
    if origin["from"] in ("field", "constant"):
        return " + ".join(origin["fields"])
    return {"body": "all of the body", "received": "the time of receipt", "default": "set by the bridge"}.get(
        origin["from"], f"an {origin['from']}"
    )


def _compare(settings: Settings, source: str, toml: str, last: int, *, as_json: bool) -> None:
    playground = replace(_playground(settings), ledger=open_ledger(settings))
    comparison = playground.compare(source, toml, most=last)
    if as_json:
        say_json(comparison)
        return
    say(f"{comparison['compared']} events of {comparison['source']} compared: {comparison['unchanged']} unchanged.")
    for group in comparison["groups"]:
        outcomes = group["before"] if group["before"] == group["after"] else f"{group['before']} → {group['after']}"
        fields = f": {', '.join(group['fields'])}" if group["fields"] else ""
        say(f"{group['count']} {outcomes}{fields}", bold=True)
        for example in group["examples"][:2]:
            say(f"  event {example['event']}: {example['reason_before']} → {example['reason_after']}")
            for value in example["values"]:
                say(f"    {value['name']}: {_shown(value['before'])} → {_shown(value['after'])}")
    for sentence in left_out(comparison["left_out"]):
        say(sentence)


def _shown(value: Any) -> str:
    return "–" if value is None else str(value)


def left_out(counts: dict[str, int]) -> list[str]:
    """Which events a comparison left out, as sentences."""
    reasons = {
        "removed": "no longer have a body (retention or erasure removed it)",
        "too_large": "were left out, since all bodies together are too large",
        "too_late": "were left out, since time ran out",
    }
    return [f"{counts[name]} more {reason}." for name, reason in reasons.items() if counts[name]]


def _destination(settings: Settings, name: str) -> Destination:
    known = {destination.name: destination for destination in destinations_of(settings)}
    if name not in known:
        raise click.BadParameter(unknown_destination(name, list(known)), param_hint="--destination")
    return known[name]


def headers_of(lines: Sequence[str]) -> dict[str, str]:
    """-H 'Name: value' options as a dict with lower-case names. Raises click.BadParameter."""
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            raise click.BadParameter(f"{line!r} is not 'Name: value'", param_hint="-H")
        headers[name.strip().lower()] = value.strip()
    return headers
