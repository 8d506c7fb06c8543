"""The tables of a study's README, in Markdown, from the rows that lie beside it.

    python experiments/studies/tables.py experiments/studies/cifar10_mobilenet/fast.parquet

Rows come from a results folder by `labelbench export results/cifar10_mobilenet_fast FILE.parquet`. Differences are to
random, in points of test accuracy, paired by seed; * marks those whose exact sign-flip test, corrected by Holm over the
strategies of a column, has p below 0.05.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from labelbench_ray.reporting.comparisons import BASELINE, Comparison, Evidence
from labelbench_ray.reporting.export import read_export
from labelbench_ray.reporting.measures import ABSENT, Measure, written
from labelbench_ray.reporting.paired_tests import LEVEL, paired_tests
from labelbench_ray.reporting.savings import NOT_REACHED, label_savings
from labelbench_ray.reporting.statistics import Compared, areas, final_statistics, timings

TEST = Measure("test", "accuracy")
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
        for what, cells_of in (("at the last budget", _at_the_end), ("mean over the curve", _over_the_curve)):
            yield from ("", f"**{trainer}, {what}**", "")
            names = {name for one in alike for name in one.series}
            columns = {_heading(one, alike): cells_of(one) for one in alike}
            yield from _table(sorted(names, key=lambda name: (name == BASELINE, name)), columns)


def _heading(comparison: Comparison, alike: Sequence[Comparison]) -> str:
    """The number of labels, and what else tells it from the others of its trainer."""
    varying = [name for name in ("dataset", "encoder", "oracle") if len({one.columns[name] for one in alike}) > 1]
    parts = [comparison.columns[name] for name in varying]
    return ", ".join([*parts, f"{comparison.final_budget:,} labels"])


def _everything(comparison: Comparison) -> dict[str, Cells]:
    seconds, saved = timings(comparison).set_index("series"), label_savings(comparison, TEST).set_index("series")
    choosing = {name: written(seconds.loc[name, "select_s"], 2) for name in seconds.index}
    return {
        "test accuracy, %": _means(final_statistics(comparison)),
        "against random": _at_the_end(comparison),
        "mean over the curve, against random": _over_the_curve(comparison),
        "labels for random's last accuracy": {name: _labels(saved.loc[name, "labels"]) for name in saved.index},
        "s to choose a batch": choosing,
    }


def _labels(number: float) -> str:
    return NOT_REACHED if number == float("inf") else f"{number:,.0f}"


def _means(compared: Compared) -> Cells:
    return {row["series"]: TEST.write_with_error(row["mean"], row["standard_error"]) for row in _rows(compared)}


def _at_the_end(comparison: Comparison) -> Cells:
    tests = paired_tests(comparison, TEST)
    told_apart = set(tests.loc[tests["p_holm"] < LEVEL, "series"])
    cells = _differences(final_statistics(comparison))
    return {name: f"{cell} *" if name in told_apart else cell for name, cell in cells.items()}


def _over_the_curve(comparison: Comparison) -> Cells:
    return _differences(areas(comparison, TEST))


def _differences(compared: Compared) -> Cells:
    cells = {}
    for row in _rows(compared):
        told = TEST.write_difference(row["difference"], row["difference_low"], row["difference_high"])
        absolute = f"{TEST.write_with_error(row['mean'], row['standard_error'])} %"
        cells[row["series"]] = absolute if row["series"] == BASELINE else told
    return cells


def _rows(compared: Compared) -> list[dict[str, Any]]:
    frame = compared.frame
    if "metric" in frame:
        frame = frame[(frame["split"] == TEST.split) & (frame["metric"] == TEST.metric)]
    return frame.to_dict("records")


def _table(series: Sequence[str], columns: dict[str, Cells]) -> Iterator[str]:
    yield f"| strategy | {' | '.join(columns)} |"
    yield f"|---|{'---|' * len(columns)}"
    for name in series:
        yield f"| {name} | {' | '.join(cells.get(name, ABSENT) for cells in columns.values())} |"


def main() -> None:
    """Print the tables of a file."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("file", type=Path, help="what `labelbench export` wrote")
    print("\n".join(tables(read_export(parser.parse_args().file))))


if __name__ == "__main__":
    main()
