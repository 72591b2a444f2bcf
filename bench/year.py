"""Fills a ledger with as many rows as a busy year leaves, by SQL alone: the last thing that happened is now, the first 60 days ago.

Of each purchase there is an event, a person, a conversion, a delivery and an attempt; of every fifth an event besides that
made nothing. One person has one purchase in a hundred. The row's number decides what would be chance,
so that it is the same every time.
"""

import time
from collections.abc import Callable

from sqlalchemy import Connection, Index

from app.ledger import tables
from app.ledger.engine import Ledger
from app.ledger.traffic.hours import count_next
from app.ledger.transaction import Tx
from bench.purchases import FIXTURE

DAYS = 60
CHUNK = 100_000
IDS = 5
"""Ids that a purchase takes: event, person, conversion, delivery, and the event besides."""
BUYER = 2
"""The person with one purchase in a hundred."""


def fill(
    database_url: str,
    rows: int = 1_000_000,
    report: Callable[[str], None] = lambda line: None,
    *,
    due_each: int = 0,
    counts_hours: bool = False,
    whole_bodies: bool = False,
) -> None:
    """Fills an empty ledger with `rows` deliveries. report(line) says how far it is.

    due_each: of so many deliveries one waits and is due; 0: none is, for a day. counts_hours: also what a worker counts for charts.
    whole_bodies: bodies of events are as long as Stripe's, instead of a tenth.
    """
    more = f',"whole":{FIXTURE.read_text(encoding="utf-8")}'.replace("'", "''") if whole_bodies else ""
    ledger = Ledger(database_url)
    with ledger.engine.connect() as connection:
        tx = Tx(connection, is_sqlite=ledger.is_sqlite, clock=time.time)
        if ledger.is_sqlite:
            connection.exec_driver_sql("PRAGMA synchronous=OFF")
            connection.exec_driver_sql("PRAGMA cache_size=-400000")
        else:
            tx.set_deadline(None)
            connection.exec_driver_sql("SET statement_timeout = 0")
            connection.exec_driver_sql("SET synchronous_commit = off")
            connection.exec_driver_sql("SET maintenance_work_mem = '256MB'")
            connection.commit()
        indexes = [index for table in tables.metadata.sorted_tables for index in table.indexes]
        _each(connection, indexes, Index.drop)
        end = tx.now()
        for start in range(0, rows, CHUNK):
            for statement in _statements(ledger.is_sqlite, start, min(start + CHUNK, rows), rows, end, due_each, more):
                connection.exec_driver_sql(statement if ledger.is_sqlite else statement.replace("%", "%%"))
            connection.commit()
            report(f"{min(start + CHUNK, rows):,} of {rows:,} deliveries")
        _each(connection, indexes, Index.create)
        report("indexes")
        _finish(tx, rows, end)
        connection.commit()
        if not ledger.is_sqlite:  # as its autovacuum would
            connection.exec_driver_sql("COMMIT")
            connection.connection.driver_connection.autocommit = True  # type: ignore[union-attr]
            connection.exec_driver_sql("VACUUM ANALYZE")
    while counts_hours and count_next(ledger):
        pass
    ledger.close()


def ids_of(number: int) -> dict[str, int]:
    """The ids that purchase `number` (from 0) has."""
    names = ("event", "person", "conversion", "delivery", "other")
    return {name: number * IDS + place for place, name in enumerate(names, 1)}


def tail_of(number: int) -> str:
    """What all ids of purchase `number` at its provider end with."""
    return f"{number * 2654435761 % 2**32:08x}{number:08x}"


def _each(connection: Connection, indexes: list[Index], change: Callable[[Index, Connection], None]) -> None:
    for index in indexes:
        change(index, connection)
    connection.commit()


