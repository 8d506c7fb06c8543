"""Selection via proxy: the models that selected beside other models trained on the same sets."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from labelbench_ray.metrics.cards import MAIN_METRIC
from labelbench_ray.reporting.comparisons import Comparison, Evidence
from labelbench_ray.reporting.curves import STATISTICS, summarize
from labelbench_ray.reporting.measures import Measure, readable
from labelbench_ray.reporting.statistics import Compared, against_baseline

if TYPE_CHECKING:
    import pandas as pd

ALSO_COMPARED = tuple(Measure("pool", metric) for metric in MAIN_METRIC.values())
"""Beside the measure that ranks the strategies: how well the pool, for which labels were bought, is predicted."""


@dataclass(frozen=True)
class Gap:
    """Two models on equal sets, by one measure.

    ``rows``: one per (series, seed, num_labeled): ``value`` of the evaluated model and ``proxy``, the value of the
    model that selected, trained on the same set.
    """

    measure: Measure
    rows: "pd.DataFrame"

    @cached_property
    def proxies(self) -> "pd.DataFrame":
        """The same rows with the selecting model's value as ``value``."""
        return self.rows.assign(value=self.rows["proxy"])

    @cached_property
    def differences(self) -> "pd.DataFrame":
        """The same rows with evaluated minus selecting as ``value``: paired, for both were trained on one set."""
        return self.rows.assign(value=self.rows["value"] - self.rows["proxy"])

    def compared(self) -> Compared:
        """Evaluated scores at each number of labels, against the baseline's sets. Columns as ``against_baseline``."""
        return against_baseline(self.rows, ["num_labeled"])

    def gains(self) -> "pd.DataFrame":
        """Evaluated minus selecting over seeds, by (series, num_labeled): STATISTICS, and ``proxy_`` + STATISTICS."""
        by = ["series", "num_labeled"]
        proxies = summarize(self.proxies, by).rename(columns={name: f"proxy_{name}" for name in STATISTICS})
        return summarize(self.differences, by).merge(proxies, on=by)


@dataclass(frozen=True)
class EndToEnd:
    """One evaluated trainer on the sets of one comparison, by every measure that both models have."""

    comparison: Comparison
    trainer: str
    gaps: tuple[Gap, ...]
    """The measure that ranks the strategies first."""

    @property
    def num_budgets(self) -> int:
        """How many numbers of labels were scored."""
        return int(self.gaps[0].rows["num_labeled"].nunique())


def end_to_end(evidence: Evidence) -> tuple[EndToEnd, ...]:
    """Evaluations beside the selections whose sets they scored, one entry per (comparison, evaluated trainer).

    They meet on (data set, seed, number of labels, digest of the bought set), not on the name of the strategy:
    equal sets are evaluated once, so the first batch, which all strategies share, carries the name of only one of them.
    """
    found = []
    for comparison in evidence.comparisons if len(evidence.evaluations) else ():
        measures = dict.fromkeys([comparison.primary, *(one for one in ALSO_COMPARED if one in comparison.measures)])
        met = {measure: dict(_by_trainer(evidence, comparison, measure)) for measure in measures}
        for trainer in met[comparison.primary]:
            gaps = tuple(Gap(measure, met[measure][trainer]) for measure in measures if trainer in met[measure])
            found.append(EndToEnd(comparison, readable(trainer), gaps))
    return tuple(found)


def _by_trainer(evidence: Evidence, comparison: Comparison, measure: Measure) -> "Iterator[tuple[str, pd.DataFrame]]":
    """Rows of both models on equal sets, by the name of the evaluated one."""
    scores = evidence.evaluations
    scores = scores[(scores["split"] == measure.split) & (scores["metric"] == measure.metric)]
    proxies = comparison.measured(measure)
    keys = ["dataset", "seed", "num_labeled", "bought"]
    met = scores[[*keys, "trainer", "trial", "strategy", "value"]].merge(
        proxies[[*keys, "series", "initial", "strategy", "value"]].rename(columns={"value": "proxy"}),
        on=keys,
        suffixes=("", "_proxy"),
    )
    same = [*keys, "series", "trainer"]
    own = met["strategy"] == met["strategy_proxy"]  # other code scores the shared first batch once for each strategy
    met = met[own | ~own.groupby([met[key] for key in same]).transform("any")]
    repeated = met.groupby(same)["trial"].transform("nunique") > 1
    met["trainer"] = met["trainer"].where(~repeated, met["trainer"] + " #" + met["trial"].str[:6])
    for trainer, rows in met.groupby("trainer", sort=True):
        yield str(trainer), rows.drop(columns="trainer")


def unmatched(evidence: Evidence) -> int:
    """How many evaluation trials scored a set that no selection in this ledger bought."""
    scored = evidence.evaluations
    if scored.empty:
        return 0
    selected = evidence.rows.loc[evidence.rows["kind"] == "selection", "bought"].unique()
    return int(scored.loc[~scored["bought"].isin(selected), "trial"].nunique())
