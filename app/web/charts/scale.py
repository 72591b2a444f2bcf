"""The scale of an axis: from zero, with few and round numbers."""

from dataclasses import dataclass
from itertools import count

TICKS = 4
STEPS = (1.0, 2.0, 2.5, 5.0)
SECONDS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400)
"""Steps of an axis of durations: round in seconds, minutes, hours and days."""


@dataclass(frozen=True, slots=True)
class Scale:
    """An axis from 0 to `top`, with a line and a number every `step`."""

    top: float
    step: float

    @property
    def values(self) -> list[float]:
        return [number * self.step for number in range(round(self.top / self.step) + 1)]


def whole_scale(highest: float) -> Scale:
    """For counts: no fractions."""
    return _up_to(highest, max(1.0, _step(highest)))


def seconds_scale(highest: float) -> Scale:
    if highest <= SECONDS[0] * TICKS:
        return _up_to(highest, _step(highest))
    step = next((step for step in SECONDS if highest <= step * TICKS), None)
    return _up_to(highest, float(step) if step else SECONDS[-1] * max(1.0, _step(highest / SECONDS[-1])))


def _step(highest: float) -> float:
    """The smallest round step with which TICKS steps reach `highest`."""
    for power in count(-4):
        for step in STEPS:
            if highest <= step * 10.0**power * TICKS:
                return step * 10.0**power
    raise AssertionError("there is always a larger power")


def _up_to(highest: float, step: float) -> Scale:
    steps = max(1, -int(-highest / step // 1))
    while steps * step < highest:
        steps += 1
    return Scale(steps * step, step)


def short(number: float) -> str:
    """A number short enough for an axis: 1,500 as 1.5k."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:g}"
