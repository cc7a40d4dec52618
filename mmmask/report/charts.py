"""Line charts as SVG, in the colours of the page."""

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

WIDTH, HEIGHT = 360, 216
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 10, 34
FEW = 40  # points of a curve that also get a dot each


class Curve(NamedTuple):
    """A curve of a run: its number, which decides its colour, and (x, y) points."""

    run: int
    points: list[tuple[float, float]]


def draw_chart(curves: Sequence[Curve], x_label: str, y_label: str) -> str:
    """Curves -> an SVG with axes. Points that are not finite are left out.

    Every curve has an element of the class ``curve`` with one vertex for each finite point. The
    attributes of the SVG give the values at its edges, from which a script reads the values back.
    """
    finite = [
        curve._replace(points=[p for p in curve.points if all(map(math.isfinite, p))])
        for curve in curves
    ]
    points = [point for curve in finite for point in curve.points]
    if not points:
        return '<p class="missing">No finite value was logged.</p>'
    x_low, x_high = span([x for x, _ in points], margin=0)
    y_low, y_high = span([y for _, y in points], margin=0.05)

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - x_low) / (x_high - x_low)
        up = (y - y_low) / (y_high - y_low)
        left = LEFT + across * (WIDTH - LEFT - RIGHT)
        return left, HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    parts = [
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(y_label)} over {escape(x_label)}" '
        f'data-x="{x_low!r} {x_high!r}" data-y="{y_low!r} {y_high!r}">'
    ]
    floor, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    for value in ticks(y_low, y_high):
        _, y = place(x_low, value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(
            f'<text x="{LEFT - 5}" y="{y + 3.5:.1f}" text-anchor="end">{tick(value)}</text>'
        )
    for value in ticks(x_low, x_high):
        x, _ = place(value, y_low)
        parts.append(
            f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{floor}" y2="{floor + 4}"/>'
        )
        parts.append(
            f'<text x="{x:.1f}" y="{floor + 15}" text-anchor="middle">{tick(value)}</text>'
        )
    parts.append(
        f'<text x="{right}" y="{HEIGHT - 4}" text-anchor="end">{escape(x_label)}</text>'
        f'<line class="axis" x1="{LEFT}" x2="{right}" y1="{floor}" y2="{floor}"/>'
    )
    parts += [_draw_curve(curve, place) for curve in finite if curve.points]
    return ''.join([*parts, '<line class="cursor"/></svg>'])


def _draw_curve(curve: Curve, place) -> str:
    vertices = [place(*point) for point in curve.points]
    line = ' '.join(f'{x:.2f},{y:.2f}' for x, y in vertices)
    dots = ''
    if len(vertices) <= FEW:
        dots = ''.join(f'<circle cx="{x:.2f}" cy="{y:.2f}" r="2"/>' for x, y in vertices)
    line = f'<polyline class="curve" points="{line}"/>'
    return f'<g class="run-{curve.run}" data-run="{curve.run}">{line}{dots}</g>'


def span(values: Sequence[float], margin: float) -> tuple[float, float]:
    """Lowest and highest value, with a margin as a fraction of their distance; never equal."""
    low, high = min(values), max(values)
    extra = margin * (high - low) if low < high else abs(low) * 0.1 or 1.0
    return low - extra, high + extra


def ticks(low: float, high: float) -> list[float]:
    """At most five round values in a range: multiples of 1, 2 or 5 times a power of ten."""
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    first, last = math.ceil(low / step), math.floor(high / step)
    return [number * step for number in range(first, last + 1)]


def tick(value: float) -> str:
    """A short text of a value, such as ``0.25``, ``12k`` or ``3e-5``."""
    for size, unit in ((1e9, 'G'), (1e6, 'M'), (1e4, 'k')):
        if abs(value) >= size:
            return f'{value / (1e3 if unit == "k" else size):g}{unit}'
    if value and abs(value) < 1e-3:
        mantissa, _, exponent = f'{value:.1e}'.partition('e')
        return f'{float(mantissa):g}e{int(exponent)}'
    return f'{value:.6g}'
