"""Our numbers beside those of a table of LabelBench's paper (Zhang et al., 2023, arXiv 2306.09910).

What the paper writes after ± is the standard deviation over its runs, though its captions say standard error: its
published result files show so. A cell agrees when Welch's t-test of our seeds against the paper's, from the means and
deviations of both, has p of 0.05 or more. That is no proof of equality, the less so the fewer seeds there are; of 42
true cells two are expected to differ.
"""

import math
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from labelbench_ray.errors import LedgerError, SpecError
from labelbench_ray.registry import did_you_mean
from labelbench_ray.reporting.comparisons import Evidence
from labelbench_ray.reporting.measures import SCORED_SPLITS, Measure, count, listed, readable, signed
from labelbench_ray.reporting.paired_tests import LEVEL, written_p

if TYPE_CHECKING:
    import pandas as pd

FILE = Path(__file__).parent / "paper_tables.csv"
_TRAINER = "(finetune|shallow|linear)"


@dataclass(frozen=True)
class Beside:
    """The cells of one table that the results have numbers for."""

    table: str
    cells: "pd.DataFrame"
    """strategy, selected_with, split, paper_mean, paper_deviation, paper_n, mean, deviation, n, difference (fractions),
    p (NaN where it is not known: of a single seed, or of a score that is no number)."""
    missing: int
    """Cells of the table without a number of ours."""

    @property
    def known(self) -> "pd.DataFrame":
        """Cells of which agreement is known."""
        return self.cells[self.cells["p"].notna()]

    @cached_property
    def verdict(self) -> str:
        """One sentence."""
        agree = int((self.known["p"] >= LEVEL).sum())
        single, unknown = int((self.cells["n"] == 1).sum()), int(self.cells["mean"].isna().sum())
        parts = [f"{agree} of {count(len(self.known), 'cell')} agree"] if len(self.known) else []
        parts += [f"{count(single, 'cell')} of a single seed: no deviation, so no test"] if single else []
        parts += [f"{count(unknown, 'cell')} with a score that is no number"] if unknown else []
        parts += [f"{count(self.missing, 'cell')} not run"] if self.missing else []
        return f"{self.table}: {'; '.join(parts)}"


def published_tables() -> tuple[str, ...]:
    """``table1``, ``table3`` ..."""
    return tuple(f"table{number}" for number in sorted(_published()["table"].unique()))


def beside_published(evidence: Evidence, table: str) -> Beside:
    """Our numbers of the table's data set, encoder and number of labels, strategy by strategy.

    Raises SpecError for a table that the paper does not have, LedgerError where the results have none of its cells.
    """
    if table not in published_tables():
        near = did_you_mean(table, published_tables())
        raise SpecError("--published", f"there is no {table!r}.{near} There are {', '.join(published_tables())}")
    wanted = _published()
    wanted = wanted[wanted["table"] == int(table.removeprefix("table"))]
    ours = _scores(evidence)
    keys = ["dataset", "encoder", "num_labeled", "strategy", "selected_with", "split", "metric"]
    found = ours.groupby(keys, as_index=False).agg(
        mean=("value", _mean), deviation=("value", "std"), n=("value", "size"), seeds=("seed", "nunique")
    )
    cells = wanted.merge(found, on=keys)
    if cells.empty:
        raise LedgerError("cannot be compared", _why_none(table, wanted, ours), "run a file of experiments/paper")
    _refuse_mixtures(cells, ours)
    cells["difference"] = cells["mean"] - cells["paper_mean"]
    numbers = [f"{whose}{name}" for whose in ("", "paper_") for name in ("mean", "deviation", "n")]
    cells["p"] = [_welch(*row) for row in cells[numbers].to_numpy(float)]
    return Beside(table, cells, len(wanted) - len(cells))


def _why_none(table: str, wanted: "pd.DataFrame", ours: "pd.DataFrame") -> str:
    """Other data sets, encoders or numbers of labels than the table's, or of the same ones other scores."""
    places, first = ["dataset", "encoder", "num_labeled"], wanted.iloc[0]
    told = f"{first['dataset']} with {first['encoder']} at {count(int(first['num_labeled']), 'label')}"
    met = ours.merge(wanted[places].drop_duplicates(), on=places)
    if len(met):
        return f"{table} tells of {told} {_scores_in(wanted)}; these have {_scores_in(met)}"
    rows = ours.drop_duplicates(places).itertuples()
    have = listed([f"{readable(row.dataset)} with {readable(row.encoder)} at {row.num_labeled:,}" for row in rows][:5])
    return f"{table} is of {told}; of models trained end to end with FlexMatch these have {have}"


