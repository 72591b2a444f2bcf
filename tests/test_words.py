"""Plain words: texts, docs, names and comments keep to the glossary in docs/architecture.md and to current technical English."""

import re
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[1]

# What was written before, and what to write instead.
OLD = {
    r"anew": "again",
    r"amid": "within",
    r"reckon\w*": "compute, treat",
    r"spelt": "written",
    r"mend(s|ed|ing)?": "replay or discard; fix",
    r"in vain": "without success",
    r"nameless": "unidentified",
    r"whoever": "name the subject",
    r"heard of": "last seen",
    r"told": "reported, answered, shown",
    r"made up": "generated",
    r"as they please": "exempt",
    r"brakes?": "pause, resume, breaker",
    r"let_go|give_back|set_aside": "unblock_sales, return_unsent, defer_blocked",
    r"(?<!there )(?<!here )(is|are|was|were) no (?!longer\b|more than\b|later than\b)\w+": "is not a …",
    r"left alone": "skipped",
    r"failed forwards": "failed deliveries",
    r"known of them": "profile",
    r"changes by hand": "audit",
    r"looked at anything": "read anything",
    r"told_of|who_with|leave_for_others|_another_word": "facts_under, complete_who, store_event_facts, _already_counted",
    r"another word about": "a further event of",
    r"what there is to say": "notes about",
    r"in good order": "cleanly",
    r"harmless to repeat": "safe to repeat",
    r"takes nothing just now": "is not responding",
    r"of its own making": "generated, chosen",
    r"nobody sends (it|them)": "it is not sent",
    r"(a|one) JSON object a line": "one JSON object per line",
}
WORD = re.compile("|".join(rf"(?P<w{n}>(?<![\w-])(?:{old})(?![\w]))" for n, old in enumerate(OLD)), re.IGNORECASE)
KINDS = (".py", ".md", ".html", ".toml", ".js", ".css", ".sh", "Makefile")
EXEMPT = (
    "tests/test_words.py",
    "app/ledger/migrations/versions/0001_first_schema.py",
    "tests/ledger/released/",
    "fixtures/",
)


def test_no_file_uses_a_word_that_has_a_plainer_one() -> None:
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    found = []
    for name in files:
        if not name.endswith(KINDS) or name.startswith(EXEMPT) or "/fixtures/" in name:
            continue
        for number, line in enumerate((ROOT / name).read_text(encoding="utf-8").splitlines(), 1):
            for match in WORD.finditer(line):
                better = list(OLD.values())[int(match.lastgroup[1:])] if match.lastgroup else ""
                found.append(f"{name}:{number}: {match.group()!r} -> {better}")
    assert not found, "\n".join(found)
