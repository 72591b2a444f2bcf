"""The composition root: settings to working parts. Nothing is made at import time."""

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import structlog

from app.alerts.channels import channels_of
from app.config.destinations import MAIN, SANDBOX, RouteTable
from app.config.generated_secrets import make_home
from app.config.oidc import read_oidc
from app.config.setting_types import encryption_keys
from app.config.settings import Settings, variable_of
from app.config.spelling import unknown_source
from app.destinations.target import destinations_of, formats_of, is_net, live_names
from app.errors import ConfigurationError, LedgerUnavailable
from app.intake.quarantine import Sealer
from app.intake.verify_and_map import Intake, configured_sources, source_problems
from app.ledger.alerting.refusals import SourceFacts
from app.ledger.engine import Ledger
from app.ledger.inbound.bounds import Bounds
from app.ledger.pool import Pool
from app.ledger.reading.summary.problem import Problem
from app.ledger.reading.summary.problems import Health
from app.ledger.recording.arrival import Policy, Receipt, Route
from app.ledger.recording.writer import WRITERS_POSTGRESQL, GroupWriter
from app.ledger.schema import check_schema, current_revision
from app.ledger.sealing.cipher import Cipher
from app.ledger.sealing.keys import check_keys
from app.ledger.upkeep.trace_seed import trace_seed
from app.queue import Nudger, Nudges, connect
from app.sources.catalog import all_sources
from app.telemetry.tracing import TraceIds, Tracing, is_asked_for, start_tracing

LEDGER_WAIT_SECONDS = 60.0
PURCHASE_HOLD_RATIO = 4.5
"""Opt-in events are held this much longer than STRIPE_HOLD: 90 s where it is 20."""

log = structlog.get_logger(__name__)


def check_configuration(settings: Settings) -> None:
    """Raises ConfigurationError where the environment or bridge.toml is wrong, before anything runs on it."""
    for problem in configuration_problems(settings):
        raise ConfigurationError(problem)


def configuration_problems(settings: Settings) -> Iterator[str]:
    """Everything that keeps the bridge from starting with these settings, each with the variable or key to change."""
    try:
        sources = all_sources(settings.config, settings.config_path)
    except ConfigurationError as error:
        yield str(error)
    else:
        for source in sources.values():
            yield from source_problems(settings, source)
    checks: list[Callable[[], object]] = [
        lambda: make_policy(settings),
        lambda: destinations_of(settings),
        lambda: settings.retention,
        lambda: cipher_of(settings),
        lambda: settings.alert_url,
        lambda: settings.proxies,
        lambda: read_oidc(settings, settings.public_url),
    ]
    for check in checks:
        try:
            check()
        except ConfigurationError as error:
            yield str(error)


def check_has_destination(settings: Settings) -> None:
    """Raises ConfigurationError if a separate web or worker has no destination configured.

    Otherwise a forgotten or misspelled variable would send real conversions to the bridge's own sandbox.
    """
    if settings.is_sandbox and not settings.sandbox:
        raise ConfigurationError(
            "no destination is set: set DESTINATION_URL and DESTINATION_TOKEN (or [destinations] in bridge.toml), or SANDBOX=1"
            " to send to the bridge's own sandbox"
        )


def make_ledger(settings: Settings) -> Ledger:
    """The ledger. Creates its folder if it is SQLite in BRIDGE_HOME. Raises ConfigurationError."""
    if settings.database_url is None:
        make_home(settings.bridge_home)
    return Ledger(settings.ledger_url, pool=pool_of(settings), cipher=cipher_of(settings))


def pool_of(settings: Settings) -> Pool:
    """The number of connections of each process. With SQLite, each thread may have one."""
    kept = settings.database_pool_size
    most = settings.database_pool_max if settings.ledger_url.startswith("postgresql") else 32
    return Pool(kept, max(kept, most))


def cipher_of(settings: Settings) -> Cipher | None:
    """The cipher for encryption at rest; None without ENCRYPTION_KEY. Raises ConfigurationError."""
    if settings.encryption_key is None:
        return None
    return Cipher(encryption_keys(settings.encryption_key.get_secret_value()))


def check_ledger(ledger: Ledger) -> None:
    """Raises ConfigurationError if this process cannot use the ledger: SchemaOutdated, or a key is missing."""
    check_schema(ledger)
    check_keys(ledger)


def start_ledger(settings: Settings, wait_seconds: float = LEDGER_WAIT_SECONDS) -> Ledger:
    """The ledger for a process that starts. Waits for its database, which may start at the same time.

    Raises LedgerUnavailable after `wait_seconds`, or at once if waiting cannot help (a wrong password).
    """
    ledger = make_ledger(settings)
    deadline, waits = time.monotonic() + wait_seconds, False
    while True:
        try:
            current_revision(ledger)
            return ledger
        except LedgerUnavailable as error:
            if error.reason in ("refused", "damaged") or time.monotonic() > deadline:
                raise
            if not waits:
                log.warning("ledger.waiting", error=str(error), at_most_seconds=wait_seconds)
            waits = True
        time.sleep(0.5)


def open_ledger(settings: Settings) -> Ledger:
    """The existing ledger, for a command. Creates and upgrades nothing.

    Raises ConfigurationError if it does not exist, SchemaOutdated if it is not current.
    """
    ledger = existing_ledger(settings)
    check_ledger(ledger)
    return ledger


def existing_ledger(settings: Settings) -> Ledger:
    """The ledger at whatever revision. Raises ConfigurationError if it does not exist."""
    if settings.database_url is None and not (path := settings.bridge_home / "ledger.db").exists():
        raise ConfigurationError(
            f"there is no ledger at {path.absolute()}: run this command in the folder of `bridge up`, or with its BRIDGE_HOME"
        )
    return Ledger(settings.ledger_url, pool=pool_of(settings), cipher=cipher_of(settings))


