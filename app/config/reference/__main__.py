"""python -m app.config.reference [PAGE]: writes the tables of docs/settings.md, as `make settings-reference` does."""

import sys
from pathlib import Path

from app.config.reference.page import with_tables

path = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/settings.md")
path.write_text(with_tables(path.read_text(encoding="utf-8")), encoding="utf-8")
