"""The tables of a study's README, in Markdown, from the rows that lie beside it.

    python experiments/studies/tables.py experiments/studies/cifar10_mobilenet/fast.parquet

Rows come from a results folder by `labelbench export results/cifar10_mobilenet_fast FILE.parquet`. Differences are to
random, in points of test accuracy, paired by seed; * marks those whose exact sign-flip test, corrected by Holm over the
strategies of a column, has p below 0.05.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from labelbench_ray.reporting.cells import by_series
from labelbench_ray.reporting.comparisons import BASELINE, Comparison, Evidence
from labelbench_ray.reporting.export import read_export
from labelbench_ray.reporting.leaderboard import standings, starred_difference
from labelbench_ray.reporting.measures import ABSENT, Measure, written
from labelbench_ray.reporting.savings import needed_labels
from labelbench_ray.reporting.statistics import timings
from labelbench_ray.reporting.write import in_markdown

TEST = Measure("test", "accuracy")
Row = dict[str, Any]
"""What is known of a strategy in a comparison: a row of ``standings``."""
Cells = dict[str, str]
"""What a column says of each strategy."""


def tables(evidence: Evidence) -> Iterator[str]:
    """Lines of Markdown. One comparison is told whole; of several, those of one trainer stand side by side."""
    comparisons = sorted(evidence.comparisons, key=lambda one: (one.columns["trainer"], one.final_budget))
    if len(comparisons) == 1:
        yield from _table(comparisons[0].series, _everything(comparisons[0]))
        return
    for trainer in sorted({one.columns["trainer"] for one in comparisons}, reverse=True):
        alike = [one for one in comparisons if one.columns["trainer"] == trainer]
        rows = [by_series(standings(one)) for one in alike]
        for what, write in (("at the last budget", _at_the_end), ("mean over the curve", _over_the_curve)):
            yield from ("", f"**{trainer}, {what}**", "")
            names = {name for one in alike for name in one.series}
            columns = {_heading(one, alike): _cells(found, write) for one, found in zip(alike, rows, strict=True)}
            yield from _table(sorted(names, key=lambda name: (name == BASELINE, name)), columns)


def _heading(comparison: Comparison, alike: Sequence[Comparison]) -> str:
    """The number of labels, and what else tells it from the others of its trainer."""
    varying = [name for name in ("dataset", "encoder", "oracle") if len({one.columns[name] for one in alike}) > 1]
    parts = [comparison.columns[name] for name in varying]
    return ", ".join([*parts, f"{comparison.final_budget:,} labels"])


def _everything(comparison: Comparison) -> dict[str, Cells]:
    rows, seconds = by_series(standings(comparison)), timings(comparison).set_index("series")
    return {
        "test accuracy, %": _cells(rows, _mean),
        "against random": _cells(rows, _at_the_end),
        "mean over the curve, against random": _cells(rows, _over_the_curve),
        "labels for random's last accuracy": _cells(rows, needed_labels),
        "s to choose a batch": {name: written(seconds.loc[name, "select_s"], 2) for name in seconds.index},
    }


def _cells(rows: dict[str, Row], write: Callable[[Row], str]) -> Cells:
    return {name: write(row) for name, row in rows.items()}


def _mean(row: Row) -> str:
    return TEST.write_with_error(row["mean"], row["standard_error"])


def _at_the_end(row: Row) -> str:
    return f"{_mean(row)} %" if row["series"] == BASELINE else starred_difference(TEST, row)


def _over_the_curve(row: Row) -> str:
    if row["series"] == BASELINE:
        return f"{TEST.write_with_error(row['area_mean'], row['area_standard_error'])} %"
    return TEST.write_difference(row["area_difference"], row["area_difference_low"], row["area_difference_high"])


def _table(series: Sequence[str], columns: dict[str, Cells]) -> Iterator[str]:
    rows = [[name, *(cells.get(name, ABSENT) for cells in columns.values())] for name in series]
    yield from in_markdown([["strategy", *columns], *rows])


def main() -> None:
    """Print the tables of a file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("file", type=Path, help="what `labelbench export` wrote")
    print("\n".join(tables(read_export(parser.parse_args().file))))


if __name__ == "__main__":
    main()