def make_policy(settings: Settings) -> Policy:
    """The policy that recording applies."""
    return Policy(
        rules=settings.rules,
        routes=make_routes(settings),
        person_hold_seconds=settings.stripe_hold,
        purchase_hold_seconds=settings.stripe_hold * PURCHASE_HOLD_RATIO,
        require_click_id=settings.require_click_id,
        lead_once=frozenset({"stripe"}) if settings.stripe_lead_once else frozenset(),
        deferred=settings.deferred,
    )


def make_routes(settings: Settings) -> list[Route]:
    """The routes of new conversions. Raises ConfigurationError if a filter names an unknown source."""
    tables: dict[str, RouteTable] = dict(settings.destination_tables)
    if settings.is_sandbox or settings.destination_url is not None:
        tables = {SANDBOX if settings.is_sandbox else MAIN: settings.main_route, **tables}
    formats = formats_of(settings)
    routes = []
    known = all_sources(settings.config, settings.config_path)
    for name, table in tables.items():
        unknown = sorted(set(table.sources or ()) - set(known))
        if unknown:
            where = f"{settings.config_path}: destinations.{name}.sources"
            raise ConfigurationError(f"{where}: {unknown_source(unknown[0], known)}")
        sources = None if table.sources is None else frozenset(table.sources)
        of_format = None if "touch" in settings.attribution.model_fields_set else formats[name].touch
        touch = table.touch or of_format or settings.attribution.touch
        if "kinds" in table.model_fields_set and (extra := sorted(set(table.kinds) - formats[name].kinds)):
            where, takes = (
                f"{settings.config_path}: destinations.{name}.kinds",
                " and ".join(sorted(formats[name].kinds)),
            )
            raise ConfigurationError(f"{where}: its format sends no {extra[0]}; it sends {takes}")
        kinds, is_shadow = frozenset(table.kinds) & formats[name].kinds, table.mode == "shadow"
        # The sandbox answers one request for each delivery, which a format that needs several does not have among its kinds.
        refunds = table.refunds and (name != SANDBOX or "refund" in formats[name].kinds)
        routes.append(
            Route(
                name,
                formats[name],
                kinds,
                sources,
                touch == "first",
                is_net(settings, table),
                is_shadow,
                refunds=refunds,
                lower_sales=table.lower_sales,
            )
        )
    return routes


def make_nudges(settings: Settings, timeout_seconds: float = 1.0) -> Nudges:
    """The nudges for workers. Raises ConfigurationError without REDIS_URL."""
    if settings.redis_url is None:
        raise ConfigurationError("set REDIS_URL (`bridge up` starts an embedded Valkey by itself)")
    return Nudges(connect(settings.redis_url.get_secret_value(), timeout_seconds=timeout_seconds))


def make_tracing(settings: Settings, ledger: Ledger, role: str) -> tuple[TraceIds | None, Tracing | None]:
    """The IDs of traces and the exporter of spans, each None if nothing needs it."""
    if not is_asked_for() and not settings.destination_traceparent:
        return None, None
    ids = TraceIds(trace_seed(ledger))
    return ids, start_tracing(ids, role)


def make_health(settings: Settings, outside: Sequence[Problem] = ()) -> Health:
    """The health checks of the dashboard and `bridge doctor`, with those from `outside` the ledger. Raises ConfigurationError."""
    sources = {}
    for name, source in all_sources(settings.config, settings.config_path).items():
        if settings.opens(name):
            is_signed = source.signed and bool(settings.secrets_of(name))
            variable = f"{variable_of(name)}_{'WEBHOOK_SECRET' if is_signed else 'PATH_TOKEN'}"
            sources[name] = SourceFacts(source.title, variable, is_signed)
    known = destinations_of(settings)
    live, shadows = live_names(known), [destination.name for destination in known if destination.is_shadow]
    channels = [channel.name for channel in channels_of(settings)]
    return Health(
        live, sources, settings.alerts, settings.hold_seconds, shadows=shadows, channels=channels, outside=outside
    )


def make_intake(settings: Settings, ledger: Ledger) -> tuple[Intake, GroupWriter]:
    """Intake with its writer thread and, where Redis is configured, its nudger."""
    nudger = Nudger(make_nudges(settings)) if settings.redis_url else None

    def after_commit(receipts: Sequence[Receipt]) -> None:
        if nudger is not None and any(receipt.delivers for receipt in receipts):
            nudger.ask()

    writers = 1 if ledger.is_sqlite else WRITERS_POSTGRESQL
    writer = GroupWriter(ledger, make_policy(settings), after_commit, writers)
    return Intake(settings, all_sources(settings.config, settings.config_path), writer.record), writer


def make_sealer(settings: Settings) -> Sealer:
    """The sealer, which prepares refused requests for the quarantine and restores them. Raises ConfigurationError."""
    known = configured_sources(settings, all_sources(settings.config, settings.config_path))
    key = settings.secret_key.get_secret_value() if settings.secret_key else None
    return Sealer(known, key, settings.public_url)


def make_bounds(settings: Settings) -> Bounds:
    """The bounds of the quarantine. Raises ConfigurationError."""
    return Bounds(settings.quarantine_rows, settings.quarantine_mb * 1024 * 1024, settings.retention.quarantine_days)


def free_bytes(folder: Path) -> int:
    """Room on the disk of `folder`."""
    return shutil.disk_usage(folder).free
