"""The layout of a chart. Widths are percentages and heights are pixels, so that text keeps its size at any width."""

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


def moment(milliseconds: int, zone: tzinfo) -> datetime:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).astimezone(zone)


def title_of(bar: Bar, zone: tzinfo) -> str:
    """The time that a bar covers: 30 Nov, 14:00 to 14:10; Mon 30 Nov."""
    start, end = moment(bar.start, zone), moment(bar.end, zone)
    day = f"{start.day} {MONTHS[start.month - 1]}"
    if bar.end - bar.start > DAY_MS * 2 // 3:
        return f"{DAYS[start.weekday()]} {day}"
    return f"{day}, {start:%H:%M} to {end:%H:%M}"


def query_of(bar: Bar) -> str:
    return f"since={iso(bar.start)}&until={iso(bar.end)}"


def labels_of(bars: Sequence[Bar], zone: tzinfo) -> list[Drawn]:
    """Labels of the time axis, each at the beginning of its bar."""
    room, size = 100 / len(bars), bars[0].end - bars[0].start
    days = size > DAY_MS // 8
    step = -(-len(bars) // LABELS)
    labels = []
    for index in range(0, len(bars), step):
        start = moment(bars[index].start, zone)
        text = f"{start.day} {MONTHS[start.month - 1]}" if days else f"{start:%H:%M}"
        labels.append({"at": round(index * room, 3), "text": text, "is_extra": bool(index // step % 2)})
    return labels


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
    """A chart of stacked bars or lines, as a dictionary for the template: `height` of the plot in pixels including the labels below
    it, `base` (the y of the axis), `ticks` and `labels` of the axes, `slots` (for each bar its position, rectangles, text, and the
    query of its list), `lines`, and `columns` of the table with the same figures.

    stacks: for each bar, the counts by name, from the bottom up. lines: by name, a value for each bar. texts: for each bar, its
    text and the cells of its row in the table."""
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
        "lines": [{"name": line_name, "path": _path(values, y_of)} for line_name, values in (lines or {}).items()],
    }


def _path(values: Sequence[float | None], y_of: Callable[[float], float]) -> str:
    """An SVG path through the middles of the bars, one unit of x each. A value between two gaps is a dot."""
    parts, is_open = [], False
    for index, value in enumerate(values):
        if value is None:
            is_open = False
            continue
        point = f"{index + 0.5:g} {y_of(value):g}"
        parts.append(f"L{point}" if is_open else f"M{point}h0")
        is_open = True
    return "".join(parts)
