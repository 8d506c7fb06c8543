"""The report's tables, as text in cells: what the page and the terminal print."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from labelbench_ray.reporting.comparisons import BASELINE, Comparison, Evidence, TrialRecord
from labelbench_ray.reporting.evaluations import EndToEnd
from labelbench_ray.reporting.measures import ABSENT, Measure, count, written
from labelbench_ray.reporting.statistics import Compared, areas, label_savings, timings

if TYPE_CHECKING:
    import pandas as pd

CHEATS = "sees hidden labels"
MIXED = "mixed numeric classes"

_POOL_METRICS = ("accuracy", "f1", "_ap")
"""The pool has two sets of numbers, so its table keeps to these; calibration and loss are in ``final.csv``."""


@dataclass(frozen=True)
class Cell:
    """One cell: text, and a second line in small print."""

    text: str
    detail: str = ""
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


def final_tables(comparison: Comparison, compared: Compared) -> list[Table]:
    """Test and pool (else what there is) at the final budget: difference to the baseline, then every measure."""
    tables: list[Table] = []
    recorded = {measure.split for measure in comparison.measures}
    for split in [split for split in ("test", "pool") if split in recorded] or sorted(recorded):
        measures = [measure for measure in comparison.measures if measure.split == split and _is_tabled(measure)]
        part = compared.frame[compared.frame["split"] == split]
        lead, best = measures[0], {measure: _best(comparison, part, measure) for measure in measures}
        found: dict[str, dict[str, Any]] = {name: {} for name in comparison.series}
        for row in _records(part):
            found[row["series"]][row["metric"]] = row
        rows = tuple(
            (_named(comparison, name), *_final_cells(comparison, name, found[name], best)) for name in comparison.series
        )
        tables.append(
            Table(
                caption=f"{lead.title.split()[0]} at {count(comparison.final_budget, 'label')}: "
                "mean ± standard error over seeds",
                columns=("Strategy", "Seeds", f"Against {BASELINE}", *(_heading(measure) for measure in measures)),
                rows=rows,
                notes=compared.notes if not tables else (),
            )
        )
    return tables


def savings_table(comparison: Comparison) -> Table | None:
    """Labels needed for the baseline's final mean, and the area under the curve; None with a single budget."""
    measure = comparison.primary
    if comparison.rows["num_labeled"].nunique() < 2:
        return None
    savings = _by_series(label_savings(comparison, measure))
    area = _by_series(areas(comparison, measure).frame)
    rows = tuple(
        (
            _named(comparison, name),
            *_savings_cells(savings.get(name), comparison.final_budget),
            *_area_cells(area.get(name), measure),
        )
        for name in comparison.series
    )
    return Table(
        caption=f"Labels needed to reach the final mean {measure.title.lower()} of {BASELINE}, and the mean height of "
        "the curve",
        columns=("Strategy", "Labels needed", "Saved", "Mean over the curve", f"Against {BASELINE}"),
        rows=rows,
        notes=("Interpolated on the mean curve of the trials that reached the last budget; no running maximum.",),
    )


def timings_table(comparison: Comparison) -> Table | None:
    """Seconds of every stage, memory and annotation rounds."""
    frame = timings(comparison)
    if frame.empty:
        return None
    stages = [name for name in frame.columns if name.endswith("_s") and name not in ("round_s", "trial_s")]
    titles = {
        **{stage: f"{stage.removesuffix('_s').capitalize()}, s a round" for stage in stages},
        "round_s": "Whole round, s",
        "trial_s": "Whole trial, s",
        "peak_memory_gib": "Peak memory, GiB",
        "annotation_rounds": "Annotation rounds",
    }
    shown = [name for name in titles if name in frame.columns]
    found = _by_series(frame)
    rows = tuple(
        (
            _named(comparison, name),
            *(Cell(written(found[name][column], 1 if column == "annotation_rounds" else 2)) for column in shown),
        )
        for name in comparison.series
        if name in found
    )
    return Table(
        caption="Cost: means over rounds and seeds, largest memory",
        columns=("Strategy", *(titles[name] for name in shown)),
        rows=rows,
    )


def end_to_end_table(evaluation: EndToEnd) -> Table:
    """Proxy against end-to-end on equal sets, at every number of labels that was scored."""
    measure, compared = evaluation.measure, evaluation.compared()
    gains = {(row["series"], row["num_labeled"]): row for row in _records(evaluation.gains())}
    scores = sorted(_records(compared.frame), key=lambda row: (row["num_labeled"], row["series"] == BASELINE))
    rows = []
    for row in scores:
        gain = gains[row["series"], row["num_labeled"]]
        rows.append(
            (
                _named(evaluation.comparison, row["series"]),
                Cell(f"{int(row['num_labeled']):,}"),
                Cell(str(row["n"])),
                Cell(measure.write_with_error(gain["proxy_mean"], gain["proxy_standard_error"])),
                Cell(measure.write_with_error(row["mean"], row["standard_error"])),
                _difference(measure, gain["mean"], gain["low"], gain["high"]),
                _difference_to_baseline(measure, row),
            )
        )
    return Table(
        caption=f"{measure.title}: the model that selected and {evaluation.trainer}, trained on the same sets",
        columns=("Set bought by", "Labels", "Seeds", "Proxy", "End-to-end", "End-to-end − proxy", f"Against {BASELINE}"),
        rows=tuple(rows),
        notes=compared.notes,
    )


