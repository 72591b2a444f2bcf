"""docs/threat-model.md names files and tests that exist, and every part of the answer has one."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "threat-model.md").read_text("utf-8")
CODE = re.findall(r"`([^`\n]+)`", PAGE)


def test_every_test_that_is_named_exists() -> None:
    named = [text.split("::") for text in CODE if text.startswith("tests/") and "::" in text]
    assert len(named) > 40
    missing = [
        f"{file}::{name}"
        for file, name in named
        if not re.search(rf"^def {name}\(", (ROOT / file).read_text("utf-8") if (ROOT / file).exists() else "", re.M)
    ]
    assert missing == []


def test_every_file_and_make_target_that_is_named_exists() -> None:
    files = [text for text in CODE if re.fullmatch(r"[\w./-]+\.(py|yml)", text)]
    assert [name for name in files if not (ROOT / name).exists()] == []
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = [text.removeprefix("make ") for text in CODE if text.startswith("make ")]
    assert {"audit", "secrets", "sbom", "fuzz"} <= set(targets)
    assert [name for name in targets if not re.search(rf"^{name}:", makefile, re.M)] == []


def test_every_threat_has_a_test_or_a_run_in_ci() -> None:
    rows = [line for line in PAGE.split("## Threats and answers")[1].splitlines() if line.startswith("| ")]
    threats = [row for row in rows if not row.startswith(("| Threat |", "|---"))]
    assert len(threats) > 25
    assert [row for row in threats if "::" not in row and "`make " not in row] == []
