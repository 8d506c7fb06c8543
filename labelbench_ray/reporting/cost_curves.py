"""Accuracy against what it took: mean curves over the seconds that trials spent, in place of labels."""

from typing import TYPE_CHECKING

from labelbench_ray.reporting.comparisons import Comparison
from labelbench_ray.reporting.curves import summarize
from labelbench_ray.reporting.statistics import finished

if TYPE_CHECKING:
    import pandas as pd

SPENT = {"round_s": "Seconds of a trial so far", "select_s": "Seconds of choosing so far"}
"""What is summed over rounds, by metric, and the title of its axis."""


def spent(comparison: Comparison, metric: str) -> "pd.DataFrame":
    """The comparison's own measure of every finished trial, against what was spent until it was measured.

    Columns: series, num_labeled, STATISTICS of the measure, and ``seconds``, the mean over seeds. Rounds before
    anything was spent are left out; a batch counts towards the round that trains on it.
    """
    costs = comparison.costs
    wanted = costs[costs["metric"] == metric].sort_values("round")
    sums = wanted.assign(seconds=wanted.groupby("trial")["value"].cumsum())
    if metric == "select_s":  # chosen at the end of a round, for the next one
        sums = sums.assign(round=sums["round"] + 1)
    rows = finished(comparison, comparison.primary)
    met = rows.merge(sums[["trial", "round", "seconds"]], on=["trial", "round"])
    curves = summarize(met, ["series", "num_labeled"])
    seconds = met.groupby(["series", "num_labeled"])["seconds"].mean().reset_index()
    return curves.merge(seconds, on=["series", "num_labeled"]).sort_values("num_labeled")
