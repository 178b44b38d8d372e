"""The break-even by number of developers as a self-contained SVG or HTML file (PNG where matplotlib is installed)."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from agentrt.errors import ConfigError
from agentrt.plan.money import Alternative
from agentrt.plan.planner import Plan, Point

WIDTH, HEIGHT = 960, 680
LEFT, RIGHT = 84, 760
TOP, BOTTOM = 128, 470
STRIP_TOP, STRIP_BOTTOM = 530, 620
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")
"""Okabe and Ito's palette, which readers with colour-blindness can tell apart."""


def write(plan: Plan, target: Path) -> None:
    """Write the plot; the ending of the name says how.

    :raises ConfigError: if the ending is another, matplotlib is missing, the file can't be written, or the plan has
        fewer than two points.
    """
    if len(plan.curve) < 2:
        raise ConfigError("a plot needs teams of at least two sizes; raise --plot-to")
    try:
        match target.suffix.lower():
            case ".svg":
                target.write_text(svg(plan), encoding="utf-8")
            case ".html" | ".htm":
                target.write_text(page(plan), encoding="utf-8")
            case ".png":
                _png(plan, target)
            case _:
                raise ConfigError(f"{str(target)!r} must end in .svg, .html or .png")
    except OSError as error:
        raise ConfigError(f"can't write {str(target)!r}: {error.strerror}") from error


@dataclass(frozen=True, slots=True)
class _Scale:
    """From data to pixels: developers to the right, months upwards."""

    developers: int
    months: float
    gpus: int

    def x(self, developers: float) -> float:
        return LEFT + (RIGHT - LEFT) * developers / self.developers

    def y(self, months: float) -> float:
        return BOTTOM - (BOTTOM - TOP) * min(months, 50 * self.months) / self.months

    def gpu_y(self, gpus: float) -> float:
        return STRIP_BOTTOM - (STRIP_BOTTOM - STRIP_TOP) * gpus / self.gpus


def _scale(plan: Plan) -> _Scale:
    """Up to twice the hardware's life, or further, up to 20 years, where nothing pays back before."""
    lowest = min((m[0] for point in plan.curve for m in point.months if m[0] is not None), default=0.0)
    years = max(plan.request.years * 2, min(20, lowest * 1.5 / 12))
    most = max(point.gpus for point in plan.curve)
    return _Scale(plan.curve[-1].developers, math.ceil(years) * 12, most)


def svg(plan: Plan) -> str:
    """The plot as one SVG document."""
    scale = _scale(plan)
    body = [
        *_titles(plan), *_frame(plan, scale), *_strip(plan, scale), *_curves(plan, scale),
        _written_off(plan, scale), *_legend(plan), *_this_plan(plan, scale),
    ]  # fmt: skip
    lines = "\n".join(body)
    label = escape(f"Months until own GPUs have paid for themselves, by number of developers: {plan.model.name}")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'role="img" aria-label="{label}" font-family="DejaVu Sans, Verdana, Arial, sans-serif" font-size="13" '
        f'fill="#222">\n<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>\n{lines}\n</svg>\n'
    )


def _text(
    x: float, y: float, text: str, *, size: int = 13, anchor: str = "start", fill: str = "#222", **more: str
) -> str:
    extra = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in more.items())
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{fill}"{extra}>'
        f"{escape(text)}</text>"
    )


def _line(x1: float, y1: float, x2: float, y2: float, stroke: str = "#ddd", **more: str) -> str:
    extra = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in more.items())
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{stroke}"{extra}/>'


def _titles(plan: Plan) -> list[str]:
    work, model = plan.request.work, plan.model
    title = f"When own {plan.gpu.name}s have paid for themselves: {model.name} ({model.quantisation.name})"
    load = (
        f"{work.sessions:g} sessions a developer, {work.context:,} tokens of context, {work.tool_wait:.0%} of a"
        f" session's time waiting for tools, {plan.request.hours:g} hours a month"
    )
    caveat = "Estimates from sizes and datasheets, not measurements; each team on the fewest GPUs that carry its load"
    return [
        _text(LEFT, 30, title, size=18, font_weight="bold"),
        _text(LEFT, 52, load, size=12, fill="#555"),
        _text(LEFT, 69, caveat, size=12, fill="#555"),
    ]


