"""Learning curves as one PNG or PDF, for a README or a paper. Drawn without pyplot, so no global state is touched."""

import math
import textwrap
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labelbench_ray.reporting.comparisons import BASELINE, COLUMNS, Comparison, Evidence
from labelbench_ray.reporting.curves import MIN_SEEDS, summarize
from labelbench_ray.reporting.figures import visible_range
from labelbench_ray.reporting.measures import count, readable
from labelbench_ray.reporting.styles import Style, series_styles

if TYPE_CHECKING:
    import pandas as pd

DPI = 200
TITLE_WIDTH = 46
"""Letters of a title that fit over a panel; a longer one gets another line."""
_LINE_INCHES, _LETTER_INCHES = 0.75, 0.075
"""Of the legend: a line and the gaps beside it, a letter of 8.5 points."""
INK, FAINT = "#222222", "#d9d9d9"
_SIZES: dict[Any, Any] = {
    "axes.titlesize": 9,
    "axes.labelsize": 8.5,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "font.size": 8.5,
}


def draw_curves(evidence: Evidence, path: Path) -> None:
    """One panel per comparison: mean of its leading measure against labels, with 95 % intervals over seeds."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    comparisons = evidence.comparisons
    styles = series_styles(
        {name for comparison in comparisons for name in comparison.series},
        {name for comparison in comparisons for name in comparison.cheats},
    )
    columns = {0: 1, 1: 1, 2: 2, 4: 2}.get(len(comparisons), 3)
    lines = max(1, math.ceil(len(comparisons) / columns))
    size = (6.4, 4.2) if columns == 1 else (3.4 * columns, 3.0 * lines + 0.5)
    with mpl.rc_context(_SIZES), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing", UserWarning)  # a name in a script that the font lacks
        figure = Figure(figsize=size, dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        panels = list(figure.subplots(lines, columns, squeeze=False).flat)
        for panel, comparison in zip(panels, comparisons, strict=False):
            _draw_panel(panel, comparison, styles, _title(evidence, comparison))
        for panel in panels[len(comparisons) :]:
            panel.set_axis_off()
        _draw_legend(figure, panels)
        figure.savefig(path, dpi=DPI, metadata={"CreationDate" if path.suffix == ".pdf" else "Software": None})


def _draw_panel(panel: Any, comparison: Comparison, styles: Mapping[str, Style], title: str) -> None:
    measure = comparison.primary
    curves = summarize(comparison.measured(measure), ["series", "num_labeled"])
    scaled = curves.assign(**{name: curves[name] * measure.scale for name in ("mean", "low", "high")})
    for name in comparison.series:
        _draw_curve(panel, name, scaled[scaled["series"] == name].sort_values("num_labeled"), styles[name])
    panel.set_ylim(*visible_range(scaled))
    panel.set_title(title, color=INK, parse_math=False, loc="left")
    panel.set_xlabel("Labels bought", color=INK)
    panel.set_ylabel(f"{measure.title}, {measure.unit}".rstrip(", "), color=INK)
    panel.grid(axis="y", color=FAINT, linewidth=0.6)
    panel.spines[["top", "right"]].set_visible(False)
    panel.spines[["left", "bottom"]].set_color(FAINT)
    panel.tick_params(color=FAINT, labelcolor=INK)


def _draw_curve(panel: Any, name: str, points: "pd.DataFrame", style: Style) -> None:
    labels = points["num_labeled"].to_numpy()
    panel.plot(
        labels,
        points["mean"].to_numpy(),
        color=style.color,
        linestyle=style.linestyle,
        marker=style.marker,
        markersize=4,
        markerfacecolor="white" if name == BASELINE else style.color,
        linewidth=1.5,
        zorder=2 if name == BASELINE else 3,
        label=f" {name}",  # a label that begins with an underscore would be left out
    )
    steady = points["n"] >= MIN_SEEDS
    low, high = (points[end].where(steady).to_numpy() for end in ("low", "high"))
    if len(labels) > 1:
        panel.fill_between(labels, low, high, color=style.color, alpha=0.13, linewidth=0)
    else:
        panel.vlines(labels, low, high, color=style.color, linewidth=1)


def _draw_legend(figure: Any, panels: list[Any]) -> None:
    handles = {
        label: handle for panel in panels for handle, label in zip(*panel.get_legend_handles_labels(), strict=True)
    }
    if not handles:
        return
    letters = int((figure.get_figwidth() - _LINE_INCHES) / _LETTER_INCHES)
    legend = figure.legend(
        handles.values(),
        [f" {textwrap.fill(label.strip(), letters)}" for label in handles],
        loc="outside lower center",
        ncols=_legend_columns(figure, list(handles)),
        frameon=False,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)
        text.set_color(INK)


def _legend_columns(figure: Any, labels: list[str]) -> int:
    """As many as fit over the figure when the longest label is set, its line and gaps beside it."""
    inches = _LINE_INCHES + _LETTER_INCHES * max(map(len, labels))
    return max(1, min(len(labels), int(figure.get_figwidth() / inches)))


def _title(evidence: Evidence, comparison: Comparison) -> str:
    """What tells this panel from the others, and a caveat where machines are mixed."""
    varying = [column for column in COLUMNS[1:] if len({other.columns[column] for other in evidence.comparisons}) > 1]
    seeds = max(comparison.final.groupby("series")["seed"].nunique(), default=0)
    name = " · ".join(readable(comparison.columns[column]) for column in ("dataset", *varying))
    mixed = ", mixed numeric classes" if len(comparison.numeric_classes) > 1 else ""
    return textwrap.fill(f"{name} ({count(int(seeds), 'seed')}{mixed})", TITLE_WIDTH)
