"""Learning curves as plain data: what the page's script draws. Numbers are written out here, so that the page and its
hover text always agree with the tables."""

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from labelbench_ray.reporting.comparisons import Comparison
from labelbench_ray.reporting.curves import MIN_SEEDS, summarize
from labelbench_ray.reporting.evaluations import EndToEnd
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


def end_to_end_curves(evaluation: EndToEnd, styles: Mapping[str, Style]) -> Data | None:
    """End-to-end and proxy scores on the same sets; None with a single number of labels, where a table says it all."""
    if evaluation.rows["num_labeled"].nunique() < 2:
        return None
    comparison, measure, by = evaluation.comparison, evaluation.measure, ["series", "num_labeled"]
    end_to_end = summarize(evaluation.rows, by)
    proxy = summarize(evaluation.rows.assign(value=evaluation.rows["proxy"]), by)
    choices = [
        _choice(f"{measure.title} of {evaluation.trainer}", measure, comparison.series, end_to_end),
        _choice(f"{measure.title} of the model that selected", measure, comparison.series, proxy),
    ]
    return {"series": _described(comparison, styles), "choices": choices, "shown": 0}


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


def _choice(title: str, measure: Measure, series: Sequence[str], curves: "pd.DataFrame") -> Data:
    points: dict[str, list[Any]] = {name: [] for name in series}
    for point in curves.sort_values("num_labeled").to_dict("records"):
        points[point["series"]].append(point)
    low, high = visible_range(curves)
    axis = f"{title}, {measure.unit}" if measure.unit else title
    return {
        "title": title,
        "axis": html.escape(axis),
        "range": (low * measure.scale, high * measure.scale),
        "curves": [_curve(measure, points[name]) for name in series],
    }


def _curve(measure: Measure, points: list[Any]) -> Data:
    return {
        "x": [int(point["num_labeled"]) for point in points],
        "mean": _numbers(measure.scale * point["mean"] for point in points),
        **{end: _numbers(_band_end(point, end) * measure.scale for point in points) for end in ("low", "high")},
        "text": [_hover(measure, point) for point in points],
    }


def _band_end(point: Mapping[str, Any], end: str) -> float:
    """End of the interval; unknown (no band is drawn) below MIN_SEEDS, where only the hover text gives it."""
    return float(point[end]) if point["n"] >= MIN_SEEDS else math.nan


def _hover(measure: Measure, point: Mapping[str, Any]) -> str:
    mean = f"{measure.write(point['mean'])} {measure.unit}".rstrip()
    interval = (
        f" [{measure.write(point['low'])}, {measure.write(point['high'])}]" if math.isfinite(point["low"]) else ""
    )
    return f"{count(int(point['num_labeled']), 'label')}<br>{mean}{interval}<br>{count(int(point['n']), 'seed')}"


def _numbers(values: Iterable[float]) -> list[float | None]:
    """JSON knows no NaN: a gap in the curve."""
    return [float(value) if math.isfinite(value) else None for value in values]
