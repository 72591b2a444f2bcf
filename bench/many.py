"""A ledger that has been at work for a long time: purchases by the ten thousand or million, each of a person of its own, long
delivered. Made by the database itself, in seconds.

Their ids look random, as Stripe's do, so that the indexes are as large and as scattered as in life.
"""

from dataclasses import dataclass

from sqlalchemy import Connection

from app.ledger.engine import Ledger

BODY = '{"id":"evt","object":"event","data":{"object":{"id":"cs","metadata":{"clickId":"clk"}}}}'


@dataclass(frozen=True, slots=True)
class Share:
    """Every so-manieth purchase is not delivered: it is dead, retrying (due in the future) or due now. 0: none."""

    dead: int = 0
    retrying: int = 0
    due: int = 0


def fill_many(ledger: Ledger, count: int, share: Share | None = None, *, step_ms: int = 1000) -> None:
    """Adds `count` purchases, `step_ms` apart, to a ledger that has none of these: nine rows each. Its statistics are fresh."""
    if ledger.is_sqlite:
        with ledger.engine.connect() as connection:  # these two cannot be set within a transaction
            connection.exec_driver_sql("PRAGMA synchronous = OFF")
            connection.exec_driver_sql("PRAGMA cache_size = -300000")
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            _insert_all(ledger, connection, count, share or Share(), step_ms)
            connection.exec_driver_sql("COMMIT")
            connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
            connection.exec_driver_sql("PRAGMA synchronous = FULL")
            connection.exec_driver_sql("PRAGMA cache_size = -16000")
        return
    with ledger.write() as connection:
        connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
        connection.exec_driver_sql("SET LOCAL synchronous_commit = off")
        _insert_all(ledger, connection, count, share or Share(), step_ms)
    with ledger.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("SET statement_timeout = 0")
        connection.exec_driver_sql("VACUUM ANALYZE")
        connection.exec_driver_sql("CHECKPOINT")
        connection.exec_driver_sql("RESET statement_timeout")


def _insert_all(ledger: Ledger, connection: Connection, count: int, share: Share, step_ms: int) -> None:
    begins, now = _begin_ids(ledger, connection, 4 * count), ledger.now(connection)
    first = now - count * step_ms
    scrambled = "printf('%08x', (n * 2654435761) & 4294967295)"
    body = f"CAST('{BODY}' AS BLOB)"
    numbers = (
        f"(WITH RECURSIVE g(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM g WHERE n < {count - 1}) SELECT n FROM g) g"
    )
    if not ledger.is_sqlite:
        scrambled = "lpad(to_hex((n * 2654435761) & 4294967295), 8, '0')"
        body = f"convert_to('{BODY}', 'UTF8')"
        numbers = f"generate_series(0::bigint, {count - 1}) g(n)"
    rows = (
        f"(SELECT n, {begins} + 4 * n AS person, {begins + 1} + 4 * n AS event, {begins + 2} + 4 * n AS conversion,"
        f" {begins + 3} + 4 * n AS delivery, {first} + {step_ms} * n AS at, {scrambled} AS x,"
        f" CASE {_when(share.dead, 'dead', 1)} {_when(share.retrying, 'retrying', 2)} {_when(share.due, 'pending', 3)}"
        f" ELSE 'delivered' END AS status FROM {numbers}) r"
    )
    payload = '\'{"event":"sale","customerExternalId":"user_\' || x || \'","invoiceId":"pi_\' || x || \'"}\''
    for table, columns, values in (
        (
            "persons",
            "id, customer_id, explicit_id, email, click_first, click_last, created_at",
            "person, 'user_' || x, 'user_' || x, x || '@example.com', 'clk_' || x, 'clk_' || x, at",
        ),
        ("identifiers", "value, kind, person_id, seen_at", "'user_' || x, 'id', person, at"),
        ("identifiers", "value, kind, person_id, seen_at", "x || '@example.com', 'email', person, at"),
        (
            "events",
            "id, event_key, source, event_id, event_type, outcome, reason, conversion_id, person_id, received_at,"
            " last_received_at, headers, body",
            "event, 'stripe:evt_' || x, 'stripe', 'evt_' || x, 'checkout.session.completed', 'sale', 'a paid checkout session',"
            f" conversion, person, at, at, '{{}}', {body}",
        ),
        (
            "conversions",
            "id, state, kind, source, dedupe_key, event_id, person_id, occurred_at, created_at, facts",
            "conversion, 'counted', 'sale', 'stripe', 'sale:stripe:pi_' || x, event, person, at, at, '{}'",
        ),
        ("dedupe_keys", "key, conversion_id", "'sale:stripe:pi_' || x, conversion"),
        ("dedupe_keys", "key, conversion_id", "'sale:stripe:cs_' || x, conversion"),
        (
            "deliveries",
            "id, conversion_id, person_id, event_id, source, kind, destination, dedupe_key, status, payload, due_at,"
            " attempts, created_at, delivered_at, last_error, last_status",
            f"delivery, conversion, person, event, 'stripe', 'sale', 'main', 'sale:stripe:pi_' || x, status, {payload},"
            f" CASE status WHEN 'pending' THEN at WHEN 'retrying' THEN {now} + 3600000 + n END,"
            " CASE status WHEN 'pending' THEN 0 ELSE 1 END, at, CASE status WHEN 'delivered' THEN at + 20 END,"
            " CASE status WHEN 'dead' THEN 'answered 422: it will not take this payload' END,"
            " CASE status WHEN 'dead' THEN 422 WHEN 'delivered' THEN 200 END",
        ),
        (
            "attempts",
            "delivery_id, number, result, started_at, duration_ms, status, answer_headers, answer_body",
            "delivery, 1, CASE status WHEN 'dead' THEN 'permanent' ELSE 'delivered' END, at, 20, 200, '{}', '{}'",
        ),
        (
            "marks",
            "reference, key, kind, status, minor, currency, at",
            "'re_' || x, 'sale:stripe:pi_' || x, 'refund', 'succeeded', 1999, 'usd', at",
        ),
    ):
        only = " WHERE status <> 'pending'" if table == "attempts" else ""
        connection.exec_driver_sql(f"INSERT INTO {table} ({columns}) SELECT {values} FROM {rows}{only} ORDER BY n")


def _begin_ids(ledger: Ledger, connection: Connection, count: int) -> int:
    """The first of `count` ids that nobody else will get."""
    if ledger.is_sqlite:
        statement = f"UPDATE counters SET value = value + {count} WHERE name = 'ids' RETURNING value - {count} + 1"
        return int(connection.exec_driver_sql(statement).scalar_one())
    begins = int(connection.exec_driver_sql("SELECT nextval('bridge_ids')").scalar_one())
    connection.exec_driver_sql(f"SELECT setval('bridge_ids', {begins + count})")
    return begins


def _when(each: int, status: str, rest: int) -> str:
    # No % for the remainder: the driver of PostgreSQL would take it for a parameter.
    return f"WHEN n - n / {each} * {each} = {rest % each} THEN '{status}'" if each else "WHEN 1 = 0 THEN ''"
