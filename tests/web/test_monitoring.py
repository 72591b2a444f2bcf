"""Dashboard and alert rules name only metrics and labels that /metrics has. Prometheus' own check runs where it is installed."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from app.ledger.engine import Ledger
from app.ledger.metrics import MeasureKeeper
from app.telemetry.measures import METRICS, Measures
from tests.support.makers import change

FOLDER = Path(__file__).parents[2] / "deploy" / "monitoring"
OF_PROMETHEUS = {"job", "instance"}


def rules() -> list[dict[str, str]]:
    groups = yaml.safe_load((FOLDER / "alerts.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def expressions() -> Iterator[str]:
    for rule in rules():
        yield rule["expr"]
    for panel in json.loads((FOLDER / "grafana.json").read_text())["panels"]:
        for target in panel["targets"]:
            yield target["expr"]


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_every_metric_and_label_that_is_asked_for_exists(web: FlaskClient, ledger: Ledger) -> None:
    keeper = MeasureKeeper(ledger, Measures(), "web")
    for metric in METRICS:
        labels = ["2xx" if name == "status" else "unavailable" for name in metric.labels]
        (keeper.measures.observe(metric, 1, *labels) if metric.buckets else keeper.measures.count(metric, *labels))
    keeper.flush()
    change(ledger, "INSERT INTO destinations (name) VALUES ('main')")
    known: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(web.get("/metrics").text):
        for sample in family.samples:
            known.setdefault(sample.name, set()).update(sample.labels)
    asked = 0
    for expression in expressions():
        for name, selector in re.findall(r"\b(bridge_\w+)(?:\{([^}]*)\})?", expression):
            if name == "bridge_events":
                known.setdefault(name, {"outcome"})
            assert name in known, f"{expression}: {name}"
            assert set(re.findall(r"(\w+)\s*[=!]~?=?\s*\"", selector)) <= known[name] | OF_PROMETHEUS, expression
            asked += 1
        for grouped in re.findall(r"by \(([^)]*)\)", expression):
            names = set().union(*(known[name] for name in re.findall(r"\b(bridge_\w+)", expression)))
            assert {label.strip() for label in grouped.split(",")} <= names | OF_PROMETHEUS, expression
    assert asked > 25


def test_each_alert_says_what_to_do() -> None:
    for rule in rules():
        assert set(rule["annotations"]) == {"summary", "remedy"}, rule["alert"]
        assert rule["labels"]["severity"] in ("critical", "warning")  # type: ignore[index]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)")
def test_prometheus_accepts_the_rules_and_they_fire_when_they_should() -> None:
    for command in (["check", "config", "prometheus.yml"], ["test", "rules", "alerts.test.yml"]):
        done = subprocess.run(["promtool", *command], cwd=FOLDER, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
