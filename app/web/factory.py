"""create_app: the Flask application and everything it needs."""

from contextlib import suppress
from typing import TYPE_CHECKING

from flask import Flask

from app.alerts.thread import make_alert_thread
from app.bootstrap import (
    check_has_destination,
    check_ledger,
    make_bounds,
    make_health,
    make_intake,
    make_ledger,
    make_nudges,
    make_policy,
    make_sealer,
    make_tracing,
)
from app.config.destinations import SANDBOX
from app.config.oidc import read_oidc
from app.config.settings import Settings, load_settings
from app.destinations.target import destinations_of, live_names, stop_seconds_of
from app.errors import ConfigurationError, LedgerUnavailable
from app.ledger.access.passwords import Passwords
from app.ledger.engine import Ledger
from app.ledger.metrics import MeasureKeeper
from app.logs import configure_logs, log_start
from app.queue import Nudger
from app.reloading.comparison import compared_values
from app.reloading.settings import Reloaded
from app.reloading.thread import Reloader
from app.sources.catalog import all_sources
from app.stack.home import update_run_file
from app.stack.processes import collect_garbage_rarely
from app.telemetry.measures import Measures
from app.telemetry.tracing import Tracing
from app.web import auth, dashboard, errors
from app.web.api import blueprint
from app.web.filters import finish
from app.web.pages import persons, sources
from app.web.pages.alerts import index as alerts
from app.web.pages.inbound import refused
from app.web.pages.playground.view import create_blueprint as playground_pages
from app.web.pages.resend.view import create_blueprint as resend_pages
from app.web.pages.users import blueprint as users
from app.web.pages.users.guard import Guard
from app.web.public import health, sandbox, webhooks
from app.web.public.head import HeadAsGet
from app.web.public.probes import Probes
from app.web.public.refusal_counter import RefusalCounter
from app.web.public.refused import RefusedRequests
from app.web.public.webhooks import LARGEST_BODY, Answers
from app.web.pulse import PulseKeeper
from app.web.server.front import Front
from app.web.server.gateway import Gateway
from app.web.server.peers import SilentConnections
from app.web.services import Parts

if TYPE_CHECKING:
    from app.web.sso.provider import Provider


def create_app(
    settings: Settings, ledger: Ledger | None = None, passwords: Passwords | None = None, before: Flask | None = None
) -> Flask:
    """passwords: hashes those of named users; before: the application whose place it takes, which goes on counting in the same
    measures. Raises ConfigurationError or SchemaOutdated if it cannot serve.

    An unavailable ledger is not a reason: it answers 503 until the ledger is back. (`bridge web` waited for it before.)
    """
    if settings.dashboard_password is None or settings.secret_key is None:
        missing = [n for n in ("DASHBOARD_PASSWORD", "SECRET_KEY") if getattr(settings, n.lower()) is None]
        raise ConfigurationError(f"set {' and '.join(missing)} (`bridge up` makes them up)")
    ledger = ledger or make_ledger(settings)
    with suppress(LedgerUnavailable):
        check_ledger(ledger)
    intake, writer = make_intake(settings, ledger)
    nudges = make_nudges(settings) if settings.redis_url else None
    nudger = Nudger(nudges) if nudges else None
    nudge = nudger.ask if nudger else lambda: None

    app = Flask("app.web", template_folder="templates", static_folder="static")
    app.secret_key = settings.secret_key.get_secret_value()
    app.config["MAX_CONTENT_LENGTH"] = (
        LARGEST_BODY + 1
    )  # to tell a chunked body that is cut off there from a complete one
    app.config["MAX_FORM_MEMORY_SIZE"] = LARGEST_BODY + 1  # a body that is pasted into the playground
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False  # /webhooks//stripe would be answered by a redirect
    app.extensions["ledger"] = ledger
    app.extensions["writer"] = writer
    app.extensions["alert"] = None
    password = settings.dashboard_password.get_secret_value()
    viewer = settings.dashboard_viewer_password.get_secret_value() if settings.dashboard_viewer_password else None
    is_https = (settings.public_url or "").startswith("https://")
    auth.protect(app, secure_cookies=is_https, passwords={"operator": password, "viewer": viewer})
    errors.install(app)
    keeper = MeasureKeeper(ledger, Measures(), "web") if before is None else before.extensions["measures"]
    app.extensions["measures"] = keeper
    metrics = health.Metrics(ledger, keeper)
    refusals = RefusalCounter(ledger, make_bounds(settings))
    app.extensions["refusals"] = refusals
    sealer = make_sealer(settings)
    metrics_token = settings.metrics_token.get_secret_value() if settings.metrics_token else None
    api_token = settings.api_token.get_secret_value() if settings.api_token else None
    tracing = make_web_tracing(settings, ledger) if before is None else before.extensions["tracing"]
    app.extensions["tracing"] = tracing
    answers = Answers(keeper.measures, RefusedRequests(refusals, sealer).note, tracing)
    app.register_blueprint(webhooks.create_blueprint(intake, settings.public_url, answers, settings.proxy_networks))
    destinations = destinations_of(settings)
    judge = make_health(settings)
    probes = Probes(ledger, nudges, live_names(destinations), settings.hold_seconds, judge)
    app.register_blueprint(health.create_blueprint(probes, metrics, metrics_token))
    parts = Parts(
        ledger,
        settings,
        intake,
        make_policy(settings),
        all_sources(settings.config, settings.config_path),
        destinations,
        nudge,
        judge,
        PulseKeeper(ledger, judge),
        sealer,
        passwords or Passwords(),
    )
    guard, provider = Guard(settings.proxy_networks), make_provider(settings)
    app.register_blueprint(blueprint.create_blueprint(parts, api_token))
    for pages in (
        dashboard.create_blueprint(parts, guard, password, viewer, provider),
        users.create_blueprint(parts, guard),
        persons.create_blueprint(ledger, parts.sources, settings.rules),
        sources.create_blueprint(ledger, settings, parts.sources),
        playground_pages(parts),
        resend_pages(parts),
        refused.create_blueprint(parts),
        alerts.create_blueprint(parts),
    ):
        pages.after_request(finish)
        app.register_blueprint(pages)
    if provider is not None:
        from app.web.sso.pages import create_blueprint as create_sso  # needs the extra

        app.register_blueprint(create_sso(parts, guard, provider))
    for destination in parts.destinations:
        if destination.name == SANDBOX:
            app.register_blueprint(sandbox.create_blueprint(ledger, str(app.secret_key), destination))
    app.wsgi_app = HeadAsGet(app.wsgi_app)  # type: ignore[method-assign]
    app.extensions["gateway"] = Gateway(
        app,
        intake,
        writer,
        settings.public_url,
        answers,
        settings.web_threads,
        settings.proxy_networks,
        busy=None if before is None else before.extensions["gateway"].busy,
    )
    return app


