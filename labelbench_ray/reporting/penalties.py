"""Which strategy beats which, over all comparisons of a report: the penalty matrix of BADGE, paired by seed.

Ash et al., 2020, Deep Batch Active Learning by Diverse, Uncertain Gradient Lower Bounds, section 5: at every budget of
a setting, strategy i beats j when a two-sided t-test of their differences, at 0.05, says that i is better; that adds
1 / (number of budgets) to row i, column j. The mean of a column says how often its strategy is beaten: lower is
better. The paper adds over settings and takes budgets that double; here cells are means, so that a strategy of fewer
settings is not the better for it, and every budget counts but the first, at which all hold the same labels.
"""

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from labelbench_ray.reporting.cells import Cell, Table
from labelbench_ray.reporting.comparisons import Comparison, Evidence
from labelbench_ray.reporting.curves import t_quantile
from labelbench_ray.reporting.measures import count, written

if TYPE_CHECKING:
    import pandas as pd


def penalties(evidence: Evidence) -> "pd.DataFrame":
    """(K, K) the share of budgets at which the row's strategy beats the column's: mean of comparisons that have both.

    NaN for pairs that no comparison has, or never with two common seeds. Strategies that look at hidden labels are
    left out.
    """
    import pandas as pd

    names = _competitors(evidence)
    if len(names) < 2:
        return pd.DataFrame()
    wins = np.array([_wins(comparison, names) for comparison in evidence.comparisons])
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # of pairs that no comparison has
        return pd.DataFrame(np.nanmean(wins, axis=0), index=names, columns=names)


def _competitors(evidence: Evidence) -> list[str]:
    return sorted({name for one in evidence.comparisons for name in one.series if name not in one.cheats})


def _wins(comparison: Comparison, names: list[str]) -> NDArray[np.float64]:
    """(K, K) share of the budgets at which the row's strategy beats the column's; NaN where they cannot be paired."""
    measure = comparison.primary
    rows = comparison.measured(measure)
    later = rows[rows["num_labeled"] > rows["num_labeled"].min()]
    seeds = sorted(rows["seed"].unique())
    if later.empty:
        return np.full((len(names), len(names)), np.nan)
    values_TKS = np.stack([_by_seed(part, "value", names, seeds) for _, part in later.groupby("num_labeled")])
    if measure.lower_is_better:
        values_TKS = -values_TKS
    differences_TKKS = values_TKS[:, :, None] - values_TKS[:, None]
    pairs = (~np.isnan(differences_TKKS)).sum(axis=-1)
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # of pairs without two seeds
        errors = np.nanstd(differences_TKKS, axis=-1, ddof=1) / np.sqrt(pairs)
        better_TKK = np.nanmean(differences_TKKS, axis=-1) > np.vectorize(t_quantile, otypes=[float])(pairs) * errors
        share_KK = better_TKK.sum(axis=0) / (pairs > 1).sum(axis=0)  # of the budgets that both have reached
    return np.where(_are_paired(rows, names, seeds), share_KK, np.nan)


def _by_seed(rows: "pd.DataFrame", column: str, names: list[str], seeds: list[int]) -> NDArray[Any]:
    """(K, S) values of a column, one of each strategy and seed; None or NaN where there is none."""
    table = rows.drop_duplicates(["series", "seed"]).pivot(index="series", columns="seed", values=column)
    cells: NDArray[Any] = table.reindex(index=names, columns=seeds).to_numpy()
    return cells


def _are_paired(rows: "pd.DataFrame", names: list[str], seeds: list[int]) -> NDArray[np.bool_]:
    """(K, K) whether two strategies share two seeds or more, and began with the same labels in all of these."""
    initial_KS = _by_seed(rows, "initial", names, seeds)
    there_KS = np.array([[isinstance(one, str) for one in of_name] for of_name in initial_KS])
    both_KKS = there_KS[:, None] & there_KS[None]
    differ_KKS = both_KKS & (initial_KS[:, None] != initial_KS[None])
    paired: NDArray[np.bool_] = (both_KKS.sum(axis=-1) > 1) & ~differ_KKS.any(axis=-1)
    return paired & ~np.eye(len(names), dtype=bool)


def penalty_table(evidence: Evidence) -> Table | None:
    """The matrix, least beaten strategies first, with the mean of each column below; None with nothing to compare."""
    matrix = penalties(evidence)
    matrix = matrix.dropna(how="all").dropna(axis="columns", how="all")
    if len(matrix) < 2:
        return None
    beaten = matrix.mean(axis="index").sort_values(kind="stable")
    names = list(beaten.index)
    lines = [
        (Cell(row, series=row), *(Cell(written(float(value), 2)) for value in matrix.loc[row, names])) for row in names
    ]
    lines.append((Cell("is beaten, mean"), *(Cell(written(value, 2)) for value in beaten)))
    comparisons = count(len(evidence.comparisons), "comparison")
    return Table(
        caption=f"How often the row's strategy beats the column's, of all budgets of {comparisons}",
        columns=("Strategy", *names),
        rows=tuple(lines),
        notes=(
            "Paired t-tests at 0.05, not corrected, at every budget but the first, as a mean over the comparisons that "
            "have both strategies (the penalty matrix of Ash et al., 2020).",
        ),
    )
