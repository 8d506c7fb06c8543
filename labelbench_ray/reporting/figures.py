"""Learning curves as plain data: what the page's script draws. Numbers are written out here, so that the page and its
hover text always agree with the tables."""

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from labelbench_ray.reporting.comparisons import Comparison
from labelbench_ray.reporting.cost_curves import SPENT, spent
from labelbench_ray.reporting.curves import MIN_SEEDS, summarize
from labelbench_ray.reporting.evaluations import EndToEnd, Gap
from labelbench_ray.reporting.measures import Measure, count
from labelbench_ray.reporting.styles import Style

if TYPE_CHECKING:
    import pandas as pd

Data = dict[str, Any]


def learning_curves(comparison: Comparison, styles: Mapping[str, Style]) -> Data:
    """Every measure of a comparison against labels; the one that ranks strategies is shown first."""
    curves = summarize(comparison.scores, ["split", "metric", "series", "num_labeled"])
    parts = dict(iter(curves.groupby(["split", "metric"])))
    choices = [
        _choice(measure.title, measure, comparison.series, parts[measure.split, measure.metric])
        for measure in comparison.measures
    ]
    names = [measure.title for measure in comparison.measures]
    shown = names.index(comparison.primary.title) if names else 0
    return {"series": _described(comparison, styles), "choices": choices, "shown": shown}


def cost_curves(comparison: Comparison, styles: Mapping[str, Style]) -> Data | None:
    """The comparison's own measure against seconds, on a logarithmic axis; None where no times are recorded."""
    measure, choices = comparison.primary, []
    for metric, title in SPENT.items():
        curves = spent(comparison, metric)
        if curves["seconds"].gt(0).any():
            choice = _choice(title, measure, comparison.series, curves, x="seconds")
            choices.append({**choice, "axis": html.escape(_axis(measure.title, measure.unit)), "x_axis": title})
    told = {"series": _described(comparison, styles), "choices": choices, "shown": 0, "control": "Time"}
    return told if choices else None


def end_to_end_curves(evaluation: EndToEnd, styles: Mapping[str, Style]) -> Data | None:
    """Both models' scores on the same sets and their difference, by every measure that both have.

    None with a single number of labels, where a table says it all.
    """
    if evaluation.num_budgets < 2:
        return None
    choices = [choice for gap in evaluation.gaps for choice in _gap_choices(evaluation, gap)]
    return {"series": _described(evaluation.comparison, styles), "choices": choices, "shown": 0}


def _gap_choices(evaluation: EndToEnd, gap: Gap) -> list[Data]:
    measure, series, by = gap.measure, evaluation.comparison.series, ["series", "num_labeled"]
    return [
        _choice(f"{measure.title} of the evaluated model", measure, series, summarize(gap.rows, by)),
        _choice(f"{measure.title} of the selecting model", measure, series, summarize(gap.proxies, by)),
        _choice(
            f"{measure.title}, evaluated − selecting",
            measure,
            series,
            summarize(gap.differences, by),
            difference=True,
        ),
    ]


def visible_range(curves: "pd.DataFrame") -> tuple[float, float]:
    """Axis range around all means and all bands. A band needs MIN_SEEDS seeds: the interval of two is so wide that
    it would flatten every curve."""
    steady = curves[curves["n"] >= MIN_SEEDS]
    values = [*curves["mean"], *steady["low"], *steady["high"]]
    finite = [value for value in values if math.isfinite(value)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
    margin = 0.06 * (high - low) or 0.05 * abs(high) or 0.5
    return low - margin, high + margin


def _described(comparison: Comparison, styles: Mapping[str, Style]) -> list[Data]:
    """Plotly reads a little HTML in names, so they are escaped for it."""
    return [{"name": html.escape(name), **asdict(styles[name])} for name in comparison.series]


def _choice(
    title: str,
    measure: Measure,
    series: Sequence[str],
    curves: "pd.DataFrame",
    *,
    difference: bool = False,
    x: str = "num_labeled",
) -> Data:
    """One curve per series over the column ``x``. Those of a difference are read from the line at zero."""
    points: dict[str, list[Any]] = {name: [] for name in series}
    for point in curves.sort_values("num_labeled").to_dict("records"):
        points[point["series"]].append(point)
    low, high = visible_range(curves)
    if difference:
        low, high = min(low, 0.0), max(high, 0.0)
    return {
        "title": title,
        "axis": html.escape(_axis(title, _unit(measure, difference))),
        "range": (low * measure.scale, high * measure.scale),
        "zero_line": difference,
        "curves": [_curve(measure, points[name], difference, x) for name in series],
    }


def _axis(title: str, unit: str) -> str:
    return f"{title}, {unit}" if unit else title


def _unit(measure: Measure, difference: bool) -> str:
    return "points" if difference and measure.is_fraction else "" if difference else measure.unit


def _curve(measure: Measure, points: list[Any], difference: bool, x: str) -> Data:
    return {
        "x": [int(point[x]) if x == "num_labeled" else float(f"{point[x]:.4g}") for point in points],
        "mean": _numbers(measure.scale * point["mean"] for point in points),
        **{end: _numbers(_band_end(point, end) * measure.scale for point in points) for end in ("low", "high")},
        "text": [_hover(measure, point, difference) for point in points],
    }


def _band_end(point: Mapping[str, Any], end: str) -> float:
    """End of the interval; unknown (no band is drawn) below MIN_SEEDS, where only the hover text gives it."""
    return float(point[end]) if point["n"] >= MIN_SEEDS else math.nan


def _hover(measure: Measure, point: Mapping[str, Any], difference: bool) -> str:
    write = measure.write_signed if difference else measure.write
    mean = f"{write(point['mean'])} {_unit(measure, difference)}".rstrip()
    interval = f" [{write(point['low'])}, {write(point['high'])}]" if math.isfinite(point["low"]) else ""
    spent = f"<br>{point['seconds']:,.3g} s" if "seconds" in point else ""
    return f"{count(int(point['num_labeled']), 'label')}{spent}<br>{mean}{interval}<br>{count(int(point['n']), 'seed')}"


def _numbers(values: Iterable[float]) -> list[float | None]:
    """JSON knows no NaN: a gap in the curve."""
    return [float(value) if math.isfinite(value) else None for value in values]
