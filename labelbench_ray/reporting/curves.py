"""Statistics of learning curves: means and intervals over seeds, paired differences, label savings. No I/O, no drawing.

Frames have one row per (seed, metric, ...) with the columns of the ledger; see ``benchmark/results.py``. Intervals are
two-sided Student t intervals over seeds. They describe the spread over seeds for one split of one data set, and they
are not corrected for picking the best of several strategies.
"""

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from labelbench_ray.errors import LedgerError

if TYPE_CHECKING:
    import pandas as pd

CONFIDENCE = 0.95
MIN_SEEDS = 3
"""Below this an interval is shown but not to be relied on (with one seed there is none)."""

STATISTICS = ("mean", "standard_error", "low", "high", "n")


def summarize(rows: "pd.DataFrame", by: Sequence[str]) -> "pd.DataFrame":
    """Mean, standard error, interval and count of ``value`` in every group of ``by``.

    One row per group, columns ``by`` + STATISTICS. With one value the standard error and the interval are NaN: they
    cannot be known. A NaN among the values makes the mean NaN; it is never left out silently.
    """
    groups = rows.assign(_broken=rows["value"].isna()).groupby(list(by), sort=False, dropna=False)
    table = groups.agg(
        mean=("value", "mean"), standard_error=("value", "sem"), n=("value", "size"), _broken=("_broken", "any")
    ).reset_index()
    table.loc[table["_broken"], ["mean", "standard_error"]] = np.nan
    half_width = table["standard_error"] * [t_quantile(int(n)) for n in table["n"]]
    table["low"], table["high"] = table["mean"] - half_width, table["mean"] + half_width
    return table[[*by, *STATISTICS]]


@functools.cache
def t_quantile(n: int) -> float:
    """Half-width of the interval in standard errors for n values: Student t with n - 1 degrees of freedom."""
    from scipy.stats import t

    return float(t.ppf((1 + CONFIDENCE) / 2, n - 1)) if n > 1 else float("nan")


def paired_differences(rows: "pd.DataFrame", baseline: "pd.DataFrame", by: Sequence[str]) -> "pd.DataFrame":
    """``rows`` with ``value`` less the baseline's value of the same seed and ``by``: to be summarized over seeds.

    Both frames hold one row per (seed, by) and the column ``initial``. Pairing removes what the seeds have in common
    (initial batch, initial weights), so it is refused where they have nothing in common: LedgerError when the seeds
    are not the same on both sides, or when a seed's initial batch differs.
    """
    ours, theirs = _initial_batches(rows), _initial_batches(baseline)
    if ours.keys() != theirs.keys():
        raise _unpaired(f"seeds {sorted(ours)} against {sorted(theirs)}", "give both the same seeds")
    differing = sorted(seed for seed, batch in ours.items() if batch != theirs[seed])
    if differing:
        raise _unpaired(f"the initial batches of seeds {differing} differ", "run both with one data set and schedule")
    keys = [*by, "seed"]
    both = rows[[*keys, "value"]].merge(baseline[[*keys, "value"]], on=keys, suffixes=("", "_baseline"), validate="1:1")
    return both.assign(value=both["value"] - both["value_baseline"]).drop(columns="value_baseline")


def is_paired(rows: "pd.DataFrame", baseline: "pd.DataFrame") -> bool:
    """Whether both have the same seeds, and these began with the same labels."""
    return _initial_batches(rows) == _initial_batches(baseline)


def on_common_seeds(rows: "pd.DataFrame", baseline: "pd.DataFrame") -> "tuple[pd.DataFrame, pd.DataFrame]":
    """Both frames without the seeds that only one of them has (a grid that is still running, a trial that failed)."""
    common = set(rows["seed"]) & set(baseline["seed"])
    return rows[rows["seed"].isin(common)], baseline[baseline["seed"].isin(common)]


def labels_to_reach(
    num_labeled: ArrayLike, means: ArrayLike, target: ArrayLike, *, lower_is_better: bool = False
) -> NDArray[np.float64]:
    """Fewest labels at which mean curves (..., T) reach their targets (...), by linear interpolation; NaN for never.

    The first crossing counts even if the curve dips below again. A curve that starts at the target or better needs
    at most its first number of labels, which is what is returned.
    """
    labels_T, values, goals = np.asarray(num_labeled, float), np.asarray(means, float), np.asarray(target, float)
    gaps = goals[..., None] - values if lower_is_better else values - goals[..., None]
    after = (gaps >= 0).argmax(axis=-1)
    before = np.maximum(after - 1, 0)
    gap_after, gap_before = (np.take_along_axis(gaps, place[..., None], -1)[..., 0] for place in (after, before))
    step = np.divide(-gap_before, gap_after - gap_before, out=np.zeros_like(gap_before), where=after > 0)
    found = labels_T[before] + step * (labels_T[after] - labels_T[before])
    return np.where((gaps >= 0).any(axis=-1), found, np.nan)


def area_under_curve(num_labeled: ArrayLike, values: ArrayLike) -> float:
    """Mean height of a curve over its range of labels (trapezoids, divided by the range); NaN for a single point."""
    labels = np.asarray(num_labeled, float)
    if len(labels) < 2:
        return float("nan")
    return float(np.trapezoid(np.asarray(values, float), labels) / (labels[-1] - labels[0]))


def seeds_note(n: int) -> str | None:
    """What a reader must know about so few seeds, or None when there are enough."""
    if n == 1:
        return "one seed: no interval can be given, no test can be made, and a difference may be chance"
    if n < MIN_SEEDS:
        return f"{n} seeds: the interval is wide and unreliable, run at least {MIN_SEEDS}, better 10"
    return None


def _initial_batches(rows: "pd.DataFrame") -> dict[Any, frozenset[str]]:
    return {seed: frozenset(batches) for seed, batches in rows.groupby("seed")["initial"]}


def _unpaired(what: str, advice: str) -> LedgerError:
    return LedgerError("cannot be paired", what, advice)
