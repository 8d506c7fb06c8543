"""Strategies by their ranks: within each seed of each comparison, and how many seeds a ranking needs.

A block is one seed of one comparison at the last budget; of equal scores each gets the mean of their ranks. Mean ranks
are told apart by the critical difference of Nemenyi's test (Demsar, 2006, Statistical Comparisons of Classifiers over
Multiple Data Sets, section 3.2.2). Blocks of one data set are not independent of its split, so a conclusion is about
these data sets, not about others.
"""

import itertools
import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from labelbench_ray.reporting.cells import Cell, Table, records
from labelbench_ray.reporting.comparisons import Comparison, Evidence
from labelbench_ray.reporting.measures import count, listed, written
from labelbench_ray.reporting.paired_tests import LEVEL, written_p

if TYPE_CHECKING:
    import pandas as pd

LEAST_SEEDS, LEAST_STRATEGIES = 4, 3
"""Of fewer nothing is told of how stable a ranking is."""
MOST_SUBSETS = 200
"""Of so many sets of seeds, at most, the mean agreement is told."""


@dataclass(frozen=True)
class Ranking:
    """Scores of strategies that every comparison has, the higher the better: one row a block."""

    scores: "pd.DataFrame"
    """(B, K); rows are (comparison, seed)."""
    left_out: tuple[str, ...] = ()
    """Strategies that one of the comparisons lacks."""

    @cached_property
    def ranks(self) -> "pd.DataFrame":
        """(B, K) 1 for the best of a block."""
        return self.scores.rank(axis="columns", ascending=False)

    @cached_property
    def mean_ranks(self) -> "pd.Series":
        """By strategy, the best first."""
        return self.ranks.mean().sort_values(kind="stable")

    @cached_property
    def win_rates(self) -> "pd.Series":
        """By strategy, the share of (block, other strategy) in which it scores higher; a tie is half a win."""
        return (self.scores.shape[1] - self.ranks).mean() / (self.scores.shape[1] - 1)

    @property
    def critical_difference(self) -> float:
        """Mean ranks that differ by more are told apart at 0.05 (Nemenyi): q sqrt(K (K + 1) / (6 B))."""
        from scipy.stats import studentized_range

        blocks, strategies = self.scores.shape
        q = studentized_range.ppf(1 - LEVEL, strategies, np.inf) / math.sqrt(2)
        return float(q * math.sqrt(strategies * (strategies + 1) / (6 * blocks)))

    @property
    def friedman_p(self) -> float:
        """Probability of ranks so unlike each other if strategies made no difference; NaN for two strategies."""
        from scipy.stats import friedmanchisquare

        columns = [self.scores[name] for name in self.scores]
        all_tie = (self.scores.nunique(axis="columns") == 1).all()
        return float(friedmanchisquare(*columns).pvalue) if len(columns) > 2 and not all_tie else math.nan


def ranking(evidence: Evidence) -> Ranking | None:
    """Over all comparisons of two strategies or more, by the measure of each; None with fewer than two in common.

    Strategies that look at hidden labels take no part, and seeds that one of the others has not finished.
    """
    import pandas as pd

    tables = {place: scores_by_seed(comparison) for place, comparison in enumerate(evidence.comparisons)}
    tables = {place: table for place, table in tables.items() if table.shape[1] > 1}
    if not tables:
        return None
    scores = pd.concat(tables, join="inner").dropna()
    left_out = {str(name) for table in tables.values() for name in table} - set(scores.columns)
    return Ranking(scores, tuple(sorted(left_out))) if min(scores.shape) > 1 else None


def scores_by_seed(comparison: Comparison) -> "pd.DataFrame":
    """(S, K) the comparison's own measure at the last budget, the higher the better, without upper bounds."""
    measure = comparison.primary
    rows = comparison.measured(measure)
    fair = rows[(rows["num_labeled"] == comparison.final_budget) & ~rows["cheats"]]
    table = fair.pivot_table(index="seed", columns="series", values="value")
    return -table if measure.lower_is_better else table


