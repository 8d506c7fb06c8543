"""Colour, marker and line of every curve: the same in every figure of a report."""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

from labelbench_ray.reporting.comparisons import BASELINE

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Colours that people with any kind of colour vision tell apart (Okabe and Ito, 2008), without black and yellow,
which vanish on a dark or a light page. Markers and dashes carry the same information."""

MARKERS = (("circle", "o"), ("square", "s"), ("diamond", "D"), ("triangle-up", "^"), ("triangle-down", "v"))
"""(plotly, matplotlib). Their number and that of the colours have no common factor: 30 pairs before one repeats."""

GREY = "#808080"


@dataclass(frozen=True)
class Style:
    """How one curve is drawn; markers and dashes in the words of plotly and of matplotlib."""

    color: str
    symbol: str
    marker: str
    dash: str = "solid"
    linestyle: str | tuple[int, tuple[int, int]] = "-"


def series_styles(names: Iterable[str], cheats: Iterable[str] = ()) -> dict[str, Style]:
    """A style for each name: the baseline grey and dashed, upper bounds dotted, after the sixth colour long dashes."""
    others = sorted(set(names) - {BASELINE})
    dotted = set(cheats)
    styles = {BASELINE: Style(GREY, "circle-open", "o", "dash", "--")}
    for index, (name, color, (symbol, marker)) in enumerate(
        zip(others, itertools.cycle(COLORS), itertools.cycle(MARKERS), strict=False)
    ):
        line = ("dot", ":") if name in dotted else ("solid", "-") if index < len(COLORS) else ("longdash", (0, (7, 2)))
        styles[name] = Style(color, symbol, marker, line[0], line[1])
    return styles
