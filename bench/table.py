"""The table that a run prints."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

HEADINGS = ("measured", "bridge", "floor", "ratio", "aim", "")


@dataclass(frozen=True, slots=True)
class Row:
    """One line. ratio: of bridge to floor; met: whether the aim was reached, None where there is none."""

    name: str
    bridge: str
    floor: str = ""
    ratio: float | None = None
    aim: str = ""
    met: bool | None = None

    def cells(self) -> tuple[str, ...]:
        ratio = "" if self.ratio is None else f"{self.ratio:.0%}" if self.ratio < 1.95 else f"{self.ratio:.1f} x"
        verdict = "" if self.met is None else "reached" if self.met else "MISSED"
        return (self.name, self.bridge, self.floor, ratio, self.aim, verdict)


def show(rows: Sequence[Row]) -> str:
    """Aligned plain text: names to the left, numbers to the right."""
    lines = [HEADINGS, *(row.cells() for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEADINGS))]
    texts = []
    for line in lines:
        cells = [
            cell.rjust(width) if i in (1, 2, 3) else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        texts.append("  ".join(cells).rstrip())
    texts.insert(1, "-" * max(len(text) for text in texts))
    return "\n".join(texts)


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


def number(value: float, unit: str = "") -> str:
    """1,234 or 7.3: as many digits as mean something."""
    text = f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
    return f"{text} {unit}".rstrip()
