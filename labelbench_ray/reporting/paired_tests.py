"""Can a difference to the baseline be chance? Tests paired by seed, corrected for asking about several strategies.

Two tests of one question. Student's paired t takes the seeds' differences for normal. The sign-flip test (Fisher, 1935,
The Design of Experiments) only takes either sign of a difference for equally likely, were there nothing between the
strategies: its p is the share of all ways to flip the signs whose mean is at least as far from zero. With S seeds it is
2 / 2^S or more, so that three seeds can never show anything at 0.05. Holm's correction (1979, A Simple Sequentially
Rejective Multiple Test Procedure) bounds the probability of a single false claim among all strategies of a comparison.
"""

import functools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from labelbench_ray.errors import LedgerError
from labelbench_ray.reporting.cells import Cell, Table, by_series, name_cell
from labelbench_ray.reporting.comparisons import BASELINE, Comparison
from labelbench_ray.reporting.curves import on_common_seeds, paired_differences, t_quantile
from labelbench_ray.reporting.measures import ABSENT, Measure, count, listed

if TYPE_CHECKING:
    import pandas as pd

LEVEL = 0.05
POWER = 0.8
FLIPS = 1 << 16
"""Sixteen seeds and fewer are tested exactly; with more, so many flips are drawn, always the same."""


def paired_tests(comparison: Comparison, measure: Measure) -> "pd.DataFrame":
    """Every strategy against the baseline at the final budget, on the seeds that both finished.

    Columns: series, pairs, p_paired_t, p_sign_flip, p_holm (the sign-flip test's, corrected), detectable (the true
    difference that so many seeds, scattered as these are, would show in POWER of all cases). No row for a strategy
    without two such seeds, or whose initial batches are not the baseline's.
    """
    import pandas as pd
    from scipy.stats import ttest_1samp

    final = comparison.final[
        (comparison.final["split"] == measure.split) & (comparison.final["metric"] == measure.metric)
    ]
    baseline, found = final[final["series"] == BASELINE], []
    for name, part in final.groupby("series", sort=True):
        ours, theirs = on_common_seeds(part, baseline)
        if name == BASELINE or len(ours) < 2:
            continue
        try:
            differences = paired_differences(ours, theirs, [])["value"].to_numpy()
        except LedgerError:
            continue
        pairs, error = len(differences), float(differences.std(ddof=1)) / math.sqrt(len(differences))
        p_paired_t = float(ttest_1samp(differences, 0.0).pvalue) if error else math.nan
        found.append((name, pairs, p_paired_t, sign_flip(differences), noncentrality(pairs) * error))
    table = pd.DataFrame(found, columns=["series", "pairs", "p_paired_t", "p_sign_flip", "detectable"])
    fair = table["p_sign_flip"].where(~table["series"].isin(comparison.cheats))  # upper bounds claim nothing
    return table.assign(p_holm=holm(fair.tolist()))


def sign_flip(differences_S: ArrayLike) -> float:
    """Two-sided p of the mean of S paired differences under all 2^S changes of their signs; NaN if one is NaN."""
    from scipy.stats import permutation_test

    differences = np.asarray(differences_S, float)
    if np.isnan(differences).any():
        return math.nan
    result = permutation_test(
        (differences, np.zeros_like(differences)),
        lambda first, second, axis: np.mean(first - second, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=FLIPS,
        rng=0,
    )
    return float(result.pvalue)


@functools.cache
def noncentrality(pairs: int) -> float:
    """How many standard errors a true difference must be for a t-test at LEVEL to show it with probability POWER."""
    from scipy.optimize import brentq
    from scipy.stats import nct

    critical = t_quantile(pairs)  # a mean so far out on the other side is too rare to count
    power = functools.partial(nct.sf, critical, pairs - 1)
    return float(brentq(lambda errors: float(power(errors)) - POWER, 0.0, 3 * critical))


def holm(p_values: Sequence[float]) -> list[float]:
    """Each p corrected for all of them: the k-th smallest of m times m - k + 1, and no less than those before."""
    corrected, largest = [math.nan] * len(p_values), 0.0
    known = sorted((p, place) for place, p in enumerate(p_values) if not math.isnan(p))
    for rank, (p, place) in enumerate(known):
        largest = max(largest, min(1.0, p * (len(known) - rank)))
        corrected[place] = largest
    return corrected


def table_of_tests(comparison: Comparison) -> Table | None:
    """A line for each strategy that could be tested, and what the number of seeds can show at all."""
    measure = comparison.primary
    tests = paired_tests(comparison, measure)
    if tests.empty:
        return None
    found = by_series(tests)
    rows = tuple(
        (
            name_cell(comparison, name),
            Cell(str(row["pairs"])),
            *(Cell(written_p(row[f"p_{test}"])) for test in _TESTS),
            Cell(measure.write(row["detectable"])),
        )
        for name in comparison.series
        if (row := found.get(name))
    )
    asked = int(tests["p_holm"].notna().sum())
    seeds = int(tests.loc[tests["p_holm"].notna(), "pairs"].max()) if asked else 0
    least = min(1.0, 2.0 ** (1 - seeds) * asked)
    attainable = f"With {count(seeds, 'pair')} and {count(asked, 'strategy', 'strategies')} the corrected p is at least"
    can = "" if least <= LEVEL else ": these runs cannot tell any strategy apart at 0.05"
    can_show = f"{attainable} {written_p(least)}{can}. " if asked else ""
    untested = [name for name in comparison.series if name not in found and name != BASELINE]
    why_not = f" Not tested, for want of two seeds of the same first labels: {listed(untested)}." if untested else ""
    return Table(
        caption=f"Paired tests of {measure.in_words} against {BASELINE} at {count(comparison.final_budget, 'label')}",
        columns=(
            "Strategy",
            "Pairs",
            "p, paired t",
            "p, exact sign-flip",
            "the same, Holm-corrected",
            f"Detectable{', points' if measure.is_fraction else ''}",
        ),
        rows=rows,
        notes=(
            f"{can_show}Detectable is the true difference that a paired t-test at {LEVEL} "
            f"would show in {100 * POWER:.0f} of 100 such studies.{why_not}",
        ),
    )


_TESTS = ("paired_t", "sign_flip", "holm")


def written_p(p: float, *, is_told: bool = False) -> str:
    """Three decimals: ``0.012``, ``<0.001``; in a sentence, after the letter p, ``= 0.012``, ``< 0.001``."""
    if math.isnan(p):
        return "is not known" if is_told else ABSENT
    sign, number = ("<", "0.001") if p < 0.0005 else ("=", f"{p:.3f}")
    return f"{sign} {number}" if is_told else f"{sign}{number}".lstrip("=")
