"""Which build of the bridge runs: its version and the revision of its source."""

from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

APP = Path(__file__).parents[1]
REVISION_FILE = "REVISION"
"""In app/, where a build wrote the commit it was made from."""
UNKNOWN = "unknown"
SHOWN = 12


@cache
def build() -> dict[str, str]:
    """{"version", "revision"}; revision is "unknown" where neither a build nor a checkout says."""
    try:
        number = version("conversion-bridge")
    except PackageNotFoundError:
        number = UNKNOWN
    return {"version": number, "revision": revision(APP)}


def revision(package: Path) -> str:
    """The commit that `package` was built or checked out from. Git itself is not needed."""
    try:
        written = (package / REVISION_FILE).read_text("ascii").strip()
        return written[:SHOWN] or UNKNOWN
    except (OSError, ValueError):
        pass
    try:
        return _checked_out(package.parent / ".git")[:SHOWN] or UNKNOWN
    except (OSError, ValueError):
        return UNKNOWN


def _checked_out(git: Path) -> str:
    if git.is_file():  # of a worktree: it names the folder
        git = git.parent / git.read_text("utf-8").removeprefix("gitdir:").strip()
    head = (git / "HEAD").read_text("ascii").strip()
    if not head.startswith("ref:"):
        return head
    name, common = head.removeprefix("ref:").strip(), git
    if (git / "commondir").exists():
        common = git / (git / "commondir").read_text("utf-8").strip()
    for folder in (git, common):
        if (folder / name).is_file():
            return (folder / name).read_text("ascii").strip()
    for line in (common / "packed-refs").read_text("ascii").splitlines():
        commit, _, ref = line.partition(" ")
        if ref == name:
            return commit
    return UNKNOWN
