"""CONTRIBUTING.md is followed to the letter, in a copy: its source and its format pass the suites that all others pass."""

import os
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
FILE = re.compile(r"<!-- file: (\S+) -->\n *```\w+\n(.*?)\n *```", re.DOTALL)


def files() -> dict[str, str]:
    return {path: textwrap.dedent(content) + "\n" for path, content in FILE.findall(TEXT)}


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project with the files of CONTRIBUTING.md in it, and nothing else changed but the documentation."""
    folder = tmp_path_factory.mktemp("copy")
    for name in ("app", "workers", "tests", "docs", "fixtures"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    for path, content in files().items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(content, encoding="utf-8")
    (folder / "app/sources/meadow/__init__.py").touch()
    with (folder / "docs/sources.md").open("a", encoding="utf-8") as sources:
        sources.write("\n## Meadow Forms\n")
    with (folder / "docs/formats.md").open("a", encoding="utf-8") as formats:
        formats.write("\n| `ledgerly` | Ledgerly |\n")
    return folder


def run(folder: Path, *arguments: str) -> str:
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_there_are_files() -> None:
    assert set(files()) >= {"app/sources/meadow/source.py", "app/destinations/formats/ledgerly.py"}


def test_the_source_passes_what_every_source_passes(copy: Path) -> None:
    folders = re.findall(r"-m pytest (tests/sources .*) -k \"meadow or", TEXT)[0].split()
    shown = run(copy, "pytest", "-q", "-p", "no:cacheprovider", *folders, "-k", "meadow or example_of_every_source")
    assert int(re.findall(r"(\d+) passed", shown)[0]) > 30


def test_the_format_passes_what_every_format_passes(copy: Path) -> None:
    folders = re.findall(r"-m pytest (tests/formats .*) -k ledgerly`", TEXT)[0].split()
    shown = run(copy, "pytest", "-q", "-p", "no:cacheprovider", *folders, "-k", "ledgerly")
    assert int(re.findall(r"(\d+) passed", shown)[0]) > 10


def test_both_are_written_as_the_project_is(copy: Path) -> None:
    paths = [path for path in files() if path.endswith(".py")]
    run(copy, "ruff", "check", *paths)
    run(copy, "ruff", "format", "--check", *paths)
    run(copy, "mypy", "--cache-dir", str(copy / ".mypy"), *paths)
    run(copy, "vulture")


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "README.md"])
def test_links_lead_somewhere(page: str) -> None:
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (ROOT / page).read_text("utf-8")):
        assert (ROOT / link).exists(), link
