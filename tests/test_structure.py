"""Modules and folders stay small enough to be read at once; CONTRIBUTING.md names the same limits."""

from pathlib import Path

ROOT = Path(__file__).parents[1]
MOST_LINES = 350
MOST_MODULES = 15
MOST_MODULES_OF_APP = 10
MARKERS = ("__init__.py", "__main__.py")
GROWING = ("app/cli", "app/ledger/migrations/versions")
"""One file per command, and one per change of the schema."""
FROZEN = "app/ledger/migrations/versions/0001_first_schema.py"

MODULES = {path.relative_to(ROOT).as_posix(): path for top in ("app", "workers") for path in (ROOT / top).rglob("*.py")}


def modules_by_folder() -> dict[str, list[str]]:
    """The modules of each folder, without those that only mark it as a package."""
    found: dict[str, list[str]] = {}
    for name in sorted(MODULES):
        folder, _, module = name.rpartition("/")
        if module not in MARKERS:
            found.setdefault(folder, []).append(module)
    return found


def test_no_module_is_too_long() -> None:
    lines = {name: len(path.read_text("utf-8").splitlines()) for name, path in MODULES.items()}
    assert {name: count for name, count in lines.items() if count > MOST_LINES and name != FROZEN} == {}


def test_no_folder_has_too_many_modules() -> None:
    folders = modules_by_folder()
    assert {"app", "app/ledger", "app/sources/stripe", "workers", *GROWING} <= folders.keys()
    counts = {folder: len(modules) for folder, modules in folders.items() if folder not in GROWING}
    assert {folder: count for folder, count in counts.items() if count > MOST_MODULES} == {}
    assert counts["app"] <= MOST_MODULES_OF_APP, f"move one into a folder: {folders['app']}"
