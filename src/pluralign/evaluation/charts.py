"""The charts of the page as inline SVG: colours come from the page's CSS, so they follow light and dark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from pluralign.data.objective import Objective
from pluralign.evaluation.palette import LIGHT

Point = tuple[float, float]


class Axis:
    """A linear scale from an objective's range to pixels; `start` is where the low end stands."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self.low, self.high, self.start, self.end = low, high, start, end

    def __call__(self, value: float) -> float:
        return round(self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start), 1)

    def ticks(self) -> list[float]:
        """Both ends and the middle."""
        return [self.low, (self.low + self.high) / 2, self.high]


def hue(place: int) -> str:
    """The CSS colour of the objective at `place`."""
    return f"var(--c{place % len(LIGHT)})"


def place_of(objectives: Sequence[Objective], name: str) -> int:
    """Which objective bears this name."""
    return next(place for place, objective in enumerate(objectives) if objective.name == name)


def tick(value: float) -> str:
    """An axis number without needless places."""
    return f"{value:g}".replace("-", "−")


def _polyline(points: Sequence[Point], kind: str, style: str = "") -> str:
    path = " ".join(f"{x},{y}" for x, y in points)
    return f'<polyline class="{kind}" points="{path}" style="{style}"/>'


def _dot(point: Point, radius: float, style: str, kind: str = "dot") -> str:
    return f'<circle class="{kind}" cx="{point[0]}" cy="{point[1]}" r="{radius}" style="{style}"/>'


def _text(point: Point, words: str, kind: str, anchor: str = "start", style: str = "") -> str:
    place = f'x="{point[0]}" y="{point[1]}" text-anchor="{anchor}"'
    return f'<text class="{kind}" {place} style="{style}">{escape(words)}</text>'


def _frame(across: Axis, up: Axis) -> str:
    lines = [
        f'<line class="axis" x1="{across.start}" y1="{up.start}" x2="{across.end}" y2="{up.start}"/>',
        f'<line class="axis" x1="{across.start}" y1="{up.start}" x2="{across.start}" y2="{up.end}"/>',
    ]
    below = [_text((across(value), up.start + 14), tick(value), "tick", "middle") for value in across.ticks()]
    beside = [_text((across.start - 6, up(value) + 3.5), tick(value), "tick", "end") for value in up.ticks()]
    return "".join([*lines, *below, *beside])


def _svg(width: int, height: int, label: str, body: str) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(label)}"><title>{escape(label)}</title>'
        f"{body}</svg>"
    )


def front(sweep: Mapping[str, Any], objectives: Sequence[Objective]) -> str:
    """One pair of objectives: the policy's curve between the two one-hots, the optimum's curves, the base's point."""
    names = first, second = sweep["objectives"]
    places = [place_of(objectives, name) for name in names]
    across, up = (
        Axis(objectives[place].low, objectives[place].high, *ends)
        for place, ends in zip(places, ((26.0, 196.0), (186.0, 22.0)), strict=True)
    )

    def points(curve: Mapping[str, Any]) -> list[Point]:
        return [(across(x), up(y)) for x, y in zip(curve[first], curve[second], strict=True)]

    best = [_polyline(points(sweep[key]), key) for key in ("optimum", "optimum_conservative") if key in sweep]
    own = points(sweep["scores"])
    dots = [
        _dot(point, 5.5 if share in (0.0, 1.0) else 3.4, f"fill: {_mix(share, places)}")
        for point, share in zip(own, sweep["share"], strict=True)
    ]
    x, y = across(sweep["base"][first]), up(sweep["base"][second])
    base = f'<path class="base" d="M{x},{y - 4.5}l4.5,4.5l-4.5,4.5l-4.5,-4.5z"/>'
    words = [
        _text((196, 214), first, "name", "end", f"--hue: {hue(places[0])}"),
        _text((26, 13), second, "name", "start", f"--hue: {hue(places[1])}"),
    ]
    body = "".join([_frame(across, up), *best, base, _polyline(own, "policy"), *dots, *words])
    return _svg(206, 220, f"Front of {first} and {second}", body)


def _mix(share: float, places: Sequence[int]) -> str:
    """The colour between two objectives: `share` of the first."""
    return f"color-mix(in oklab, {hue(places[0])} {100 * share:.0f}%, {hue(places[1])})"


def sweep_chart(sweep: Mapping[str, Any], objectives: Sequence[Objective]) -> str:
    """Two scores while the weight moves from the second objective (left) to the first (right)."""
    first, second = sweep["objectives"]
    across = Axis(0.0, 1.0, 26.0, 286.0)
    places = [place_of(objectives, name) for name in (first, second)]
    ups = [Axis(objectives[place].low, objectives[place].high, 176.0, 14.0) for place in places]
    lines = [
        _line(sweep, name, across, up, f"--hue: {hue(place)}")
        for name, up, place in zip((first, second), ups, places, strict=True)
    ]
    heights = apart([up(sweep["scores"][name][-1]) for name, up in zip((first, second), ups, strict=True)], 15.0)
    words = [
        _text((295, height + 4), name, "name", style=f"--hue: {hue(place)}")
        for name, height, place in zip((first, second), heights, places, strict=True)
    ]
    ends = [_text((26, 205), f"only {second}", "tick"), _text((286, 205), f"only {first}", "tick", "end")]
    body = _frame(across, ups[0]) + "".join([*lines, *words, *ends])
    return _svg(352, 212, f"Sweep from {second} to {first}", body)


def apart(heights: Sequence[float], least: float) -> list[float]:
    """Two heights for labels, moved apart evenly where they stand closer than `least`."""
    first, second = heights
    push = max(0.0, (least - abs(first - second)) / 2)
    return [first - push, second + push] if first <= second else [first + push, second - push]


def _line(sweep: Mapping[str, Any], name: str, across: Axis, up: Axis, style: str) -> str:
    own = [(across(share), up(score)) for share, score in zip(sweep["share"], sweep["scores"][name], strict=True)]
    parts = []
    if sweep["intervals"]:
        pairs = list(zip(sweep["share"], sweep["intervals"][name], strict=True))
        outline = [(across(share), up(pair[1])) for share, pair in pairs]
        outline += [(across(share), up(pair[0])) for share, pair in reversed(pairs)]
        parts.append(f'<polygon class="band" points="{" ".join(f"{x},{y}" for x, y in outline)}"/>')
    if "optimum" in sweep:
        best = sweep["optimum"]
        curve = [(across(share), up(score)) for share, score in zip(best["share"], best[name], strict=True)]
        parts.append(_polyline(curve, "best"))
    parts += [_polyline(own, "curve"), *(_dot(point, 3.2, "fill: var(--hue)") for point in own)]
    return f'<g style="{style}">{"".join(parts)}</g>'
