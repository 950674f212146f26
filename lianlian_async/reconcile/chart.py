"""One chart for the report: payouts by settle date, stacked by state, as SVG that needs nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import Final

from .results import DayTotals

__all__ = ["COLOURS", "day_chart"]

# In the order in which they are stacked; what is calm lies at the bottom. Told apart in grey as well.
COLOURS: Final = (("PAID", "#2f7d4f"), ("REFUNDED", "#c9a13b"), ("CONFLICT", "#a3161f"), ("other", "#7b8794"))
_DIFFERENCE: Final = "#a3161f"
_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 1000, 260, 64, 28, 22
_LABELS_MAX: Final = 16
_TICKS: Final = 4


def day_chart(days: Sequence[DayTotals], title: str, differences: str) -> str:
    """The chart as an SVG element; `title` is read out in its place, `differences` names the figure above a bar."""
    most = max((sum(day.states.values()) for day in days), default=0) or 1
    top = _ceiling(most)
    parts = [
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">',
        *_scale(top),
        *(part for place, day in enumerate(days) for part in _bar(place, day, len(days), top, differences)),
        "</svg>",
    ]
    return "\n".join(parts)


def _ceiling(most: int) -> int:
    """The next round figure that four lines divide."""
    step = 1
    while step * _TICKS < most:
        digits = str(step)
        step = step * 2 if digits[0] in "15" else step // 2 * 5
    return step * _TICKS


def _y(value: float | int, top: int) -> float:
    room = _HEIGHT - _BOTTOM - _TOP
    return _TOP + room - room * value / top


def _scale(top: int) -> Iterator[str]:
    for tick in range(_TICKS + 1):
        value = top * tick // _TICKS
        y = _y(value, top)
        yield f'<line x1="{_LEFT}" x2="{_WIDTH}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>'
        yield f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" class="tick" text-anchor="end">{value:,}</text>'


def _bar(place: int, day: DayTotals, count: int, top: int, differences: str) -> Iterator[str]:
    room = (_WIDTH - _LEFT) / count
    width = min(room * 0.7, 64)
    x, below = _LEFT + room * (place + 0.5) - width / 2, 0
    named = {name for name, _ in COLOURS}
    other = sum(n for state, n in day.states.items() if state not in named)
    for name, colour in COLOURS:
        n = day.states.get(name, 0) if name != "other" else other
        if n:
            y, height = _y(below + n, top), _y(below, top) - _y(below + n, top)
            shape = f'x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}"'
            yield f"<rect {shape}><title>{day.day} {name}: {n:,}</title></rect>"
            below += n
    if day.differences:
        yield (
            f'<text x="{x + width / 2:.1f}" y="{_y(below, top) - 6:.1f}" class="flag" text-anchor="middle">'
            f"{day.differences:,}<title>{escape(differences)}</title></text>"
        )
    if place % (count // _LABELS_MAX + 1) == 0:
        label = f"{day.day[4:6]}-{day.day[6:]}"
        yield f'<text x="{x + width / 2:.1f}" y="{_HEIGHT - 8}" class="tick" text-anchor="middle">{label}</text>'