def _statements(is_sqlite: bool, start: int, end: int, rows: int, now: int, due_each: int, more: str) -> list[str]:
    if is_sqlite:
        numbers = f"(WITH RECURSIVE n(i) AS (SELECT {start} UNION ALL SELECT i + 1 FROM n WHERE i + 1 < {end}) SELECT i FROM n)"
        tail, blob = "printf('%08x%08x', i * 2654435761 % 4294967296, i)", "CAST({} AS BLOB)"
    else:
        numbers = f"(SELECT generate_series({start}::bigint, {end - 1}::bigint) AS i)"
        tail = "lpad(to_hex(i * 2654435761 % 4294967296), 8, '0') || lpad(to_hex(i), 8, '0')"
        blob = "convert_to({}, 'UTF8')"
    step = DAYS * 86_400_000 // rows
    is_due = f"i % {due_each} = 3" if due_each else "1 = 0"
    # what each row says, by its number
    base = f"""(SELECT i, {tail} AS x, {now} - ({rows - 1} - i) * {step} AS at, i * {IDS} + 1 AS event_id,
        CASE WHEN i % 100 = 0 THEN {BUYER} ELSE i * {IDS} + 2 END AS person_id, i * {IDS} + 3 AS conversion_id,
        i * {IDS} + 4 AS delivery_id, i * {IDS} + 5 AS other_id,
        CASE WHEN i % 20 < 16 THEN 'stripe' WHEN i % 20 = 19 THEN 'clerk' ELSE 'typeform' END AS source,
        CASE WHEN i % 20 < 16 THEN 'sale' ELSE 'lead' END AS kind,
        CASE WHEN i % 40 = 11 THEN 'dead' WHEN i >= {rows} - {rows // 100} AND i % 3 = 0 THEN 'retrying'
             WHEN i >= {rows} - {rows // 500} OR {is_due} THEN 'pending'
             WHEN i % 200 = 13 THEN 'discarded' ELSE 'delivered' END AS status
        FROM {numbers} n) r"""
    body = f"""'{{"id":"evt_' || x || '","type":"checkout.session.completed","data":{{"object":{{"id":"cs_' || x ||
        '","amount_total":4900,"currency":"usd","customer_details":{{"email":"p' || x || '@example.com"}},"payment_intent":"pi_'
        || x || '"}}}}{more}}}'"""
    payload = """'{"event":"' || kind || '","timestamp":"2026-04-10T12:34:56.000Z","clickId":"clk_' || x ||
        '","customerExternalId":"user_' || x || '","email":"p' || x || '@example.com","currency":"USD","amount":49,"invoiceId":"pi_'
        || x || '"}'"""
    error = """CASE WHEN status IN ('delivered', 'pending', 'discarded') THEN NULL WHEN status = 'retrying' THEN 'answered 503'
        WHEN i % 80 = 11 THEN 'answered 422: it will not take this payload'
        ELSE 'answered 404: it will not take this payload' END"""
    code = """CASE WHEN status IN ('pending', 'discarded') THEN NULL WHEN status = 'delivered' THEN 200
        WHEN status = 'retrying' THEN 503 WHEN i % 80 = 11 THEN 422 ELSE 404 END"""
    headers = '\'{"content-type":"application/json","user-agent":"Stripe/1.0"}\''
    return [
        f"""INSERT INTO events (id, event_key, source, event_id, event_type, outcome, reason, conversion_id, person_id,
            received_at, received_count, last_received_at, headers, body)
            SELECT event_id, source || ':evt_' || x, source, 'evt_' || x, 'checkout.session.completed', kind,
            'a paid checkout session', conversion_id, person_id, at, CASE WHEN i % 25 = 0 THEN 2 ELSE 1 END, at, {headers},
            {blob.format(body)} FROM {base}""",
        f"""INSERT INTO events (id, event_key, source, event_id, event_type, outcome, reason, conversion_id, person_id,
            received_at, received_count, last_received_at, headers, body)
            SELECT other_id, 'stripe:evt_o' || x, 'stripe', 'evt_o' || x, 'payment_intent.succeeded',
            CASE WHEN i % 50 = 0 THEN 'parked' WHEN i % 10 = 0 THEN 'duplicate' ELSE 'ignored' END, 'why it was so',
            CASE WHEN i % 50 <> 0 AND i % 10 = 0 THEN conversion_id END, person_id, at, 1, at, {headers},
            {blob.format(body)} FROM {base} WHERE i % 5 = 0""",
        f"""INSERT INTO conversions (id, state, kind, source, dedupe_key, hold, event_id, person_id, occurred_at, created_at,
            facts, clicked) SELECT conversion_id, 'counted', kind, source, kind || ':' || source || ':pi_' || x, 'none', event_id,
            person_id, at, at, '{{"click_id":"clk_' || x || '","sale":{{"minor":4900,"currency":"USD","invoice_id":"pi_'
            || x || '","event_name":"order_paid"}}}}',
            CASE WHEN i % 7 = 0 THEN 0 ELSE 1 END FROM {base}""",
        f"INSERT INTO dedupe_keys (key, conversion_id) SELECT kind || ':' || source || ':pi_' || x, conversion_id FROM {base}",
        f"INSERT INTO dedupe_keys (key, conversion_id) SELECT kind || ':' || source || ':cs_' || x, conversion_id FROM {base}",
        f"""INSERT INTO persons (id, customer_id, explicit_id, provider_id, email, name, click_first, click_last, created_at)
            SELECT i * {IDS} + 2, 'user_' || x, 'user_' || x, 'cus_' || x, 'p' || x || '@example.com', 'Pat Example ' || i,
            'clk_' || x, 'clk_' || x, at FROM {base}""",
        f"""INSERT INTO event_facts (value, kind, event_id)
            SELECT 'stripe:pi_o' || x, CASE WHEN i % 50 = 0 THEN 'sale' ELSE 'key' END, other_id FROM {base} WHERE i % 5 = 0""",
        f"""INSERT INTO event_facts (value, kind, event_id)
            SELECT 'o' || x || '@example.com', 'email', other_id FROM {base} WHERE i % 5 = 0""",
        f"INSERT INTO event_facts (value, kind, event_id) SELECT 'pat example ' || i, 'name', event_id FROM {base}",
        f"""INSERT INTO identifiers (value, kind, person_id, seen_at)
            SELECT 'p' || x || '@example.com', 'email', i * {IDS} + 2, at FROM {base}""",
        f"""INSERT INTO identifiers (value, kind, person_id, seen_at)
            SELECT 'stripe:cus_' || x, 'alias', i * {IDS} + 2, at FROM {base}""",
        f"INSERT INTO identifiers (value, kind, person_id, seen_at) SELECT 'user_' || x, 'id', i * {IDS} + 2, at FROM {base}",
        f"""INSERT INTO deliveries (id, conversion_id, person_id, event_id, source, kind, destination, dedupe_key, status,
            payload, due_at, held, attempts, schedule_start, created_at, delivered_at, last_error, last_status)
            SELECT delivery_id, conversion_id, person_id, event_id, source, kind, 'main', kind || ':' || source || ':pi_' || x,
            status, {payload}, CASE WHEN {is_due} THEN at WHEN status IN ('pending', 'retrying') THEN at + 90000000 END, 0,
            CASE status WHEN 'pending' THEN 0 WHEN 'retrying' THEN 4 ELSE 1 END, 0, at,
            CASE WHEN status = 'delivered' THEN at + 40 + i % 900 END, {error}, {code} FROM {base}""",
        f"""INSERT INTO attempts (delivery_id, number, result, by_hand, started_at, duration_ms, status, error, answer_headers,
            answer_body) SELECT delivery_id, 1, CASE status WHEN 'delivered' THEN 'delivered' WHEN 'dead' THEN 'permanent'
            ELSE 'unknown' END, 0, at + 20, 30 + i % 50, {code}, {error}, '{{"server":"x"}}',
            '{{"error":"this is what it answers"}}' FROM {base} WHERE status <> 'pending'""",
        f"""INSERT INTO marks (reference, key, kind, status, minor, currency, at) SELECT 're_' || x,
            kind || ':' || source || ':pi_' || x, 'refund', 'refunded', 4900, 'USD', at FROM {base} WHERE i % 4 = 3""",
        f"""INSERT INTO conflicts (at, event_id, person_id, conversion_id, reason) SELECT at, event_id, person_id, conversion_id,
            'another customer id came' FROM {base} WHERE i % 1000 = 3""",
        f"""INSERT INTO audit (at, actor, action, subject, detail) SELECT at, 'grace', 'replay', 'delivery ' || delivery_id,
            'was dead' FROM {base} WHERE i % 50 = 11""",
        f"""INSERT INTO sandbox_requests (received_at, kind, idempotency_key, problem, body) SELECT at, kind,
            kind || ':' || source || ':pi_' || x, NULL, {payload} FROM {base} WHERE i % 20 = 1""",
    ]  # fmt: skip


def _finish(tx: Tx, rows: int, now: int) -> None:
    """Ids go on after these; a worker is alive, a destination known, and a source was last seen long ago."""
    last = rows * IDS + 10
    if tx.is_sqlite:
        tx.connection.exec_driver_sql("UPDATE counters SET value = ? WHERE name = 'ids'", (last,))
    else:
        tx.connection.exec_driver_sql("SELECT setval('bridge_ids', %s)", (last,))
    tx.connection.exec_driver_sql("INSERT INTO destinations (name) VALUES ('main')")
    tx.connection.exec_driver_sql("UPDATE events SET source = 'tally' WHERE id = 1")
    worker = (now, now + 86_400_000)
    tx.run(
        "INSERT INTO workers (host, pid, pid_started, started_at, heartbeat_at) VALUES ('bench', 1, '1', ?, ?)",
        *worker,
    )
