"""Critical-difference diagram: strategies on a line of mean ranks, joined where they are not told apart.

Demsar, 2006, Statistical Comparisons of Classifiers over Multiple Data Sets, figure 1. Laid out here once and drawn
twice: as SVG within the page, in the page's own colours, and as PDF for a paper.
"""

import html
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labelbench_ray.reporting.comparisons import Evidence
from labelbench_ray.reporting.measures import written
from labelbench_ray.reporting.rankings import Ranking, ranking

WIDTH, SIDE = 760.0, 230.0
"""Of the whole drawing, and of the names on either side of the line of ranks, in pixels."""
LINE, BAR, AXIS = 20.0, 9.0, 58.0
"""Height of a name's line, of a bar's, and where the line of ranks lies."""
LETTERS = 30
"""Of a name that fit beside the line."""


@dataclass(frozen=True)
class Diagram:
    """Places in pixels from the upper left."""

    height: float
    critical: tuple[float, float, str]
    """Both ends of the critical difference, and its size in words."""
    ticks: tuple[tuple[float, int], ...]
    """(x, rank)"""
    names: tuple[tuple[float, float, bool, str], ...]
    """(x of the mean rank, y of its name, whether the name stands on the left, the name and its mean rank)"""
    bars: tuple[tuple[float, float, float], ...]
    """(x, x, y): strategies between the two are not told apart."""


def rank_diagram(evidence: Evidence) -> Diagram | None:
    """Of all comparisons; None where fewer than three strategies can be ranked."""
    found = ranking(evidence)
    return laid_out(found) if found is not None and len(found.mean_ranks) > 2 else None


def groups(mean_ranks: list[float], limit: float) -> list[tuple[int, int]]:
    """First and last place of every longest run of ascending mean ranks within the limit, of two or more."""
    ends = [
        max(last for last, rank in enumerate(mean_ranks) if rank - mean_ranks[first] <= limit)
        for first in range(len(mean_ranks))
    ]
    runs = [(first, last) for first, last in enumerate(ends) if last > first]
    return [run for run in runs if not any(other[0] < run[0] and other[1] >= run[1] for other in runs)]


def laid_out(found: Ranking) -> Diagram:
    """The better half of the strategies is named on the left, the best on top."""
    ranks = [float(rank) for rank in found.mean_ranks]
    most, limit = len(ranks), found.critical_difference

    def place(rank: float) -> float:
        return SIDE + (rank - 1) / (most - 1) * (WIDTH - 2 * SIDE)

    bars = [
        (place(ranks[first]) - 3, place(ranks[last]) + 3, AXIS + 12 + BAR * number)
        for number, (first, last) in enumerate(groups(ranks, limit))
    ]
    top, half = AXIS + 24 + BAR * len(bars), (most + 1) // 2
    names = []
    for number, (name, rank) in enumerate(zip(found.mean_ranks.index, ranks, strict=True)):
        line = number if number < half else most - 1 - number
        shown = name if len(name) <= LETTERS else f"{name[: LETTERS - 1]}…"
        names.append((place(rank), top + LINE * line, number < half, f"{shown} {written(rank, 2)}"))
    critical = (SIDE, min(place(1 + limit), WIDTH), f"critical difference {written(limit, 2)}")
    ticks = tuple((place(rank), rank) for rank in range(1, most + 1, -(-most // 20)))
    return Diagram(top + LINE * half, critical, ticks, tuple(names), tuple(bars))


def as_svg(diagram: Diagram) -> str:
    """The drawing as an SVG element in the colours of its surroundings."""
    parts: list[str] = []
    start, end, told = diagram.critical
    parts += [_svg_line(start, 16, end, 16), *(_svg_line(x, 11, x, 21) for x in (start, end))]
    parts += [_svg_text((start + end) / 2, 8, "middle", told)]
    parts += [_svg_line(SIDE, AXIS, WIDTH - SIDE, AXIS)]
    for x, rank in diagram.ticks:
        parts += [_svg_line(x, AXIS - 6, x, AXIS), _svg_text(x, AXIS - 11, "middle", str(rank))]
    for x, y, is_left, name in diagram.names:
        edge = SIDE - 14 if is_left else WIDTH - SIDE + 14
        path = f"M{x:.1f} {AXIS:.1f}V{y:.1f}H{edge:.1f}"
        parts.append(f'<path d="{path}" fill="none" stroke="currentColor" stroke-width="1" opacity="0.7"/>')
        anchor = "end" if is_left else "start"
        parts.append(_svg_text(edge + (-6 if is_left else 6), y + 4, anchor, name))
    for x, to, y in diagram.bars:
        parts.append(f'<line x1="{x:.1f}" x2="{to:.1f}" y1="{y:.1f}" y2="{y:.1f}" class="alike"/>')
    label = "Mean ranks; strategies under one bar are not told apart. The table below has the numbers."
    return (
        f'<svg class="ranks" viewBox="0 -8 {WIDTH:.0f} {diagram.height + 8:.0f}" role="img" aria-label="{label}">'
        f"{''.join(parts)}</svg>"
    )


def draw_diagram(diagram: Diagram, path: Path) -> None:
    """The same as a PDF. Raises OSError where it cannot be written."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH / 100, (diagram.height + 8) / 100))
    FigureCanvasAgg(figure)
    axes: Any = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, WIDTH)
    axes.set_ylim(diagram.height, -8)
    axes.set_axis_off()
    thin: dict[str, Any] = {"color": "black", "linewidth": 0.8}
    start, end, told = diagram.critical
    axes.plot([start, start, start, end, end, end], [11, 21, 16, 16, 11, 21], **thin)
    axes.plot([SIDE, WIDTH - SIDE], [AXIS, AXIS], **thin)
    texts = [((start + end) / 2, 8.0, "center", told), *((x, AXIS - 11, "center", str(r)) for x, r in diagram.ticks)]
    for x, _ in diagram.ticks:
        axes.plot([x, x], [AXIS - 6, AXIS], **thin)
    for x, y, is_left, name in diagram.names:
        edge = SIDE - 14 if is_left else WIDTH - SIDE + 14
        axes.plot([x, x, edge], [AXIS, y, y], **thin)
        texts.append((edge + (-6 if is_left else 6), y + 4, "right" if is_left else "left", name))
    for x, to, y in diagram.bars:
        axes.plot([x, to], [y, y], color="black", linewidth=3, solid_capstyle="round")
    for x, y, align, text in texts:
        axes.text(x, y, text, ha=align, va="baseline", fontsize=9, parse_math=False)
    figure.savefig(path, metadata={"CreationDate": None})


def _svg_line(x: float, y: float, to_x: float, to_y: float) -> str:
    return f'<path d="M{x:.1f} {y:.1f}L{to_x:.1f} {to_y:.1f}" stroke="currentColor" stroke-width="1"/>'


def _svg_text(x: float, y: float, anchor: str, text: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html.escape(text)}</text>'
