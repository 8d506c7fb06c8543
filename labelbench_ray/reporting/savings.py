"""Labels saved: how few a strategy needs for what the baseline reaches with all of its own, with intervals.

Read off the mean curves over seeds, without a running maximum. Intervals are percentiles of a bootstrap (Efron and
Tibshirani, 1993, An Introduction to the Bootstrap): seeds are drawn again with replacement, the same ones for both
curves and for the goal. Where a draw's curve never reaches its goal, the number of labels is only known to be larger
than all that were bought; such draws count as infinite, so that an end of an interval may be "not reached".
"""

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from labelbench_ray.reporting.cells import Cell, Table, against_heading, baseline_cell, by_series, mean_cell, name_cell
from labelbench_ray.reporting.comparisons import BASELINE, Comparison
from labelbench_ray.reporting.curves import CONFIDENCE, MIN_SEEDS, is_paired, labels_to_reach, on_common_seeds
from labelbench_ray.reporting.measures import ABSENT, Measure, written
from labelbench_ray.reporting.statistics import areas, finished

if TYPE_CHECKING:
    import pandas as pd

DRAWS = 2_000
NOT_REACHED = "not reached"


def label_savings(comparison: Comparison, measure: Measure) -> "pd.DataFrame":
    """Labels that each series needs to reach the baseline's final mean, on the seeds that both finished.

    None for a series whose seeds began with other labels than the baseline's.

    Columns: series, pairs, labels (infinite when never reached), speed_up (the baseline's labels for one of ours, zero
    when never reached), each also as _low and _high (NaN below three seeds), at_start (reached with the first labels:
    fewer may do). All NaN where a score is; empty without a baseline.
    """
    import pandas as pd

    rows = finished(comparison, measure)
    baseline = rows[rows["series"] == BASELINE]
    found = []
    for name, part in rows.groupby("series", sort=True):
        pair = on_common_seeds(part, baseline)
        if not pair[0].empty and is_paired(*pair):
            ours, theirs = map(_curves, pair)
            found.append({"series": name, **_saved(ours, theirs.loc[ours.index], measure, comparison.final_budget)})
    return pd.DataFrame(found, columns=["series", "pairs", *_ENDS["labels"], *_ENDS["speed_up"], "at_start"])


_ENDS = {name: (name, f"{name}_low", f"{name}_high") for name in ("labels", "speed_up")}


def _curves(rows: "pd.DataFrame") -> "pd.DataFrame":
    """Seeds by budgets, NaN for what is not known."""
    return rows.drop_duplicates(["seed", "num_labeled"]).pivot(index="seed", columns="num_labeled", values="value")


def _saved(ours: "pd.DataFrame", theirs: "pd.DataFrame", measure: Measure, budget: int) -> dict[str, Any]:
    seeds, places = len(ours), np.arange(len(ours))[None, :]
    (labels,) = _needed(ours, theirs, measure, places)
    ends = (math.nan, math.nan)
    if seeds >= MIN_SEEDS and not math.isnan(labels):
        draws = np.random.default_rng(0).integers(seeds, size=(DRAWS, seeds))
        needed_R = _needed(ours, theirs, measure, draws)
        tails = [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]
        ends = tuple(np.quantile(needed_R, tails, method="inverted_cdf"))
    factors = (budget / labels, *(budget / end for end in reversed(ends)))
    return {
        "pairs": seeds,
        **dict(zip(_ENDS["labels"], (labels, *ends), strict=True)),
        **dict(zip(_ENDS["speed_up"], factors, strict=True)),
        "at_start": bool(labels == ours.columns[0]),
    }


def _needed(
    ours: "pd.DataFrame", theirs: "pd.DataFrame", measure: Measure, draws_RS: NDArray[np.int64]
) -> NDArray[np.float64]:
    """(R,) labels to reach the goal, of the mean curves of these seeds; infinite where it is not, NaN if one is."""
    means_RT = ours.to_numpy()[draws_RS].mean(axis=1)
    goals_R = theirs.to_numpy()[draws_RS].mean(axis=1)[:, -1]  # averaged alike: the baseline reaches its own
    needed_R = labels_to_reach(ours.columns, means_RT, goals_R, lower_is_better=measure.lower_is_better)
    known_R = np.isfinite(means_RT).all(axis=1) & np.isfinite(goals_R)
    return np.where(known_R, np.where(np.isnan(needed_R), math.inf, needed_R), math.nan)


def savings_table(comparison: Comparison) -> Table | None:
    """Labels needed for the baseline's final mean, and the area under the curve; None with a single budget."""
    measure = comparison.primary
    if comparison.measured(measure)["num_labeled"].nunique() < 2:
        return None
    savings = by_series(label_savings(comparison, measure))
    area = by_series(areas(comparison, measure).frame)
    rows = tuple(
        (
            name_cell(comparison, name),
            *_savings_cells(savings.get(name), comparison.final_budget, name == BASELINE),
            *_area_cells(area.get(name), measure),
        )
        for name in comparison.series
    )
    return Table(
        caption=f"Labels needed to reach the final mean {measure.in_words} of {BASELINE}, and the mean height of "
        "the curve",
        columns=(
            "Strategy",
            "Labels needed",
            "Saved",
            "Speed-up",
            "Mean over the curve",
            against_heading(measure),
        ),
        rows=rows,
        notes=(
            "Interpolated on the mean curve of the trials that reached the last budget; no running maximum. Intervals "
            "are 95 % bootstrap percentiles over seeds, too short where seeds are few: of ten seeds such an interval "
            "holds the truth about nine times in ten, of three about three times in four.",
        ),
    )


def _savings_cells(row: dict[str, Any] | None, budget: int, is_baseline: bool) -> list[Cell]:
    if row is None or math.isnan(row["labels"]):
        return [Cell(ABSENT)] * 3
    needed = Cell(needed_labels(row), "" if is_baseline else _interval(row, "labels", _labels))
    if math.isinf(row["labels"]):
        return [needed, Cell(ABSENT), Cell(ABSENT)]
    saved = budget - row["labels"]
    factor = Cell(_factor(row["speed_up"]), "" if is_baseline else _interval(row, "speed_up", _factor))
    return [needed, Cell(f"{round(saved):,}", f"{100 * saved / budget:.0f} %"), factor]


def needed_labels(row: dict[str, Any]) -> str:
    """``722``, ``≤ 20`` where the first labels do, ``not reached``; a dash where it is not known."""
    if math.isnan(row["labels"]):
        return ABSENT
    return f"≤ {_labels(row['labels'])}" if row["at_start"] else _labels(row["labels"])


def _interval(row: dict[str, Any], name: str, write: Any) -> str:
    _, low, high = (row[key] for key in _ENDS[name])
    return "" if math.isnan(low) else f"[{write(low)}, {write(high)}]"


def _labels(number: float) -> str:
    return NOT_REACHED if math.isinf(number) else f"{round(number):,}"


def _factor(number: float) -> str:
    return f"{written(number, 2)}x" if number else NOT_REACHED


def _area_cells(row: dict[str, Any] | None, measure: Measure) -> list[Cell]:
    if row is None:
        return [Cell(ABSENT), Cell(ABSENT)]
    return [mean_cell(measure, row["mean"], row["standard_error"]), baseline_cell(measure, row)]
