"""Do the model that selected and the one that counts rank the strategies alike? Kendall's tau on equal sets.

A proxy whose accuracy is lower may still be a good judge of strategies; one that ranks them otherwise is not.
"""

import math
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from labelbench_ray.reporting.curves import summarize
from labelbench_ray.reporting.evaluations import Gap

if TYPE_CHECKING:
    import pandas as pd

MIN_STRATEGIES = 3
"""Two strategies are in the same order by chance every other time: no rank correlation is told of them."""


@dataclass(frozen=True)
class Agreement:
    """Two rankings of the strategies at one number of labels. NaN where a number cannot be known."""

    num_labeled: int
    strategies: int
    """Strategies that both models were measured on, with the same seeds."""
    seeds: int
    tau: float = math.nan
    """Kendall's tau-b of the means over seeds: 1 the same order, 0 unrelated, -1 the reverse."""
    chance: float = math.nan
    """Probability that unrelated rankings of so many strategies agree as well or better."""
    tau_by_seed: tuple[float, float, float] = (math.nan, math.nan, math.nan)
    """Mean of the taus of single seeds, and its 95 % interval."""
    best_selecting: str = ""
    best_evaluated: str = ""
    why_not: str = ""
    """Why nothing of this is told."""


def agreements(gap: Gap, unfair: Collection[str] = ()) -> list[Agreement]:
    """The rankings at every number of labels that was scored; ``unfair`` strategies (upper bounds) take no part."""
    fair = gap.rows[~gap.rows["series"].isin(list(unfair))]
    return [_agreement(gap, int(budget), rows) for budget, rows in fair.groupby("num_labeled", sort=True)]


def _agreement(gap: Gap, budget: int, rows: "pd.DataFrame") -> Agreement:
    evaluated, selecting = (_by_seed(rows, value) for value in ("value", "proxy"))
    counts = {"num_labeled": budget, "strategies": evaluated.shape[1], "seeds": len(evaluated)}
    if why_not := _why_not(rows, evaluated):
        return Agreement(**counts, why_not=why_not)
    tau, chance = _tau(selecting.mean(), evaluated.mean())
    return Agreement(
        **counts,
        tau=tau,
        chance=chance,
        tau_by_seed=_over_seeds([_tau(selecting.loc[seed], evaluated.loc[seed])[0] for seed in evaluated.index]),
        best_selecting=_best(gap, selecting.mean()),
        best_evaluated=_best(gap, evaluated.mean()),
    )


def _by_seed(rows: "pd.DataFrame", value: str) -> "pd.DataFrame":
    """Seeds by strategies; seeds that a strategy lacks are left out, or means would mix luck with skill."""
    return rows.pivot_table(index="seed", columns="series", values=value).dropna(axis="index")


def _why_not(rows: "pd.DataFrame", scores: "pd.DataFrame") -> str:
    if rows["series"].nunique() < MIN_STRATEGIES:
        return f"fewer than {MIN_STRATEGIES} strategies"
    if scores.empty:
        return "no seed that all have"
    if (rows.groupby("seed")["bought"].nunique() == 1).all():
        return "all hold the same sets"
    return ""


def _tau(first: "pd.Series", second: "pd.Series") -> tuple[float, float]:
    from scipy.stats import kendalltau

    told = kendalltau(first.to_numpy(), second.to_numpy(), alternative="greater")
    return float(told.statistic), float(told.pvalue)


def _over_seeds(taus: list[float]) -> tuple[float, float, float]:
    import pandas as pd

    told = summarize(pd.DataFrame({"all": 0, "value": taus}), ["all"]).iloc[0]
    return float(told["mean"]), float(told["low"]), float(told["high"])


def _best(gap: Gap, means: "pd.Series") -> str:
    if means.empty or means.nunique() < 2:
        return ""
    return str(means.idxmin() if gap.measure.lower_is_better else means.idxmax())
