"""How well each class of a multi-label task is found, strategy by strategy."""

from labelbench_ray.benchmark.evaluation import PER_CLASS
from labelbench_ray.reporting.cells import Cell, Table
from labelbench_ray.reporting.comparisons import Comparison
from labelbench_ray.reporting.measures import Measure, count, readable


def class_tables(comparison: Comparison) -> list[Table]:
    """One table: a line for each class, best found first, a column for each strategy. None of another task."""
    rows = comparison.rows
    rows = rows[(rows["split"] == PER_CLASS) & (rows["num_labeled"] == comparison.final_budget)]
    if rows.empty:
        return []
    means = rows.pivot_table(index="metric", columns="series", values="value", aggfunc="mean")
    means = means.loc[means.mean(axis=1).sort_values(ascending=False, kind="stable").index]
    series = [name for name in comparison.series if name in means.columns]
    measure = Measure("test", "mean_ap")
    lines = tuple(
        (Cell(readable(str(name))), *(Cell(measure.write(value)) for value in line[series]))
        for name, line in means.iterrows()
    )
    caption = (
        f"Average precision of each class on test at {count(comparison.final_budget, 'label')}, %: mean over seeds"
    )
    return [Table(caption=caption, columns=("Class", *series), rows=lines)]
