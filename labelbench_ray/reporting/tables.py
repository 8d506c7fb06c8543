"""The report's tables, as text in cells: what the page and the terminal print."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from labelbench_ray.reporting.cells import (
    Cell,
    Table,
    against_heading,
    baseline_cell,
    by_series,
    mean_cell,
    measure_heading,
    name_cell,
    records,
)
from labelbench_ray.reporting.comparisons import BASELINE, Comparison, Evidence, TrialRecord
from labelbench_ray.reporting.measures import ABSENT, Measure, count, readable, written
from labelbench_ray.reporting.statistics import Compared, best_first, timings

if TYPE_CHECKING:
    import pandas as pd


_POOL_METRICS = ("accuracy", "mean_ap", "balanced_accuracy", "macro_f1", "micro_f1")
"""The pool has two sets of numbers, so its table keeps to these; the others are in ``final.csv``."""


def final_tables(comparison: Comparison, compared: Compared) -> list[Table]:
    """Test and pool (else what there is) at the final budget: difference to the baseline, then every measure."""
    tables: list[Table] = []
    recorded = list(dict.fromkeys(measure.split for measure in comparison.measures))
    for split in [split for split in recorded if split in ("test", "pool")] or recorded:
        measures = [measure for measure in comparison.measures if measure.split == split and _is_tabled(measure)]
        part = compared.frame[compared.frame["split"] == split]
        lead, best = measures[0], {measure: _best(comparison, part, measure) for measure in measures}
        found: dict[str, dict[str, Any]] = {name: {} for name in comparison.series}
        for row in records(part):
            found[row["series"]][row["metric"]] = row
        rows = tuple(
            (name_cell(comparison, name), *_final_cells(comparison, name, found[name], best))
            for name in comparison.series
        )
        tables.append(
            Table(
                caption=f"{lead.title.split()[0]} at {count(comparison.final_budget, 'label')}: "
                "mean ± standard error over seeds",
                columns=(
                    "Strategy",
                    "Seeds",
                    against_heading(lead),
                    *(measure_heading(measure) for measure in measures),
                ),
                rows=rows,
                notes=compared.notes if not tables else (),
            )
        )
    return tables


def best_cells(comparison: Comparison, compared: Compared) -> tuple[Cell, ...]:
    """The strategy with the best mean at the final budget, in five cells of ``glance_table``."""
    measure = comparison.primary
    part = compared.frame[compared.frame["split"] == measure.split]
    rows = {row["series"]: row for row in records(part[part["metric"] == measure.metric])}
    best = rows.get(_best(comparison, part, measure))
    if best is None:
        return (Cell(ABSENT), Cell(measure.title), Cell(ABSENT), Cell(ABSENT), Cell(ABSENT))
    return (
        name_cell(comparison, best["series"]),
        Cell(measure.title),
        mean_cell(measure, best["mean"], best["standard_error"]),
        baseline_cell(measure, best),
        Cell(str(best["n"])),
    )


def glance_table(lines: list[tuple[str, tuple[Cell, ...]]]) -> Table:
    """One line per comparison."""
    return Table(
        caption="Best mean at the last budget of each comparison",
        columns=("Comparison", "Best strategy", "Measure", "Mean", f"Against {BASELINE}", "Seeds"),
        rows=tuple((Cell(title), *cells) for title, cells in lines),
    )


def timings_table(comparison: Comparison) -> Table | None:
    """Seconds of every stage, memory, annotation rounds, and what selections told of rows they did not compare."""
    frame = timings(comparison)
    if frame.empty:
        return None
    stages = [name for name in frame.columns if name.endswith("_s") and name not in ("round_s", "trial_s")]
    told = [name for name in frame.columns if name.startswith("select_") and name not in stages]
    titles = {
        **{stage: f"{stage.removesuffix('_s').capitalize()}, s a round" for stage in stages},
        "round_s": "Whole round, s",
        "trial_s": "Whole trial, s",
        "peak_memory_gib": "Peak memory, GiB",
        "annotation_rounds": "Annotation rounds",
        **{name: name.removeprefix("select_").replace("_", " ").capitalize() for name in told},
    }
    whole = [name for name in told if (frame[name].dropna() % 1 == 0).all()]
    decimals = {"annotation_rounds": 1, **dict.fromkeys(whole, 0)}
    shown = [name for name in titles if name in frame.columns]
    found = by_series(frame)
    rows = tuple(
        (
            name_cell(comparison, name),
            *(Cell(written(found[name][column], decimals.get(column, 2))) for column in shown),
        )
        for name in comparison.series
        if name in found
    )
    return Table(
        caption="Cost: means over rounds and seeds, largest memory",
        columns=("Strategy", *(titles[name] for name in shown)),
        rows=rows,
    )


def unfinished_table(evidence: Evidence) -> Table | None:
    """Trials that failed or are not done, with the reason; None when all are done."""
    unfinished = [record for record in evidence.trials if record.status.state != "done"]
    unfinished.sort(key=lambda record: (record.status.state != "failed", record.trial))
    known = evidence.rows.drop_duplicates("trial").set_index("trial")
    if not unfinished:
        return None
    return Table(
        caption=f"{len(unfinished)} of {count(len(evidence.trials), 'trial')} not done",
        columns=("Trial", "State", "Finished rounds", "What was run", "Reason"),
        rows=tuple(_unfinished_cells(record, known) for record in unfinished),
        prose=True,
    )


def _is_tabled(measure: Measure) -> bool:
    return measure.split != "pool" or measure.metric.removeprefix("annotation_") in _POOL_METRICS


def _final_cells(comparison: Comparison, name: str, found: dict[str, Any], best: dict[Measure, str]) -> list[Cell]:
    """Seeds, difference of the first measure, and all measures; ``best`` holds them in order with their winners."""
    if not found:
        return [Cell("0"), *[Cell(ABSENT)] * (len(best) + 1)]
    numbers = []
    for measure, winner in best.items():
        row = found.get(measure.metric)
        cell = mean_cell(measure, row["mean"], row["standard_error"]) if row else Cell(ABSENT)
        numbers.append(replace(cell, best=name == winner))
    lead = next(iter(best))
    lead_row = found.get(lead.metric, {})
    return [Cell(str(lead_row.get("n", ABSENT))), baseline_cell(lead, lead_row), *numbers]


def _best(comparison: Comparison, part: "pd.DataFrame", measure: Measure) -> str:
    """Series with the best mean, those aside that look at hidden labels; empty with nothing to compare."""
    fair = part[(part["metric"] == measure.metric) & ~part["series"].isin(comparison.cheats)].dropna(subset="mean")
    if fair["series"].nunique() < 2:
        return ""
    return str(best_first(fair, measure)["series"].iloc[0])


def _unfinished_cells(record: TrialRecord, known: "pd.DataFrame") -> tuple[Cell, ...]:
    labels = record.description.get("labels")
    told = dict(labels) if isinstance(labels, dict) else {}
    if not told and record.trial in known.index:
        told = {name: known.loc[record.trial, name] for name in ("dataset", "trainer", "strategy")}
    seed = record.description.get("seed", known["seed"].get(record.trial))
    parts = [readable(str(told[name])) for name in ("dataset", "encoder", "trainer", "strategy") if name in told]
    what = " · ".join([*parts, *([] if seed is None else [f"seed {seed}"])])
    state = record.status.state or "not started"
    return (
        Cell(record.trial),
        Cell(state),
        Cell(str(record.status.finished_rounds)),
        Cell(what or ABSENT),
        Cell(record.status.error or ("in progress" if state == "running" else ABSENT)),
    )
