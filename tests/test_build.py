"""The revision that logs and metrics name: from the build, else from the checkout."""

import subprocess
from pathlib import Path

from app.telemetry.build import build, revision

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def checkout(folder: Path, head: str) -> Path:
    (folder / "app").mkdir(parents=True)
    (folder / ".git" / "refs" / "heads").mkdir(parents=True)
    (folder / ".git" / "HEAD").write_text(head + "\n")
    return folder / "app"


def test_a_build_says_its_own_revision_before_any_checkout(tmp_path: Path) -> None:
    package = checkout(tmp_path, COMMIT)
    (package / "REVISION").write_text("fedcba9876543210\n")
    assert revision(package) == "fedcba987654"


def test_a_checkout_says_the_commit_of_its_branch(tmp_path: Path) -> None:
    assert revision(checkout(tmp_path / "detached", COMMIT)) == COMMIT[:12]
    loose = checkout(tmp_path / "loose", "ref: refs/heads/main")
    (loose.parent / ".git" / "refs" / "heads" / "main").write_text(COMMIT + "\n")
    assert revision(loose) == COMMIT[:12]
    packed = checkout(tmp_path / "packed", "ref: refs/heads/main")
    (packed.parent / ".git" / "packed-refs").write_text(f"# pack-refs with: peeled\n{COMMIT} refs/heads/main\n")
    assert revision(packed) == COMMIT[:12]


def test_nothing_is_made_up_where_neither_says(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    assert revision(tmp_path / "app") == "unknown"
    assert revision(checkout(tmp_path / "broken", "ref: refs/heads/gone")) == "unknown"


def test_this_checkout_says_what_git_says() -> None:
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():
        return
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True, check=True).stdout
    assert build()["revision"] == head[:12]
