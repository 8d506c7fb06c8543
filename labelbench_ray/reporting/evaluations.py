"""Selection via proxy: how end-to-end models do on sets that a strategy bought with a cheaper model."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from labelbench_ray.reporting.comparisons import Comparison, Evidence
from labelbench_ray.reporting.curves import STATISTICS, summarize
from labelbench_ray.reporting.measures import Measure
from labelbench_ray.reporting.statistics import Compared, against_baseline

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class EndToEnd:
    """One end-to-end trainer on the sets of one comparison.

    ``rows``: one per (series, seed, num_labeled): ``value`` of the end-to-end model and ``proxy``, the value of the
    model that selected, trained on the same set.
    """

    comparison: Comparison
    trainer: str
    measure: Measure
    rows: "pd.DataFrame"

    def compared(self) -> Compared:
        """End-to-end scores at each number of labels, against the baseline's sets. Columns as ``against_baseline``."""
        return against_baseline(self.rows, ["num_labeled"])

    def gains(self) -> "pd.DataFrame":
        """End-to-end minus proxy, paired on (series, seed, num_labeled): columns STATISTICS, and ``proxy`` the mean."""
        by = ["series", "num_labeled"]
        gains = summarize(self.rows.assign(value=self.rows["value"] - self.rows["proxy"]), by)
        proxies = summarize(self.rows.assign(value=self.rows["proxy"]), by).rename(
            columns={name: f"proxy_{name}" for name in STATISTICS}
        )
        return gains.merge(proxies, on=by)


def end_to_end(evidence: Evidence) -> tuple[EndToEnd, ...]:
    """Evaluations beside the selections whose sets they scored, one entry per (comparison, end-to-end trainer).

    They meet on (data set, seed, number of labels, digest of the bought set), not on the name of the strategy:
    equal sets are evaluated once, so the first batch, which all strategies share, carries the name of only one of them.
    """
    found = []
    for comparison in evidence.comparisons:
        proxies = comparison.measured(comparison.primary)
        scores = evidence.evaluations
        scores = scores[(scores["split"] == comparison.primary.split) & (scores["metric"] == comparison.primary.metric)]
        keys = ["dataset", "seed", "num_labeled", "bought"]
        met = scores[[*keys, "trainer", "trial", "value"]].merge(
            proxies[[*keys, "series", "initial", "value"]].rename(columns={"value": "proxy"}), on=keys
        )
        repeated = met.groupby([*keys, "series", "trainer"])["trial"].transform("nunique") > 1
        met["trainer"] = met["trainer"].where(~repeated, met["trainer"] + " #" + met["trial"].str[:6])
        for trainer, rows in met.groupby("trainer", sort=True):
            found.append(EndToEnd(comparison, str(trainer), comparison.primary, rows.drop(columns="trainer")))
    return tuple(found)


def unmatched(evidence: Evidence) -> int:
    """How many evaluation trials scored a set that no selection in this ledger bought."""
    selected = evidence.rows.loc[evidence.rows["kind"] == "selection", "bought"]
    scored = evidence.evaluations
    return int(scored.loc[~scored["bought"].isin(selected), "trial"].nunique())
