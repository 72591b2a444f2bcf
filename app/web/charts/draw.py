"""Where everything of a chart lies. Widths are per cent and heights are pixels, so that text keeps its size at any width."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from typing import Any

from app.ledger.traffic.series import Bar
from app.times import iso
from app.web.charts.scale import Scale

GAP = 0.16
"""The share of a bar's room that stays free."""
LEAST = 1.5
"""Pixels: what is not nothing can be seen."""
TOP, FOOT = 8, 20
LABELS = 6
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
DAY_MS = 86_400_000


Drawn = dict[str, Any]
"""What a template draws, by name."""


def moment(at: int, zone: tzinfo) -> datetime:
    return datetime.fromtimestamp(at / 1000, UTC).astimezone(zone)


def title_of(bar: Bar, zone: tzinfo) -> str:
    """When a bar was: 30 Nov, 14:00 to 14:10; Mon 30 Nov."""
    start, end = moment(bar.start, zone), moment(bar.end, zone)
    day = f"{start.day} {MONTHS[start.month - 1]}"
    if bar.end - bar.start > DAY_MS * 2 // 3:
        return f"{DAYS[start.weekday()]} {day}"
    return f"{day}, {start:%H:%M} to {end:%H:%M}"


def query_of(bar: Bar) -> str:
    return f"since={iso(bar.start)}&until={iso(bar.end)}"


def labels_of(bars: Sequence[Bar], zone: tzinfo) -> list[Drawn]:
    """A few times below the bars, at the beginning of the bar that they name."""
    room, size = 100 / len(bars), bars[0].end - bars[0].start
    days = size > DAY_MS // 8
    step = -(-len(bars) // LABELS)
    found = []
    for index in range(0, len(bars), step):
        at = moment(bars[index].start, zone)
        text = f"{at.day} {MONTHS[at.month - 1]}" if days else f"{at:%H:%M}"
        found.append({"at": round(index * room, 3), "text": text, "is_extra": bool(index // step % 2)})
    return found


def chart(
    name: str,
    bars: Sequence[Bar],
    scale: Scale,
    zone: tzinfo,
    *,
    height: int,
    unit: Callable[[float], str],
    columns: Sequence[str],
    stacks: Sequence[Mapping[str, int]] = (),
    lines: Mapping[str, Sequence[float | None]] | None = None,
    texts: Sequence[tuple[str, Sequence[str]]],
) -> Drawn:
    """A chart of stacked bars, or of lines: `height` of the plot in pixels with the numbers below it, `base` (where bars stand),
    `ticks` and `labels` of the axes, `slots` (of each bar its room, what is drawn in it, what it says, and the query of the list
    behind it), `lines`, and `columns` of the table with the same figures.

    stacks: of each bar, the counts by name, from the bottom up. lines: by name, a value of
    each bar. texts: of each bar what it says, and the cells of its row in the table."""
    base, room = float(height - FOOT), 100 / len(bars)
    tall = base - TOP

    def y_of(value: float) -> float:
        return round(base - value / scale.top * tall, 2)

    slots = []
    for index, bar in enumerate(bars):
        rects, floor = [], base
        for part, count in stacks[index].items() if stacks else ():
            if count:
                size = round(max(count / scale.top * tall, LEAST), 2)
                rects.append({"name": part, "y": round(floor - size, 2), "height": size})
                floor -= size
        text, cells = texts[index]
        slots.append(
            {
                "x": round((index + GAP / 2) * room, 3),
                "width": round(room * (1 - GAP), 3),
                "left": round(index * room, 3),
                "room": round(room, 3),
                "title": title_of(bar, zone),
                "text": text,
                "query": query_of(bar),
                "rects": rects,
                "cells": cells,
                "is_whole": bar.is_whole,
            }
        )
    return {
        "name": name,
        "height": height,
        "base": base,
        "ticks": [{"at": y_of(value), "text": unit(value)} for value in scale.values],
        "labels": labels_of(bars, zone),
        "slots": slots,
        "columns": columns,
        "lines": [{"name": one, "path": _path(values, y_of)} for one, values in (lines or {}).items()],
    }


def _path(values: Sequence[float | None], y_of: Callable[[float], float]) -> str:
    """A line through the middles of the bars, one unit of x each; a value between two gaps is a dot."""
    parts, is_open = [], False
    for index, value in enumerate(values):
        if value is None:
            is_open = False
            continue
        point = f"{index + 0.5:g} {y_of(value):g}"
        parts.append(f"L{point}" if is_open else f"M{point}h0")
        is_open = True
    return "".join(parts)
