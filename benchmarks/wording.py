"""Numbers, shares and lists as words."""

from __future__ import annotations

import math
from collections.abc import Sequence

from benchmarks.intervals import Interval

NONE = "-"


def number(interval: Interval | None, places: int = 3) -> str:
    """`0.031 [0.025, 0.037]`; without an interval only the value; `-` for no number."""
    if interval is None or math.isnan(interval.value):
        return NONE
    text = f"{interval.value:.{places}f}"
    if math.isnan(interval.low) or math.isnan(interval.high):
        return text
    return f"{text} [{interval.low:.{places}f}, {interval.high:.{places}f}]"


def point(interval: Interval | None, places: int = 3) -> str:
    """The value without its interval; `-` for no number."""
    bare = None if interval is None else interval._replace(low=math.nan, high=math.nan)
    return number(bare, places)


def counted(n: int, noun: str) -> str:
    """`1 run`, `5 runs`."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def share(interval: Interval | None) -> str:
    """A share in per cent, `5.2 % [4.0, 6.5]`."""
    if interval is None or math.isnan(interval.value):
        return NONE
    percent = Interval(100 * interval.value, 100 * interval.low, 100 * interval.high, interval.n)
    text = number(percent, 1)
    head, _, tail = text.partition(" ")
    return f"{head} %{' ' + tail if tail else ''}"


def listed(parts: Sequence[str]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def duration(seconds: float) -> str:
    """`21 s` below two minutes, else `11.3 minutes`."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} minutes"
