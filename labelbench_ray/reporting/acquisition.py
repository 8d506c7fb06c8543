"""What strategies bought: how evenly over the classes, and how many rows two of them have in common.

The first batch is left out: it is drawn before any strategy is asked, and the same for all of a seed.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from labelbench_ray.benchmark.results import bought_labels
from labelbench_ray.reporting.cells import Cell, Table, name_cell
from labelbench_ray.reporting.comparisons import Comparison, Evidence
from labelbench_ray.reporting.measures import ABSENT, written

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Bought:
    """Rows in order of buying, without the first batch."""

    ids: NDArray[np.int64]
    labels: NDArray[np.int64]
    """(L,) classes, negative where nobody answered, or (L, C) zeros and ones."""
    batches: NDArray[np.int64]
    """(L,) which batch each came with, from 1."""

    @property
    def is_answered(self) -> bool:
        """Whether every label is known: those of imported files are not."""
        return bool((self.labels >= 0).all())


Chosen = Mapping[tuple[str, int], Bought]
"""By (series, seed)."""


def chosen(evidence: Evidence, comparison: Comparison) -> Chosen:
    """What each finished trial bought after its first batch; empty where the results do not hold it."""
    done = comparison.rows[comparison.rows["num_labeled"] == comparison.final_budget]
    found = {}
    for row in done.drop_duplicates("trial").sort_values("trial").itertuples():
        ledger = evidence.ledgers.get(row.trial)
        if ledger is None:
            continue
        table = ledger.bought()
        batches = table["batch"].to_numpy()
        later = batches > 0
        bought = Bought(table["example_id"].to_numpy()[later], bought_labels(table)[later], batches[later])
        if len(bought.ids):
            found[row.series, int(row.seed)] = bought
    return found


def shares(labels: NDArray[np.int64], num_classes: int) -> NDArray[np.float64]:
    """(C,) share of the labels that say each class; of several labels a row each counts."""
    counts_C = labels.sum(axis=0) if labels.ndim == 2 else np.bincount(labels, minlength=num_classes)
    told: NDArray[np.float64] = counts_C / max(counts_C.sum(), 1)
    return told


def evenness(shares_C: NDArray[np.float64]) -> float:
    """Entropy of the classes' shares over its most, log C: 1 for equal shares, 0 for a single class."""
    present = shares_C[shares_C > 0]
    return float(-(present * np.log(present)).sum() / math.log(len(shares_C))) if len(shares_C) > 1 else math.nan


def overlaps(bought: Chosen, series: tuple[str, ...]) -> "pd.DataFrame":
    """(K, K) mean over common seeds of the Jaccard index of two strategies' sets, |A and B| / |A or B|."""
    import pandas as pd

    sets = {key: frozenset(one.ids.tolist()) for key, one in bought.items()}
    names = [name for name in series if any(key[0] == name for key in sets)]
    table = pd.DataFrame(np.nan, index=names, columns=names)
    for place, one in enumerate(names):
        for other in names[place + 1 :]:
            seeds = {seed for name, seed in sets if name == one} & {seed for name, seed in sets if name == other}
            pairs = [(sets[one, seed], sets[other, seed]) for seed in seeds]
            if pairs:
                table.loc[one, other] = table.loc[other, one] = float(
                    np.mean([len(a & b) / len(a | b) for a, b in pairs])
                )
    return table


def acquisition_tables(comparison: Comparison, bought: Chosen) -> list[Table]:
    """How even the bought classes are, and which strategies buy the same rows; none where sets are not known."""
    tables = []
    if is_answered(bought):
        tables.append(_class_table(comparison, bought))
    overlap = overlaps(bought, comparison.series)
    if len(overlap) > 1:
        tables.append(_overlap_table(comparison, overlap))
    return tables


def is_answered(bought: Chosen) -> bool:
    """Whether there is anything, and the labels of all of it are known."""
    return bool(bought) and all(one.is_answered for one in bought.values())


def class_shares(comparison: Comparison, bought: Chosen) -> dict[str, NDArray[np.float64]]:
    """(S, C) shares of the classes in what each strategy bought, a row for each seed."""
    widths = [one.labels.shape[1] if one.labels.ndim == 2 else int(one.labels.max()) + 1 for one in bought.values()]
    num_classes = max(widths)
    found = {
        name: np.array([shares(one.labels, num_classes) for (series, _), one in bought.items() if series == name])
        for name in comparison.series
    }
    return {name: shares_SC for name, shares_SC in found.items() if len(shares_SC)}


def _class_table(comparison: Comparison, bought: Chosen) -> Table:
    found = class_shares(comparison, bought)
    num_classes = next(iter(found.values())).shape[1]
    rows = tuple(
        (
            name_cell(comparison, name),
            *(_class_cells(found[name]) if name in found else [Cell(ABSENT)] * 4),
        )
        for name in comparison.series
    )
    return Table(
        caption=f"Classes of the labels bought after the first batch, {num_classes} classes: means over seeds",
        columns=("Strategy", "Evenness", "Most frequent class, %", "Rarest class, %", "Classes without a label"),
        rows=rows,
        notes=("Evenness is the entropy of the classes' shares over that of equal shares: 1 for equal ones.",),
    )


def _class_cells(shares_SC: NDArray[np.float64]) -> list[Cell]:
    return [
        Cell(written(float(np.mean([evenness(one) for one in shares_SC])), 3)),
        Cell(written(100 * float(shares_SC.max(axis=1).mean()), 1)),
        Cell(written(100 * float(shares_SC.min(axis=1).mean()), 1)),
        Cell(written(float((shares_SC == 0).sum(axis=1).mean()), 1)),
    ]


def _overlap_table(comparison: Comparison, overlap: "pd.DataFrame") -> Table:
    names = list(overlap.index)
    rows = tuple(
        (
            name_cell(comparison, name),
            *(Cell(ABSENT if math.isnan(value) else f"{100 * value:.0f}") for value in overlap.loc[name, names]),
        )
        for name in names
    )
    return Table(
        caption="Rows that two strategies have in common, % of those that either bought: means over seeds",
        columns=("Strategy", *names),
        rows=rows,
    )
