"""The numbers of a report, as frames: strategies at the last budget, areas under curves, seconds spent."""

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labelbench_ray.errors import LedgerError
from labelbench_ray.reporting.comparisons import BASELINE, Comparison
from labelbench_ray.reporting.curves import (
    STATISTICS,
    area_under_curve,
    on_common_seeds,
    paired_differences,
    summarize,
)
from labelbench_ray.reporting.measures import Measure

if TYPE_CHECKING:
    import pandas as pd

DIFFERENCES = ("difference", "difference_standard_error", "difference_low", "difference_high", "pairs")
"""STATISTICS of strategy minus baseline, paired by seed; ``pairs`` counts the seeds that both have."""


@dataclass(frozen=True)
class Compared:
    """Strategies against the baseline. ``notes`` say which differences are not given, and why."""

    frame: "pd.DataFrame"
    notes: tuple[str, ...]


def against_baseline(rows: "pd.DataFrame", by: list[str]) -> Compared:
    """Summary of every series in every group of ``by``, with its paired difference to the baseline.

    ``rows`` has one row per (series, seed, by). Columns: series, ``by``, STATISTICS, DIFFERENCES (NaN where there is
    no baseline, no common seed, or pairing was refused).
    """
    import pandas as pd

    baseline = rows[rows["series"] == BASELINE]
    differences, notes = [], []
    for name, part in rows.groupby("series", sort=True):
        if name == BASELINE or baseline.empty:
            continue
        ours, theirs = on_common_seeds(part, baseline)
        if ours.empty:
            ours, theirs = part, baseline  # refused, and the refusal names the seeds of both
        try:
            differences.append(paired_differences(ours, theirs, by).assign(series=name))
        except LedgerError as refusal:
            notes.append(f"{name} against {BASELINE}: {refusal}")
    summary = summarize(rows, ["series", *by])
    if not differences:
        return Compared(summary.assign(**dict.fromkeys(DIFFERENCES, float("nan"))), tuple(notes))
    renamed = summarize(pd.concat(differences), ["series", *by]).rename(
        columns=dict(zip(STATISTICS, DIFFERENCES, strict=True))
    )
    return Compared(summary.merge(renamed, on=["series", *by], how="left"), tuple(notes))


@functools.lru_cache(maxsize=64)  # a page, its text and its CSV file all ask for it
def final_statistics(comparison: Comparison) -> Compared:
    """Every measure at the final budget; one row per (series, split, metric). This is ``final.csv``."""
    compared = against_baseline(comparison.final, ["split", "metric"])
    classes = comparison.final.groupby("series")["numeric_class"].agg(lambda names: " + ".join(sorted(set(names))))
    frame = compared.frame.assign(
        **comparison.columns,
        setting=comparison.setting,
        num_labeled=comparison.final_budget,
        cheats=compared.frame["series"].isin(comparison.cheats),
        numeric_class=compared.frame["series"].map(classes),
    )
    first = [*comparison.columns, "setting", "num_labeled", "series"]
    return Compared(frame[[*first, *(name for name in frame.columns if name not in first)]], compared.notes)


def best_first(frame: "pd.DataFrame", measure: Measure) -> "pd.DataFrame":
    """Rows of one measure by their mean, the best first; ties in the order they had."""
    return frame.sort_values("mean", ascending=measure.lower_is_better, kind="stable")


def areas(comparison: Comparison, measure: Measure) -> Compared:
    """Mean height of each finished trial's learning curve, summarized and compared as final values are."""
    rows = finished(comparison, measure).sort_values("num_labeled")
    heights = {trial: area_under_curve(part["num_labeled"], part["value"]) for trial, part in rows.groupby("trial")}
    last = rows.drop_duplicates("trial", keep="last")
    per_trial = last.assign(value=[heights[trial] for trial in last["trial"]]).astype({"value": float})
    return against_baseline(per_trial, ["num_labeled"])


def finished(comparison: Comparison, measure: Measure) -> "pd.DataFrame":
    """Rows of the trials that reached the final budget: a mean curve over others would change its seeds midway."""
    rows = comparison.measured(measure)
    return rows[rows["trial"].isin(rows.loc[rows["num_labeled"] == comparison.final_budget, "trial"])]


def timings(comparison: Comparison) -> "pd.DataFrame":
    """Cost of each series: mean seconds a round of every stage, their sum over a trial, memory, annotation rounds.

    Columns: series, one per stage as recorded (``train_s`` ...), ``trial_s`` (mean over trials of summed ``round_s``),
    ``peak_memory_gib`` (largest), ``annotation_rounds`` (mean over trials of the last count), and what strategies told
    of selections that did not compare all rows (``select_compared_rows`` ..., means over rounds). What was not recorded
    is missing.
    """
    costs = comparison.costs
    stages = costs[costs["metric"].str.endswith("_s")]
    table = stages.pivot_table(index="series", columns="metric", values="value", aggfunc="mean")
    per_trial = costs.groupby(["series", "trial", "metric"])["value"]
    table["trial_s"] = _metric(per_trial.sum(), "round_s").groupby("series").mean()
    table["peak_memory_gib"] = _metric(per_trial.max(), "peak_memory_gib").groupby("series").max()
    table["annotation_rounds"] = _metric(per_trial.max(), "annotation_rounds").groupby("series").mean()
    is_of_loop = costs["metric"].isin(("select_s", "select_annotation_rounds"))
    told = costs[costs["metric"].str.startswith("select_") & ~is_of_loop]
    table = table.join(told.pivot_table(index="series", columns="metric", values="value", aggfunc="mean"))
    return table.dropna(axis="columns", how="all").reset_index()


def _metric(values: "pd.Series", metric: str) -> "pd.Series":
    return values[values.index.get_level_values("metric") == metric]