def _frame(plan: Plan, scale: _Scale) -> Iterator[str]:
    life = plan.request.years * 12
    yield f'<rect x="{LEFT}" y="{TOP}" width="{RIGHT - LEFT}" height="{scale.y(life) - TOP:.1f}" fill="#f3f3f3"/>'
    step = 12 if scale.months <= 96 else 24 if scale.months <= 192 else 48
    for months in range(0, int(scale.months) + 1, step):
        yield _line(LEFT, scale.y(months), RIGHT, scale.y(months))
        yield _text(LEFT - 8, scale.y(months) + 4, str(months), anchor="end")
    yield _line(LEFT, scale.y(life), RIGHT, scale.y(life), "#555", stroke_dasharray="2 3")
    for developers in _ticks(scale.developers):
        for low, high in ((TOP, BOTTOM), (STRIP_TOP, STRIP_BOTTOM)):
            yield _line(scale.x(developers), low, scale.x(developers), high, "#eee")
        yield _text(scale.x(developers), STRIP_BOTTOM + 18, str(developers), anchor="middle")
    yield _line(LEFT, BOTTOM, RIGHT, BOTTOM, "#222")
    yield _line(LEFT, TOP, LEFT, BOTTOM, "#222")
    middle = (TOP + BOTTOM) / 2
    yield _text(28, middle, "Break-even (months after purchase)", anchor="middle", transform=f"rotate(-90 28 {middle})")
    yield _text((LEFT + RIGHT) / 2, STRIP_BOTTOM + 42, "Developers", anchor="middle")


def _ticks(most: int, wanted: int = 10) -> list[int]:
    """Round numbers from 0 to ``most``."""
    rough = max(1.0, most / wanted)
    power = 10 ** math.floor(math.log10(rough))
    step = next(int(power * unit) for unit in (1, 2, 5, 10) if power * unit >= rough)
    return list(range(0, most + 1, max(1, step)))


def _strip(plan: Plan, scale: _Scale) -> Iterator[str]:
    """Below: how many GPUs each team needs."""
    for gpus in sorted({0, scale.gpus, *(_ticks(scale.gpus, 3))}):
        if gpus in (0, scale.gpus) or scale.gpu_y(gpus) - scale.gpu_y(scale.gpus) > 22:
            yield _line(LEFT, scale.gpu_y(gpus), RIGHT, scale.gpu_y(gpus))
            yield _text(LEFT - 8, scale.gpu_y(gpus) + 4, str(gpus), anchor="end")
    path: list[str] = []
    previous: int | None = None
    for point in plan.curve:
        if previous is not None:
            path.append(f"L{scale.x(point.developers):.1f} {scale.gpu_y(previous):.1f}")
        path.append(f"{'L' if path else 'M'}{scale.x(point.developers):.1f} {scale.gpu_y(point.gpus):.1f}")
        previous = point.gpus
    yield f'<path class="gpus" d="{" ".join(path)}" fill="none" stroke="#444" stroke-width="2"/>'
    yield _line(LEFT, STRIP_BOTTOM, RIGHT, STRIP_BOTTOM, "#222")
    yield _line(LEFT, STRIP_TOP, LEFT, STRIP_BOTTOM, "#222")
    middle = (STRIP_TOP + STRIP_BOTTOM) / 2
    yield _text(28, middle, "GPUs", anchor="middle", transform=f"rotate(-90 28 {middle})")
    yield _text(LEFT, STRIP_TOP - 10, f"{plan.gpu.name}s that the team needs", size=12, fill="#555")