def make_web_tracing(settings: Settings, ledger: Ledger) -> Tracing | None:
    """Tracing for the web; None if it is not configured. An unavailable ledger does not prevent the start."""
    with suppress(LedgerUnavailable):
        return make_tracing(settings, ledger, "web")[1]
    return None


def make_provider(settings: Settings) -> "Provider | None":
    """The OpenID provider for single sign-on; None if none is configured. Raises ConfigurationError."""
    oidc = read_oidc(settings, settings.public_url)
    if oidc is None:
        return None
    from app.web.sso.provider import Provider  # needs the extra

    return Provider(oidc, settings.proxies)


def gateway(hangups: bool = False) -> Front:
    """The application for granian (app/web/server/serve.py). hangups: SIGHUP, which the process blocks, reloads."""
    settings = load_settings()
    application = wsgi(settings)
    front = Front(application.extensions["gateway"])
    serving = Serving(application, front)
    reloader = Reloader(application.extensions["ledger"], settings, "web", serving.take_over)
    if hangups:
        reloader.await_hangups()
    front.gateway.at_end = serving.close
    front.at_end = reloader.stop
    reloader.start()
    SilentConnections(settings.port, front.gateway.busy, settings.proxy_networks).start()
    collect_garbage_rarely()
    return front


class Serving:
    """The current application, until a reload replaces it."""

    def __init__(self, application: Flask, front: Front) -> None:
        self._application = application
        self._front = front

    def take_over(self, reloaded: Reloaded) -> None:
        """Replaces the application with one that has these settings. Raises BridgeError if it cannot; nothing changes then."""
        before, settings = self._application, reloaded.settings
        ledger: Ledger = before.extensions["ledger"]
        application = create_app(settings, ledger, before=before)
        alert = make_alert_thread(settings, ledger)
        application.extensions["alert"] = alert
        gateway: Gateway = application.extensions["gateway"]
        gateway.at_end = self.close
        self._front.gateway.at_end = lambda: retire(before)
        configure_logs(settings.log_level, settings.log_format)
        self._application = application
        self._front.replace(gateway)
        alert.start()
        update_run_file(settings.bridge_home, compared_values(settings), stop_seconds_of(settings), settings.is_sandbox)
        collect_garbage_rarely()

    def close(self) -> None:
        close(self._application)


def retire(application: Flask) -> None:
    """Call after its last request. Records accepted events; the ledger and the measures stay open."""
    application.extensions["writer"].stop()
    application.extensions["refusals"].stop()
    if application.extensions["alert"] is not None:
        application.extensions["alert"].stop()


def close(application: Flask) -> None:
    """Call at a clean stop. Records accepted events and closes the ledger, so that a copy of its file is complete."""
    retire(application)
    application.extensions["measures"].stop()
    if application.extensions["tracing"] is not None:
        application.extensions["tracing"].close()
    application.extensions["ledger"].close()


def wsgi(settings: Settings | None = None) -> Flask:
    """For any WSGI server behind a proxy that sends whole requests: gunicorn "app.web.factory:wsgi()"."""
    settings = settings or load_settings()
    configure_logs(settings.log_level, settings.log_format)
    log_start("web")
    check_has_destination(settings)
    application = create_app(settings)
    application.extensions["measures"].start()
    alert = application.extensions["alert"] = make_alert_thread(settings, application.extensions["ledger"])
    alert.start()
    return application
