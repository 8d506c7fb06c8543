"""Trainings that fell apart and came back: a curve that drops by more than 20 points and rises as much again.

Such a trial says more of its trainer than of its strategy, and a mean over seeds hides it. Listed, never smoothed away.
"""

from typing import TYPE_CHECKING

from labelbench_ray.reporting.cells import Cell, Table, name_cell
from labelbench_ray.reporting.comparisons import Comparison
from labelbench_ray.reporting.measures import Measure, count

if TYPE_CHECKING:
    import pandas as pd

POINTS = 0.20


def collapses(comparison: Comparison, measure: Measure) -> "pd.DataFrame":
    """The deepest drop and recovery of each trial that has one. Fractions where more is better; others have none.

    Columns: series, seed, trial, labels_before, before, labels_at, at, labels_after, after.
    """
    import pandas as pd

    found = []
    if measure.is_fraction and not measure.lower_is_better:
        for (name, seed, trial), rows in comparison.measured(measure).groupby(["series", "seed", "trial"], sort=True):
            curve = rows.dropna(subset="value").sort_values("num_labeled")
            deepest = _deepest(curve["value"].tolist())
            if deepest:
                points = curve.iloc[list(deepest)]
                told = zip(points["num_labeled"], points["value"], strict=True)
                found.append((name, seed, trial, *(value for point in told for value in point)))
    return pd.DataFrame(found, columns=["series", "seed", "trial", *_POINTS])


_POINTS = ("labels_before", "before", "labels_at", "at", "labels_after", "after")


def _deepest(values: list[float]) -> tuple[int, int, int] | None:
    """Places of the best value before a dip, the dip, and the best value after it; None unless both sides are high."""
    best, found = POINTS, None
    for dip in range(1, len(values) - 1):
        before = max(range(dip), key=values.__getitem__)
        after = max(range(dip + 1, len(values)), key=values.__getitem__)
        depth = min(values[before], values[after]) - values[dip]
        if depth > best:
            best, found = depth, (before, dip, after)
    return found


def collapse_table(comparison: Comparison) -> Table | None:
    """A line for each trial that collapsed and recovered; None when none did."""
    measure = comparison.primary
    found = collapses(comparison, measure)
    if found.empty:
        return None
    rows = tuple(
        (
            name_cell(comparison, row["series"]),
            Cell(str(row["seed"])),
            *(
                Cell(measure.write(row[when]), f"{count(int(row[f'labels_{when}']), 'label')}")
                for when in ("before", "at", "after")
            ),
        )
        for row in found.to_dict("records")
    )
    return Table(
        caption=f"Trials whose {measure.in_words} fell by more than {100 * POINTS:.0f} points and came back",
        columns=("Strategy", "Seed", f"Before, {measure.unit}", f"Lowest, {measure.unit}", f"After, {measure.unit}"),
        rows=rows,
        notes=("They count in every mean above as they are.",),
    )