def _curves(plan: Plan, scale: _Scale) -> Iterator[str]:
    yield (
        f'<clipPath id="inside"><rect x="{LEFT}" y="{TOP}" width="{RIGHT - LEFT}" height="{BOTTOM - TOP}"/></clipPath>'
    )
    ends: list[tuple[float, str, str]] = []  # height, name, colour
    for index, one in enumerate(plan.alternatives):
        colour = COLOURS[index % len(COLOURS)]
        cheap = _visible(plan.curve, index, 0)
        dear = _visible(plan.curve, index, 1)
        yield from _band(cheap, dear, scale, colour)
        yield _path(cheap, scale, colour, "gpus-only")
        yield _path(dear, scale, colour, "whole-server", stroke_dasharray="7 4")
        ends.append((_end(cheap, scale), _against(one), colour))
    yield from _labels(ends, scale)
    if all(y <= TOP + 6 for y, _, _ in ends):
        nothing = f"No team here breaks even within {scale.months / 12:g} years"
        yield _text((LEFT + RIGHT) / 2, (TOP + BOTTOM) / 2, nothing, size=15, anchor="middle", fill="#555")


def _written_off(plan: Plan, scale: _Scale) -> str:
    """What the grey means, with a white rim where curves run behind it."""
    late = f"later than the {plan.request.years:g} years the hardware is written off over"
    rim = {"paint_order": "stroke", "stroke": "#fff", "stroke_width": "4", "stroke_linejoin": "round"}
    height = scale.y(plan.request.years * 12) - 7
    return _text(RIGHT - 6, height, late, size=12, anchor="end", fill="#444", **rim)


def _visible(curve: Sequence[Point], index: int, basis: int) -> list[tuple[int, float]]:
    """The points with a break-even at all, in order of team size."""
    return [(p.developers, months) for p in curve if (months := p.months[index][basis]) is not None]


def _against(one: Alternative) -> str:
    return f"vs API, ${one.per_developer:,.0f} a developer" if one.name == "API" else f"vs {one.name}"


def _path(points: list[tuple[int, float]], scale: _Scale, colour: str, kind: str, **more: str) -> str:
    extra = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in more.items())
    moves = " ".join(
        f"{'L' if number else 'M'}{scale.x(developers):.1f} {scale.y(months):.1f}"
        for number, (developers, months) in enumerate(points)
    )
    return (
        f'<path class="{kind}" d="{moves}" fill="none" stroke="{colour}" stroke-width="2.5" '
        f'clip-path="url(#inside)"{extra}/>'
    )


def _band(cheap: list[tuple[int, float]], dear: list[tuple[int, float]], scale: _Scale, colour: str) -> Iterator[str]:
    """The room between the two bases, where the truth lies."""
    if len(dear) < 2:
        return
    first = dear[0][0]
    there = [f"{scale.x(d):.1f} {scale.y(m):.1f}" for d, m in cheap if d >= first]
    back = [f"{scale.x(d):.1f} {scale.y(m):.1f}" for d, m in reversed(dear)]
    yield (
        f'<path class="band" d="M{" L".join(there + back)} Z" fill="{colour}" fill-opacity="0.12" '
        'clip-path="url(#inside)"/>'
    )


def _end(points: list[tuple[int, float]], scale: _Scale) -> float:
    """The height at which a curve leaves the plot on the right, at the top if it is above it."""
    return max(TOP + 6, scale.y(points[-1][1])) if points else TOP + 6


def _labels(ends: list[tuple[float, str, str]], scale: _Scale) -> Iterator[str]:
    """Names at the curves' ends, moved apart; a curve that is off the plot says so."""
    taken = -math.inf
    for y, text, colour in sorted(ends):
        place = max(y, taken + 32)
        taken = place
        yield _text(RIGHT + 10, place + 4, text, fill=colour, font_weight="bold", size=12)
        if y <= TOP + 6:
            yield _text(RIGHT + 10, place + 19, f"beyond {scale.months:g} months, or never", fill=colour, size=11)


