"""From a ledger to comparisons: sets of trials that differ in strategy and seed alone.

Two trials belong to one comparison when their readable columns and, where the ledger describes them, everything else
that can change a number (stored dtype, drawing of the first batch, content of weights) are equal.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from labelbench_ray.benchmark.finding import check_results
from labelbench_ray.benchmark.results import COST
from labelbench_ray.benchmark.state import Ledger, TrialLedger, TrialStatus
from labelbench_ray.errors import LedgerError
from labelbench_ray.identity import digest
from labelbench_ray.metrics.cards import MAIN_METRIC
from labelbench_ray.reporting.measures import SCORED_SPLITS, Measure, readable
from labelbench_ray.storage.place import Where

if TYPE_CHECKING:
    import pandas as pd

BASELINE = "random"
"""The strategy that every other one is compared with."""

COLUMNS = ("dataset", "encoder", "trainer", "oracle", "schedule")
"""What all trials of one comparison share."""

PRIMARY = tuple(Measure(split, metric) for metric in MAIN_METRIC.values() for split in SCORED_SPLITS)
"""The measure that ranks strategies: the first of these that was recorded, else the first recorded."""


@dataclass(frozen=True)
class TrialRecord:
    """What the ledger holds of one trial besides its rows."""

    trial: str
    status: TrialStatus
    description: Mapping[str, Any]
    """Empty where it is missing or cannot be read: the rows are what counts."""

    @property
    def identity(self) -> Mapping[str, Any]:
        """What the trial's id is the digest of, or nothing."""
        told = self.description.get("identity")
        return told if isinstance(told, Mapping) else {}


@dataclass(frozen=True)
class Evidence:
    """Everything a report is made from. ``rows`` has the ledger's columns."""

    rows: "pd.DataFrame"
    trials: tuple[TrialRecord, ...]
    ledgers: Mapping[str, TrialLedger] = field(default_factory=dict)
    """Where the trials' bought sets are; empty for an exported file, which has none."""

    @cached_property
    def comparisons(self) -> "tuple[Comparison, ...]":
        """Of selection trials, by data set, encoder, trainer, oracle and schedule."""
        rows = _compact(self.rows[self.rows["kind"] == "selection"])
        identities = {record.trial: record.identity for record in self.trials}
        trials = rows.drop_duplicates("trial").astype(str)
        settings = [setting_of(identities.get(trial, {})) for trial in trials["trial"]]
        parts = [
            (dict(zip((*COLUMNS, "setting"), key, strict=True)), _series(part, identities))
            for key, part in sorted(
                trials.assign(setting=settings).groupby([*COLUMNS, "setting"]), key=lambda found: _as_read(found[0])
            )
        ]
        seen = [tuple(values[column] for column in COLUMNS) for values, _ in parts]
        return tuple(
            Comparison(
                columns={column: values[column] for column in COLUMNS},
                setting=values["setting"] if seen.count(key) > 1 else "",
                rows=_named(rows, series),
            )
            for key, (values, series) in zip(seen, parts, strict=True)
        )

    @cached_property
    def evaluations(self) -> "pd.DataFrame":
        """Rows of other models scored on sets that a strategy bought."""
        return self.rows[self.rows["kind"] == "evaluation"]

    @cached_property
    def cheats(self) -> frozenset[str]:
        """Strategies that looked at labels nobody bought."""
        return frozenset(self.rows.loc[self.rows["cheats"], "strategy"])


