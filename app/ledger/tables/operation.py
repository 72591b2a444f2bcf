"""Destinations and workers, what people did, alerts and refusals, the sandbox."""

from sqlalchemy import BigInteger, Column, Index, Integer, String, Table, Text

from app.ledger.tables.base import ID, WAITS, metadata, partial_index

PART, WHOLE = "part_of IS NOT NULL", "part_of IS NULL"

counters = Table(
    "counters",
    metadata,
    Column("name", String, primary_key=True),
    Column("value", BigInteger, nullable=False),
)
"""SQLite: the last id given out (one row, `ids`); PostgreSQL has the sequence bridge_ids. Also cursors, such as backfill's."""

Table(
    "schema_revisions",
    metadata,
    Column("revision", String, primary_key=True),
    Column("applied_at", BigInteger, nullable=False),
)
"""The migrations that were applied. `alembic_version` may name an older one: see schema.FIRST."""

destinations = Table(
    "destinations",
    metadata,
    Column("name", String, primary_key=True),
    Column("paused_at", BigInteger),
    Column("paused_reason", Text),
    Column("paused_token", String),
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("probe_at", BigInteger),
    Column("rate_next_at", BigInteger, nullable=False, server_default="0"),
    Column("taken_at", BigInteger),
    Column("taken_print", String),
    Column("refused", Text),
    Column("recheck_at", BigInteger),
    Column("mixed", Text),
)
"""failures: transient ones in a row; from BREAKER_FAILURES on only one delivery at a time is tried, each at probe_at.
paused_token: fingerprint of the URL and token that were refused, so that other ones resume by themselves; recheck_at: when a
delivery may next test such a pause. taken_at, taken_print: when and under which fingerprint a delivery was last taken; refused:
what was refused since (breaker.Refusals); mixed: breaker.Mixed."""