def _legend(plan: Plan) -> Iterator[str]:
    gpus, server = plan.costs[0].basis, plan.costs[1].basis
    rows = (
        (f"GPUs only: ${gpus.price:,.0f} and {gpus.watts / 1000:g} kW each, PUE {gpus.pue:g}", ""),
        (
            f"whole server: {server.price_factor:g} x price, {server.watts_factor:.2f} x power, PUE {server.pue:g}",
            "7 4",
        ),
    )
    for number, (text, dashes) in enumerate(rows):
        x, y = LEFT + number * 340, 102
        more = {"stroke_dasharray": dashes} if dashes else {}
        yield _line(x, y - 4, x + 34, y - 4, "#444", stroke_width="2.5", **more)
        yield _text(x + 42, y, text, size=12)


def _this_plan(plan: Plan, scale: _Scale) -> Iterator[str]:
    developers = plan.request.work.developers
    if developers > scale.developers:
        return
    x = scale.x(developers)
    for low, high in ((TOP, BOTTOM), (STRIP_TOP, STRIP_BOTTOM)):
        yield _line(x, low, x, high, "#888", stroke_dasharray="3 3")
    yield _text(x + 5, BOTTOM - 8, f"{developers} developers", size=12, fill="#555")


def page(plan: Plan) -> str:
    """The plot with its numbers as a table, one HTML file without scripts or links."""
    heads = "".join(f"<th colspan=2>{escape(_against(one))}</th>" for one in plan.alternatives)
    under = "<th>GPUs only</th><th>whole server</th>" * len(plan.alternatives)
    step = max(1, len(plan.curve) // 20)
    rows = "\n".join(_row(point) for point in plan.curve[::step])
    name = escape(plan.model.name)
    return f"""<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>Break-even: {name} on {plan.gpu.name}</title>
<style>
body {{ font: 14px/1.45 "DejaVu Sans", Verdana, Arial, sans-serif; color: #222; max-width: 980px; margin: 24px auto; }}
svg {{ max-width: 100%; height: auto; }}
table {{ border-collapse: collapse; margin: 16px 84px; }}
th, td {{ padding: 3px 12px; text-align: right; border-bottom: 1px solid #ddd; }}
p {{ margin: 8px 84px; }}
</style></head>
<body>
{svg(plan)}
<p>Months after purchase until what is saved has paid for the fewest GPUs that carry each team.</p>
<table>
<thead><tr><th rowspan=2>developers</th><th rowspan=2>{plan.gpu.name}s</th>{heads}</tr><tr>{under}</tr></thead>
<tbody>
{rows}
</tbody></table>
<p>Command for one copy: <code>{escape(plan.command[-1])}</code></p>
</body></html>
"""


def _row(point: Point) -> str:
    cells = "".join(
        f"<td>{'never' if months is None else f'{months:,.0f}'}</td>" for pair in point.months for months in pair
    )
    return f"<tr><td>{point.developers}</td><td>{point.gpus}</td>{cells}</tr>"


def _png(plan: Plan, target: Path) -> None:
    try:
        matplotlib = importlib.import_module("matplotlib")
    except ImportError as error:
        raise ConfigError("a .png needs matplotlib (pip install matplotlib); .svg and .html need nothing") from error
    matplotlib.use("Agg")
    pyplot = importlib.import_module("matplotlib.pyplot")
    figure, axes = pyplot.subplots(figsize=(9.6, 6))
    for index, one in enumerate(plan.alternatives):
        for basis, style in ((0, "-"), (1, "--")):
            points = _visible(plan.curve, index, basis)
            label = f"vs {one.name}, {plan.costs[basis].basis.name}"
            axes.plot([d for d, _ in points], [m for _, m in points], style, color=COLOURS[index % 4], label=label)
    axes.axhline(plan.request.years * 12, color="#555", linestyle=":")
    axes.set(xlabel="Developers", ylabel="Break-even (months after purchase)", ylim=(0, _scale(plan).months))
    axes.set_title(f"When own {plan.gpu.name}s have paid for themselves: {plan.model.name} (estimates)")
    axes.legend()
    figure.savefig(target, dpi=120)
    pyplot.close(figure)
