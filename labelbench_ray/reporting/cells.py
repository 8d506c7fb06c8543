"""Cells of the report's tables: how a mean, a difference or a name becomes text."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from labelbench_ray.reporting.comparisons import BASELINE, Comparison
from labelbench_ray.reporting.measures import ABSENT, Measure, count

if TYPE_CHECKING:
    import pandas as pd

CHEATS = "sees hidden labels"
MIXED = "mixed numeric classes"


@dataclass(frozen=True)
class Cell:
    """One cell: text, its error in a quieter tone, and a second line in small print."""

    text: str
    detail: str = ""
    error: str = ""
    best: bool = False
    series: str = ""
    """Set where the cell names a curve, to be shown in its colour."""


@dataclass(frozen=True)
class Table:
    """A table with its caption. The first column names the row; the others are numbers unless ``prose``."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    prose: bool = False


def baseline_cell(measure: Measure, row: dict[str, Any]) -> Cell:
    """Difference to the baseline in a row of ``against_baseline``; with the pairs when some seeds have none."""
    if not row or math.isnan(row["difference"]):
        return Cell("baseline" if row and row["series"] == BASELINE else ABSENT)
    cell = difference_cell(measure, row["difference"], row["difference_low"], row["difference_high"])
    pairs = int(row["pairs"])
    return Cell(cell.text, f"{cell.detail}, {count(pairs, 'pair')}".lstrip(", ") if pairs != row["n"] else cell.detail)


def mean_cell(measure: Measure, mean: float, standard_error: float) -> Cell:
    """``84.32 ± 0.21``."""
    text, _, error = measure.write_with_error(mean, standard_error).partition(" ")
    return Cell(text, error=error)


def difference_cell(measure: Measure, mean: float, low: float, high: float) -> Cell:
    """``+1.80``, its interval below."""
    text, _, interval = measure.write_difference(mean, low, high).partition(" ")
    return Cell(text, interval)


def name_cell(comparison: Comparison, name: str) -> Cell:
    """A strategy, and what must be known of it: hidden labels, mixed machines, unfinished."""
    reached = comparison.reached[name]
    marks = {
        CHEATS: name in comparison.cheats,
        MIXED: name in comparison.mixed,
        f"reached {count(reached, 'label')}": reached < comparison.final_budget,
    }
    return Cell(name, ", ".join(mark for mark, holds in marks.items() if holds), series=name)


def against_heading(measure: Measure) -> str:
    """Heading of a difference to the baseline."""
    name = measure.name[0].upper() + measure.name[1:]
    return f"{name} against {BASELINE}{', points' if measure.is_fraction else ''}"


def measure_heading(measure: Measure) -> str:
    """Heading of a measure, with its unit."""
    name = measure.name[0].upper() + measure.name[1:]
    return f"{name}, {measure.unit}" if measure.unit else name


def by_series(frame: "pd.DataFrame") -> dict[str, dict[str, Any]]:
    """Rows by the name of their curve."""
    return {row["series"]: row for row in records(frame)}


def records(frame: "pd.DataFrame") -> Iterable[Any]:
    """Rows as dictionaries."""
    return cast(Iterable[Any], frame.to_dict("records"))