workers = Table(
    "workers",
    metadata,
    Column("id", ID, primary_key=True, autoincrement=True),
    Column("host", String, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("pid_started", String, nullable=False),
    Column("started_at", BigInteger, nullable=False),
    Column("heartbeat_at", BigInteger, nullable=False),
    Column("stopped_at", BigInteger),
    Column("boot_id", String),
    Column("pid_namespace", String),
)
"""host, boot_id and pid_namespace say on which machine `pid` and `pid_started` identify a process. NULL: a worker of a version
before 0002, of which nothing is concluded from its pid."""

Table(
    "processes",
    metadata,
    Column("name", String, primary_key=True),
    Column("role", String, nullable=False),
    Column("host", String, nullable=False),
    Column("pid", Integer, nullable=False),
    Column("loaded_at", BigInteger, nullable=False),
    Column("answered", BigInteger, nullable=False),
    Column("answered_at", BigInteger),
    Column("problem", Text),
    Column("changed", Text, nullable=False),
    Column("kept", Text, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
)
"""Web and worker processes and the configuration of each. answered: the newest request to reload (counters, `reload`) that it
knows; problem: why it kept its configuration then; changed, kept: settings that it took over, and those that need a restart."""

audit = Table(
    "audit",
    metadata,
    Column("id", ID, primary_key=True, autoincrement=True),
    Column("at", BigInteger, nullable=False),
    Column("actor", String, nullable=False),
    Column("action", String, nullable=False),
    Column("subject", String, nullable=False),
    Column("detail", Text, nullable=False, server_default=""),
    Column("part_of", BigInteger),
    Index("ix_audit_subject", "subject", "id"),
    partial_index("ix_audit_part_of", "part_of", "id", where=PART),
    partial_index("ix_audit_lines", "id", where=WHOLE),
)
"""part_of: the line of the group that a change belongs to; NULL for groups and single changes."""

alerts = Table(
    "alerts",
    metadata,
    Column("topic", String, primary_key=True),
    Column("kind", String, nullable=False),
    Column("subject", String, nullable=False),
    Column("incident", String, nullable=False),
    Column("began_at", BigInteger, nullable=False),
    Column("bad_at", BigInteger, nullable=False),
    Column("over_at", BigInteger),
    Column("told_at", BigInteger),
    Column("say", String),
    Column("detail", Text, nullable=False),
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("next_try_at", BigInteger, nullable=False, server_default="0"),
    Column("problem", Text),
    Column("claim", String),
    Column("claimed_until", BigInteger),
    Column("incident_id", BigInteger),
)
"""Conditions that last, one row each ("dead:main"). told_at: when it was reported. incident: the topic whose alert speaks for it
too. bad_at: when it was last seen. incident_id: its row of incidents, once it was reported. say, tries, next_try_at, claim,
claimed_until, problem: versions before 0017 send by them; see notifications."""

incidents = Table(
    "incidents",
    metadata,
    Column("id", ID, primary_key=True, autoincrement=True),
    Column("topic", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("subject", String, nullable=False),
    Column("part_of", BigInteger),
    Column("began_at", BigInteger, nullable=False),
    Column("seen_at", BigInteger, nullable=False),
    Column("reported_at", BigInteger, nullable=False),
    Column("over_at", BigInteger),
    Column("detail", Text, nullable=False),
    Index("ix_incidents_part_of", "part_of"),
)
"""Conditions that were reported, also after they are over. part_of: the incident whose alert speaks for it too. detail: counts, as
they were last seen (JSON)."""

notifications = Table(
    "notifications",
    metadata,
    Column("id", ID, primary_key=True, autoincrement=True),
    Column("incident_id", BigInteger, nullable=False),
    Column("what", String, nullable=False),
    Column("channel", String, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("next_try_at", BigInteger),
    Column("claim", String),
    Column("claimed_until", BigInteger),
    Column("sent_at", BigInteger),
    Column("problem", Text),
    Column("text", Text),
    Index("ix_notifications_incident", "incident_id"),
    partial_index("ix_notifications_waiting", "channel", "next_try_at", where=WAITS),
)
"""What is to be sent of an incident over one channel, and what became of it. what: "alert" or "over". next_try_at: NULL once
nothing is to be sent any more. problem: why the last try failed."""

refusals = Table(
    "refusals",
    metadata,
    Column("hour", BigInteger, primary_key=True, autoincrement=False),
    Column("source", String, primary_key=True),
    Column("reason", String, primary_key=True),
    Column("count", BigInteger, nullable=False),
    Column("first_at", BigInteger),
    Column("last_at", BigInteger),
)
"""Requests to configured sources that were refused, by the hour (its beginning) in which they came."""

Table(
    "hourly_counts",
    metadata,
    Column("hour", BigInteger, primary_key=True, autoincrement=False),
    Column("destination", String, primary_key=True),
    Column("total", BigInteger, nullable=False),
    Column("counts", Text, nullable=False),
    Column("times", Text, nullable=False),
    Column("counted_at", BigInteger, nullable=False),
)
"""What was received within an hour (its beginning), for charts (traffic/hours.py). destination "": events by outcome; else
deliveries to it by status, and in `times` those delivered by how long it took (traffic/histogram.py). counts and times are JSON
objects; total is the sum of counts. counted_at: when the hour was last counted."""

Table(
    "metric_values",
    metadata,
    Column("name", String, primary_key=True),
    Column("series", String, primary_key=True),
    Column("part", String, primary_key=True),
    Column("process", String, primary_key=True),
    Column("value", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
)
"""What is counted for /metrics (app/telemetry). process: "" for what all of them counted together, else whose present state it
is; series: the values of the labels, a JSON array."""

sandbox_requests = Table(
    "sandbox_requests",
    metadata,
    Column("id", ID, primary_key=True, autoincrement=True),
    Column("received_at", BigInteger, nullable=False),
    Column("kind", String, nullable=False),
    Column("idempotency_key", String, nullable=False),
    Column("problem", Text),
    Column("body", Text, nullable=False),
    Index("ix_sandbox_requests_key", "idempotency_key"),
)