def unfinished_table(evidence: Evidence) -> Table | None:
    """Trials that failed or are not done, with the reason; None when all are done."""
    records = [record for record in evidence.trials if record.status.state != "done"]
    records.sort(key=lambda record: (record.status.state != "failed", record.trial))
    known = evidence.rows.drop_duplicates("trial").set_index("trial")
    if not records:
        return None
    return Table(
        caption=f"{len(records)} of {count(len(evidence.trials), 'trial')} not done",
        columns=("Trial", "State", "Finished rounds", "What was run", "Reason"),
        rows=tuple(_unfinished_cells(record, known) for record in records),
        prose=True,
    )


def _is_tabled(measure: Measure) -> bool:
    return measure.split != "pool" or measure.metric.endswith(_POOL_METRICS)


def _final_cells(
    comparison: Comparison, name: str, found: dict[str, Any], best: dict[Measure, str | None]
) -> list[Cell]:
    """Seeds, difference of the first measure, and all measures; ``best`` holds them in order with their winners."""
    if not found:
        reached = comparison.rows.loc[comparison.rows["series"] == name, "num_labeled"].max()
        return [Cell("0", f"reached {reached:,} labels"), *[Cell(ABSENT)] * (len(best) + 1)]
    numbers = []
    for measure, winner in best.items():
        row = found.get(measure.metric)
        text = measure.write_with_error(row["mean"], row["standard_error"]) if row else ABSENT
        numbers.append(Cell(text, best=name == winner))
    lead = next(iter(best))
    lead_row = found.get(lead.metric, {})
    return [Cell(str(lead_row.get("n", ABSENT))), _difference_to_baseline(lead, lead_row), *numbers]


def _best(comparison: Comparison, part: "pd.DataFrame", measure: Measure) -> str | None:
    """Series with the best mean, those aside that look at hidden labels."""
    fair = part[(part["metric"] == measure.metric) & ~part["series"].isin(comparison.cheats)].dropna(subset="mean")
    if fair["series"].nunique() < 2:
        return None
    row = fair["mean"].idxmin() if measure.lower_is_better else fair["mean"].idxmax()
    return str(fair.loc[row, "series"])


def _difference_to_baseline(measure: Measure, row: dict[str, Any]) -> Cell:
    if not row or math.isnan(row["difference"]):
        return Cell("baseline" if row and row["series"] == BASELINE else ABSENT)
    cell = _difference(measure, row["difference"], row["difference_low"], row["difference_high"])
    pairs = int(row["pairs"])
    return Cell(cell.text, f"{cell.detail}, {count(pairs, 'pair')}".lstrip(", ") if pairs != row["n"] else cell.detail)


def _difference(measure: Measure, mean: float, low: float, high: float) -> Cell:
    text, _, interval = measure.write_difference(mean, low, high).partition(" ")
    return Cell(text, interval)


def _savings_cells(row: dict[str, Any] | None, budget: int) -> list[Cell]:
    if row is None:
        return [Cell(ABSENT), Cell(ABSENT)]
    if math.isnan(row["labels"]):
        return [Cell("not reached"), Cell(ABSENT)]
    least, saved = round(row["labels"]), budget - row["labels"]
    sign = "≤ " if row["at_start"] else ""
    return [Cell(f"{sign}{least:,}"), Cell(f"{round(saved):,}", f"{100 * saved / budget:.0f} %")]


def _area_cells(row: dict[str, Any] | None, measure: Measure) -> list[Cell]:
    if row is None:
        return [Cell(ABSENT), Cell(ABSENT)]
    return [
        Cell(measure.write_with_error(row["mean"], row["standard_error"])),
        _difference_to_baseline(measure, row),
    ]


def _unfinished_cells(record: TrialRecord, known: "pd.DataFrame") -> tuple[Cell, ...]:
    labels = record.description.get("labels")
    told = dict(labels) if isinstance(labels, dict) else {}
    if not told and record.trial in known.index:
        told = {name: known.loc[record.trial, name] for name in ("dataset", "trainer", "strategy")}
    seed = record.description.get("seed", known["seed"].get(record.trial))
    parts = [str(told[name]) for name in ("dataset", "encoder", "trainer", "strategy") if name in told]
    what = " · ".join([*parts, *([] if seed is None else [f"seed {seed}"])])
    state = record.status.state or "not started"
    return (
        Cell(record.trial),
        Cell(state),
        Cell(str(record.status.finished_rounds)),
        Cell(what or ABSENT),
        Cell(record.status.error or ("in progress, or killed" if state == "running" else ABSENT)),
    )


def _named(comparison: Comparison, name: str) -> Cell:
    rows = comparison.final[comparison.final["series"] == name]
    marks = [CHEATS] * (name in comparison.cheats) + [MIXED] * (rows["numeric_class"].nunique() > 1)
    return Cell(name, ", ".join(marks), series=name)


def _heading(measure: Measure) -> str:
    name = measure.name[0].upper() + measure.name[1:]
    return f"{name}, {measure.unit}" if measure.unit else name


def _by_series(frame: "pd.DataFrame") -> dict[str, dict[str, Any]]:
    return {row["series"]: row for row in _records(frame)}


def _records(frame: "pd.DataFrame") -> Iterable[Any]:
    return frame.to_dict("records")  # type: ignore[no-any-return]