def stability(scores: "pd.DataFrame") -> "pd.DataFrame":
    """How well fewer seeds of one comparison (S, K) rank strategies as all of them do.

    Columns: seeds, tau (mean of Kendall's tau-b over sets of so many seeds), same_best (share of the sets with the same
    best strategy). All sets of seeds, or MOST_SUBSETS drawn ones.
    """
    import pandas as pd

    values_SK, whole_K = scores.to_numpy(), scores.mean().to_numpy()
    found = []
    for size in range(1, len(values_SK)):
        means_RK = values_SK[_subsets(len(values_SK), size)].mean(axis=1)
        same = means_RK.argmax(axis=1) == whole_K.argmax()
        found.append((size, float(_taus(means_RK, whole_K).mean()), float(same.mean())))
    return pd.DataFrame(found, columns=["seeds", "tau", "same_best"])


def _subsets(seeds: int, size: int) -> NDArray[np.int64]:
    """(R, size) sets of seeds: all, or MOST_SUBSETS drawn ones."""
    if math.comb(seeds, size) <= MOST_SUBSETS:
        return np.array(list(itertools.combinations(range(seeds), size)))
    rng = np.random.default_rng(size)
    return np.array([rng.choice(seeds, size, replace=False) for _ in range(MOST_SUBSETS)])


def _taus(scores_RK: NDArray[np.float64], whole_K: NDArray[np.float64]) -> NDArray[np.float64]:
    """(R,) Kendall's tau-b of each row with the whole: of a few thousand rankings of a few strategies."""
    first, second = np.triu_indices(len(whole_K), 1)
    order_RP, whole_P = (np.sign(scores[..., first] - scores[..., second]) for scores in (scores_RK, whole_K))
    untied_R = np.sqrt((order_RP**2).sum(axis=1) * (whole_P**2).sum())
    taus_R: NDArray[np.float64] = (order_RP @ whole_P) / np.maximum(untied_R, 1.0)  # an integer, zero where all tie
    return taus_R


def rank_table(evidence: Evidence) -> Table | None:
    """Mean ranks and win rates, the best first, and which strategies the best cannot be told apart from."""
    found = ranking(evidence)
    if found is None:
        return None
    mean_ranks, limit = found.mean_ranks, found.critical_difference
    best = mean_ranks.iloc[0]
    alike = [str(name) for name in mean_ranks.index[1:] if mean_ranks[name] - best <= limit]
    rows = tuple(
        (Cell(str(name), series=str(name)), Cell(written(rank, 2)), Cell(f"{100 * found.win_rates[name]:.0f} %"))
        for name, rank in mean_ranks.items()
    )
    blocks, comparisons = len(found.scores), found.scores.index.get_level_values(0).nunique()
    missing = f" Not ranked, because a comparison lacks them: {listed(list(found.left_out))}." if found.left_out else ""
    told = f"from {listed(alike)}" if alike else "from none: it is ahead of all"
    return Table(
        caption=f"Mean ranks within {count(blocks, 'block')}: each a seed of one of {count(comparisons, 'comparison')}",
        columns=("Strategy", "Mean rank", "Wins against another"),
        rows=rows,
        notes=(
            f"Mean ranks less than {written(limit, 2)} apart are not told apart at 0.05 (Nemenyi): "
            f"{mean_ranks.index[0]} is not told apart {told}. Friedman's test of any difference: "
            f"p {written_p(found.friedman_p, is_told=True)}. Both tests take blocks for independent, though those of "
            f"one data set share its split: they speak of these data sets, not of others.{missing}",
        ),
    )


def stability_table(comparison: Comparison) -> Table | None:
    """How many seeds the ranking of a comparison needed; None with fewer than three strategies or four seeds."""
    scores = scores_by_seed(comparison).dropna()
    if len(scores) < LEAST_SEEDS or scores.shape[1] < LEAST_STRATEGIES:
        return None
    rows = tuple(
        (Cell(str(int(row["seeds"]))), Cell(written(row["tau"], 2)), Cell(f"{100 * row['same_best']:.0f} %"))
        for row in records(stability(scores))
    )
    return Table(
        caption=f"Would fewer seeds have told the same as {len(scores)}?",
        columns=("Seeds", "Agreement of the ranking (Kendall's tau)", "Same best strategy"),
        rows=rows,
        notes=(
            f"Means over all sets of so many of these seeds, or over {MOST_SUBSETS} of them; they share seeds with the "
            "whole, so new seeds would agree less.",
        ),
    )