def _scores_in(rows: "pd.DataFrame") -> str:
    measures = sorted(set(zip(rows["split"], rows["metric"], strict=True)))
    strategies = sorted(set(map(readable, rows["strategy"])))
    return f"{listed(['/'.join(names) for names in measures])} of {listed(strategies)}"


def _mean(values: "pd.Series") -> float:
    """NaN if one is."""
    return float(values.mean(skipna=False))


def _refuse_mixtures(cells: "pd.DataFrame", ours: "pd.DataFrame") -> None:
    """Raises LedgerError where trials of several settings would be one cell of the table."""
    mixed = cells[cells["n"] > cells["seeds"]]
    if mixed.empty:
        return
    rows = ours[ours["strategy"] == mixed.iloc[0]["strategy"]]
    names = ("trainer", "encoder_label", "schedule")
    varying = [
        f"{name.partition('_')[0]} {listed(sorted(rows[name].unique()))}" for name in names if rows[name].nunique() > 1
    ]
    told = "; ".join(varying) or "parameters of the strategy, or repeated trials"
    what = f"several trials of one seed of {mixed.iloc[0]['strategy']} ({told})"
    raise LedgerError("cannot be compared", what, "give results of one setting")


def _published() -> "pd.DataFrame":
    import pandas as pd

    cells = pd.read_csv(FILE)
    cells["paper_mean"], cells["paper_deviation"] = cells["mean_percent"] / 100, cells["deviation_percent"] / 100
    return cells.rename(columns={"trials": "paper_n"}).drop(columns=["mean_percent", "deviation_percent"])


def _scores(evidence: Evidence) -> "pd.DataFrame":
    """Scores of FlexMatch models trained end to end, in the paper's words: on what they selected, or what heads did."""
    import pandas as pd

    rows = evidence.rows[(evidence.rows["oracle"] == "perfect") & evidence.rows["split"].isin(SCORED_SPLITS)]
    rows = rows[rows["trainer"].str.contains("flexmatch")].assign(
        encoder_label=rows["encoder"],
        encoder=rows["encoder"].map(_encoder),
        selected_with=rows["trainer"].str.extract(_TRAINER, expand=False),
    )
    selections = rows[rows["kind"] == "selection"]
    sets = ["dataset", "seed", "num_labeled", "bought"]
    bought = selections[[*sets, "strategy", "selected_with"]].drop_duplicates()
    evaluations = rows[(rows["kind"] == "evaluation") & (rows["selected_with"] == "finetune")]
    scored = evaluations.drop(columns=["strategy", "selected_with"]).merge(
        bought[bought["selected_with"] != "finetune"], on=sets
    )
    return pd.concat([selections[selections["selected_with"] == "finetune"], scored])


def _encoder(label: str) -> str:
    """The paper's word for an encoder of ours, or its label."""
    letters = re.sub(r"[^a-z0-9]", "", label.lower())
    if "vitb32" not in letters:
        return label
    return "coca_vitb32" if "coca" in letters else "clip_vitb32"


def _welch(mean: float, deviation: float, n: float, theirs: float, their_deviation: float, their_n: float) -> float:
    from scipy.stats import ttest_ind_from_stats

    if math.isnan(deviation) or deviation + their_deviation == 0:
        return math.nan
    return float(ttest_ind_from_stats(mean, deviation, n, theirs, their_deviation, their_n, equal_var=False).pvalue)


def beside_lines(beside: Beside) -> list[list[str]]:
    """Cells of text, a heading and a line for each cell of the table."""
    rows = [["strategy", "selected with", "measure", "paper, %", "ours, %", "seeds", "difference", "p", ""]]
    for cell in beside.cells.itertuples():
        measure = Measure(cell.split, cell.metric)
        agrees = "" if math.isnan(cell.p) else "agrees" if cell.p >= LEVEL else "differs"
        rows.append(
            [
                cell.strategy,
                cell.selected_with,
                measure.in_words,
                measure.write_with_error(cell.paper_mean, cell.paper_deviation),
                measure.write_with_error(cell.mean, cell.deviation),
                str(cell.n),
                signed(100 * cell.difference, 2),
                written_p(cell.p),
                agrees,
            ]
        )
    return rows
