"""The files in deploy/ name only settings, commands, routes and files that exist, and give each process time to stop."""

import json
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.cli import main
from app.config.settings import Settings

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
NOT_OURS = {"POSTGRES_USER", "POSTGRES_DB", "POSTGRES_PASSWORD", "DOMAIN", "UPSTREAMS"}
OURS = {name.upper() for name in Settings.model_fields} | {"STRIPE_WEBHOOK_SECRET"}
LEAST_STOP_SECONDS = 75
"""STOP_SECONDS at its most (60) and the 15 s beyond it that docs/operations.md asks for."""
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
OBJECTS = yaml.safe_load((DEPLOY / "kubernetes" / "bridge.yaml").read_text())["items"]
RENDER = yaml.safe_load((DEPLOY / "render.yaml").read_text())
FLY = tomllib.loads((DEPLOY / "fly.toml").read_text())
UNITS = sorted((DEPLOY / "systemd").iterdir())


def compose_program() -> list[str] | None:
    """Docker Compose 2 or newer, as a plugin of docker or by itself."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]):
            said = subprocess.run([*command, "version", "--short"], capture_output=True, text=True).stdout
            if re.match(r"v?[2-9]", said):
                return command
    return None


COMPOSE_PROGRAM = compose_program()


def pods() -> Iterator[dict[str, Any]]:
    for one in OBJECTS:
        if one["kind"] == "Deployment":
            yield one["spec"]["template"]["spec"]


def containers() -> Iterator[dict[str, Any]]:
    for pod in pods():
        yield from pod["initContainers"] + pod["containers"]


def commands() -> Iterator[list[str]]:
    yield from (
        service["command"] for service in COMPOSE["services"].values() if service["image"] == "conversion-bridge"
    )
    yield from (container["args"] for container in containers())
    for service in RENDER["services"]:
        yield from (service[key].split() for key in ("dockerCommand", "preDeployCommand") if key in service)
    yield from (text.split() for text in [*FLY["processes"].values(), FLY["deploy"]["release_command"]])
    for unit in UNITS:
        yield from (
            re.sub(r"--env-file \S+ ", "", line).split()
            for line in re.findall(r"ExecStart(?:Pre)?=(.*)", unit.read_text())
        )
    yield re.findall(r'^CMD \["(.*)"\]', (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)[0].split('", "')


def variables() -> Iterator[str]:
    for service in COMPOSE["services"].values():
        yield from service.get("environment", {})
    yield from (name for one in OBJECTS if one["kind"] == "ConfigMap" for name in one["data"])
    for service in RENDER["services"]:
        yield from (entry["key"] for entry in service.get("envVars", []) if "key" in entry)
    yield from (entry["key"] for group in RENDER["envVarGroups"] for entry in group["envVars"])
    yield from FLY["env"]
    for unit in UNITS:
        yield from re.findall(r"(\w+)=", " ".join(re.findall(r"^Environment=(.*)", unit.read_text(), re.MULTILINE)))
    yield from re.findall(r"^#? ?([A-Z_]+)=", (DEPLOY / "bridge.env.example").read_text(), re.MULTILINE)


def test_every_command_exists() -> None:
    known: Any = main.commands
    found = 0
    for command in commands():
        assert Path(command[0]).name == "bridge", command
        assert command[1] in known, command
        if len(command) > 2:
            assert command[2] in known[command[1]].commands, command
        found += 1
    assert found > 12


def test_every_setting_exists() -> None:
    assert set(variables()) - NOT_OURS <= OURS


def test_every_process_has_time_to_stop() -> None:
    for service in COMPOSE["services"].values():
        if service["image"] == "conversion-bridge":
            assert int(service["stop_grace_period"].removesuffix("s")) >= LEAST_STOP_SECONDS
    assert all(pod["terminationGracePeriodSeconds"] >= LEAST_STOP_SECONDS for pod in pods())
    assert all(
        s["maxShutdownDelaySeconds"] >= LEAST_STOP_SECONDS for s in RENDER["services"] if s["type"] != "keyvalue"
    )
    assert FLY["kill_timeout"] >= LEAST_STOP_SECONDS
    for unit in UNITS:
        assert int(re.findall(r"TimeoutStopSec=(\d+)", unit.read_text())[0]) >= LEAST_STOP_SECONDS
        assert "KillMode=mixed" in unit.read_text(), "the bridge stops its own parts"


def test_probes_ask_the_right_routes() -> None:
    web = next(container for container in containers() if container["name"] == "web")
    assert web["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert web["livenessProbe"]["httpGet"]["path"] == "/healthz", "a restart does not end an outage of the ledger"
    assert FLY["http_service"]["checks"][0]["path"] == "/readyz"
    assert [s["healthCheckPath"] for s in RENDER["services"] if s["type"] == "web"] == ["/readyz"]


def test_nothing_runs_as_root_or_writes_to_its_image() -> None:
    dockerfile = (DEPLOY / "Dockerfile").read_text()
    user = re.findall(r"^USER (\S+)", dockerfile, re.MULTILINE)[-1]
    assert user == "10001:10001"
    assert re.findall(r"^(?:ENTRYPOINT|CMD)", dockerfile, re.MULTILINE) == ["CMD"], (
        "a platform's command replaces it whole"
    )
    assert not re.findall(r"FROM \S+:latest|FROM [^:\s]+(?: AS \w+)?$", dockerfile, re.MULTILINE)
    for service in COMPOSE["services"].values():
        assert ":" in service["image"] or service["image"] == "conversion-bridge"
        if service["image"] == "conversion-bridge":
            assert service["read_only"]
    for container in containers():
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert not container["securityContext"]["allowPrivilegeEscalation"]
    assert all(pod["securityContext"]["runAsNonRoot"] for pod in pods())


def test_the_image_has_what_the_build_copies() -> None:
    dockerfile, ignored = (DEPLOY / "Dockerfile").read_text(), (DEPLOY / "Dockerfile.dockerignore").read_text()
    for names in re.findall(r"^COPY (?!--from)(.*) \S+$", dockerfile, re.MULTILINE):
        for name in names.split():
            assert (ROOT / name).exists(), name
            assert f"!{name}\n" in ignored, name


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    bridge = tmp_path / "bridge"
    bridge.write_text("#!/bin/sh\n")
    bridge.chmod(0o755)
    paths = []
    for unit in UNITS:
        paths.append(tmp_path / unit.name.replace("@", "@8000"))
        paths[-1].write_text(unit.read_text().replace("/opt/conversion-bridge/bin/bridge", str(bridge)))
    done = subprocess.run(["systemd-analyze", "verify", *paths], capture_output=True, text=True, timeout=60)
    ours = [line for line in done.stderr.splitlines() if tmp_path.name in line or "bridge" in line]
    assert not ours, done.stderr


@pytest.mark.skipif(shutil.which("kubernetes-validate") is None, reason="kubernetes-validate is not installed")
def test_kubernetes_knows_every_field_of_the_manifests(tmp_path: Path) -> None:
    manifests = tmp_path / "manifests.yaml"
    manifests.write_text(yaml.safe_dump_all(OBJECTS))
    done = subprocess.run(["kubernetes-validate", "--strict", manifests], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.skipif(shutil.which("hadolint") is None, reason="hadolint is not installed")
def test_hadolint_accepts_the_dockerfile() -> None:
    done = subprocess.run(["hadolint", DEPLOY / "Dockerfile"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout


@pytest.fixture
def compose(tmp_path: Path) -> Callable[[str], "subprocess.CompletedProcess[str]"]:
    """What Docker Compose makes of a text in the place of compose.yaml."""
    if COMPOSE_PROGRAM is None:
        pytest.skip("Docker Compose 2 is not installed")
    program = COMPOSE_PROGRAM

    def run(text: str) -> "subprocess.CompletedProcess[str]":
        (tmp_path / "compose.yaml").write_text(text)
        shutil.copy(DEPLOY / "bridge.env.example", tmp_path / "bridge.env")
        return subprocess.run(
            [*program, "-f", tmp_path / "compose.yaml", "config", "--format", "json"],
            capture_output=True,
            text=True,
            timeout=60,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(tmp_path),
                "POSTGRES_PASSWORD": "pw",
                "DOMAIN": "bridge.example",
            },
        )

    return run


def test_docker_compose_reads_the_file_as_it_is_meant(
    compose: Callable[[str], "subprocess.CompletedProcess[str]"],
) -> None:
    done = compose((DEPLOY / "compose.yaml").read_text())
    assert done.returncode == 0, done.stderr
    read = json.loads(done.stdout)
    bridges = {name: one for name, one in read["services"].items() if one["image"] == "conversion-bridge"}
    assert set(bridges) == {"migrate", "web", "worker"}
    for one in bridges.values():
        assert one["read_only"]
        assert one["cap_drop"] == ["ALL"]
        assert one["stop_grace_period"] == "1m30s"
        assert one["environment"]["DATABASE_URL"] == "postgresql://bridge:pw@postgres/bridge"
        assert one["environment"]["PUBLIC_URL"] == "https://bridge.example"
        assert one["environment"]["TRUSTED_PROXIES"] == read["networks"]["default"]["ipam"]["config"][0]["subnet"]
    assert bridges["web"]["deploy"]["replicas"] == bridges["worker"]["deploy"]["replicas"] == 2
    assert bridges["web"]["depends_on"]["migrate"]["condition"] == "service_completed_successfully"


@pytest.mark.parametrize(
    ("right", "wrong", "says"),
    [
        ("read_only:", "readonly:", "readonly"),
        ("service_completed_successfully", "service_done", "condition"),
        ("depends_on: *ready", "depends_on: [nobody]", "nobody"),
        (
            "DATABASE_URL: postgresql://bridge:${POSTGRES_PASSWORD",
            "DATABASE_URL: postgresql://bridge:${UNKNOWN",
            "UNKNOWN",
        ),
    ],
)
def test_docker_compose_refuses_a_mistake_in_it(
    right: str, wrong: str, says: str, compose: Callable[[str], "subprocess.CompletedProcess[str]"]
) -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    assert right in text
    done = compose(text.replace(right, wrong))
    assert done.returncode != 0
    assert says in done.stderr