@dataclass(frozen=True, eq=False)
class Comparison:
    """Strategies on equal terms.

    ``rows`` has the ledger's columns and ``series``, the name of a curve; text in them is categories.
    """

    columns: Mapping[str, str]
    setting: str
    """Short digest that tells apart comparisons whose columns are equal; else empty."""
    rows: "pd.DataFrame"

    @cached_property
    def scores(self) -> "pd.DataFrame":
        """Rows that measure the model on a split."""
        return self.rows[self.rows["split"].isin(SCORED_SPLITS)]

    @cached_property
    def costs(self) -> "pd.DataFrame":
        """Rows that measure the machine."""
        return self.rows[self.rows["split"] == COST]

    @cached_property
    def series(self) -> tuple[str, ...]:
        """Names of the curves: the baseline last, as every other one is compared with it."""
        return tuple(sorted(self.rows["series"].unique(), key=lambda name: (name == BASELINE, name)))

    @cached_property
    def cheats(self) -> frozenset[str]:
        """Curves that looked at labels nobody bought: upper bounds, never winners."""
        return frozenset(self.rows.loc[self.rows["cheats"], "series"])

    @cached_property
    def reached(self) -> Mapping[str, int]:
        """The most labels that a trial of each curve has trained on."""
        return {str(name): int(most) for name, most in self.rows.groupby("series")["num_labeled"].max().items()}

    @cached_property
    def mixed(self) -> frozenset[str]:
        """Curves whose numbers come from several kinds of machine."""
        classes = self.rows.groupby("series")["numeric_class"].nunique()
        return frozenset(classes.index[classes > 1])

    @cached_property
    def final_budget(self) -> int:
        """The most labels that any trial of the comparison has trained on."""
        return int(self.rows["num_labeled"].max())

    @cached_property
    def final(self) -> "pd.DataFrame":
        """Scores at the final budget."""
        return self.scores[self.scores["num_labeled"] == self.final_budget]

    @cached_property
    def measures(self) -> tuple[Measure, ...]:
        """All that was recorded, in reading order."""
        recorded = self.scores[["split", "metric"]].drop_duplicates().itertuples(index=False, name=None)
        return tuple(sorted((Measure(*names) for names in recorded), key=Measure.sort_key))

    @cached_property
    def primary(self) -> Measure:
        """The measure that ranks the strategies."""
        return next((measure for measure in PRIMARY if measure in self.measures), (*self.measures, PRIMARY[0])[0])

    @cached_property
    def numeric_classes(self) -> tuple[str, ...]:
        """Kinds of machine that the numbers come from. More than one: equal trials need not give equal numbers."""
        return tuple(sorted(self.rows["numeric_class"].unique()))

    def measured(self, measure: Measure) -> "pd.DataFrame":
        """Rows of one metric on one split, at all budgets."""
        return self.rows[(self.rows["split"] == measure.split) & (self.rows["metric"] == measure.metric)]


def read_evidence(results: Where) -> Evidence:
    """Everything the ledger in ``results`` knows.

    Raises NoResultsError for a folder that no run wrote, LedgerError when no round is finished or a file is broken.
    """
    check_results(results)
    ledger = Ledger(results).with_rows()
    trials = tuple(TrialRecord(trial.trial_id, trial.status(), _description(trial)) for trial in ledger.trials())
    rows = ledger.rows().to_pandas()
    if rows.empty:
        errors = [record.status.error for record in trials if record.status.state == "failed"]
        what = f"no finished round yet ({len(errors)} failed: {errors[0]})" if errors else "no finished round yet"
        raise LedgerError(ledger.place.where, what, "run `labelbench run FILE` first")
    return Evidence(rows, trials, {trial.trial_id: trial for trial in ledger.trials()})


def _description(trial: TrialLedger) -> Mapping[str, Any]:
    try:
        told = trial.description()
    except LedgerError:
        return {}
    return told if isinstance(told, Mapping) else {}


def setting_of(identity: Mapping[str, Any]) -> str:
    """Digest of all that may change a number except what a comparison compares."""
    rest = {key: value for key, value in identity.items() if key not in ("strategy", "seed")}
    return digest(rest, length=6) if rest else ""


def _as_read(names: Iterable[str]) -> list[tuple[str | int, ...]]:
    """Sorts numbers within names by their size: 20+20x9 is before 100+100x9."""
    parts = (re.split(r"(\d+)", name) for name in names)
    return [tuple(int(part) if place % 2 else part for place, part in enumerate(found)) for found in parts]


def _compact(rows: "pd.DataFrame") -> "pd.DataFrame":
    """Text as categories: the same few names in every row, which are compared and copied as numbers then."""
    return rows.astype(dict.fromkeys(rows.select_dtypes(["object", "str"]).columns, "category"))


def _series(trials: "pd.DataFrame", identities: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """The curve of each trial: its strategy, with a digest where one name stands for several or repeated trials."""
    flavors = trials["trial"].map(lambda trial: digest(identities.get(trial, {}).get("strategy"), length=4))
    several = flavors.groupby(trials["strategy"]).transform("nunique") > 1
    names = trials["strategy"].map(readable)
    series = names.where(~several, names + " #" + flavors)
    repeated = trials["trial"].groupby([series, trials["seed"]]).transform("nunique") > 1
    series = series.where(~repeated, series + " #" + trials["trial"].str[:6])
    return dict(zip(trials["trial"], series, strict=True))


def _named(rows: "pd.DataFrame", series: Mapping[str, str]) -> "pd.DataFrame":
    """The rows of these trials with the names of their curves."""
    found = rows[rows["trial"].isin(list(series))]
    return found.assign(series=found["trial"].map(series).astype(str).astype("category"))
