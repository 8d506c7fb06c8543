"""Bundles of several groups as one table a benchmark, with who answers for each row.

A benchmark is everything that can change a number except strategy and seed, as in reporting/comparisons.py. A trial
that several bundles hold counts once: as the first of them tells it, signed off by all that ran it on that kind of
machine, whose numbers must be equal. On another kind a strategy may buy other sets, and neither number is wrong.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labelbench_ray.errors import LedgerError, SpecError
from labelbench_ray.reporting.bundle import ROWS, check_bundle, read_manifest
from labelbench_ray.reporting.cells import name_cell, records
from labelbench_ray.reporting.comparisons import BASELINE, COLUMNS, Comparison, Evidence, setting_of
from labelbench_ray.reporting.export import read_export
from labelbench_ray.reporting.measures import ABSENT, SCORED_SPLITS, Measure
from labelbench_ray.reporting.paired_tests import LEVEL, paired_tests
from labelbench_ray.reporting.savings import label_savings, needed_labels
from labelbench_ray.reporting.statistics import areas, best_first, final_statistics
from labelbench_ray.reporting.write import aligned, heading, in_markdown

if TYPE_CHECKING:
    import pandas as pd

SUFFIXES = (".md", ".csv")


@dataclass(frozen=True)
class Leaderboard:
    """The trials of several bundles, each once."""

    evidence: Evidence
    signatures: "pd.DataFrame"
    """Columns trial, numeric_class, bundle, signed_off_by: a row for each bundle that holds a trial."""

    def standings(self) -> "pd.DataFrame":
        """``standings`` of all benchmarks, with ``bundle`` and ``signed_off_by``, which may each be several."""
        import pandas as pd

        return pd.concat(map(self._signed, self.evidence.comparisons), ignore_index=True)

    def tables(self) -> list[tuple[str, list[list[str]]]]:
        """The heading of each benchmark, and its rows as text below their columns."""
        return [(heading(one), self._cells(one)) for one in self.evidence.comparisons]

    def as_markdown(self) -> str:
        """A heading and a table for each benchmark."""
        blocks = ["\n".join([f"### {title}", "", *in_markdown(cells)]) for title, cells in self.tables()]
        return "\n\n".join(blocks) + "\n"

    def as_text(self) -> str:
        """The same for a terminal."""
        blocks = ["\n".join([title, *(f"  {line}" for line in aligned(cells))]) for title, cells in self.tables()]
        return "\n\n".join(blocks)

    def _signed(self, comparison: Comparison) -> "pd.DataFrame":
        trials = comparison.rows[["series", "trial", "numeric_class"]].drop_duplicates().merge(self.signatures)
        signed = trials.groupby("series")[["bundle", "signed_off_by"]].agg(lambda names: ", ".join(sorted(set(names))))
        return standings(comparison).merge(signed.reset_index(), on="series")

    def _cells(self, comparison: Comparison) -> list[list[str]]:
        measure = comparison.primary
        columns = [
            "strategy",
            f"{measure.in_words}, {measure.unit}".rstrip(", "),
            f"against {BASELINE}",
            f"labels for {BASELINE}'s last {measure.name}",
            "mean over the curve",
            "seeds",
            "bundle",
            "signed off by",
            "numeric class",
        ]
        return [columns, *(_row(comparison, row) for row in records(self._signed(comparison)))]


def _row(comparison: Comparison, row: dict[str, Any]) -> list[str]:
    measure, name = comparison.primary, name_cell(comparison, row["series"])
    return [
        f"{name.text} ({name.detail})" if name.detail else name.text,
        measure.write_with_error(row["mean"], row["standard_error"]),
        ABSENT if row["series"] == BASELINE else starred_difference(measure, row),
        needed_labels(row),
        measure.write_with_error(row["area_mean"], row["area_standard_error"]),
        str(row["n"]),
        row["bundle"],
        row["signed_off_by"],
        row["numeric_class"],
    ]


def standings(comparison: Comparison) -> "pd.DataFrame":
    """Strategies by the comparison's own measure at the last budget, the best first; those that cheat come last.

    Columns of ``final_statistics``; p_holm; labels and at_start of ``label_savings``; and, of the mean height of the
    curve, area_mean, area_standard_error, area_difference, area_difference_low and area_difference_high.
    """
    measure = comparison.primary
    final = final_statistics(comparison).frame
    found = final[(final["split"] == measure.split) & (final["metric"] == measure.metric)]
    area = areas(comparison, measure).frame.set_index("series").add_prefix("area_").reset_index()
    parts = (
        paired_tests(comparison, measure)[["series", "p_holm"]],
        label_savings(comparison, measure)[["series", "labels", "at_start"]],
        area[["series", *(f"area_{name}" for name in _OF_AREA)]],
    )
    for part in parts:
        found = found.merge(part, on="series", how="left")
    return best_first(found, measure).sort_values("cheats", kind="stable", ignore_index=True)


_OF_AREA = ("mean", "standard_error", "difference", "difference_low", "difference_high")


def starred_difference(measure: Measure, row: dict[str, Any]) -> str:
    """``+1.80 [+1.20, +2.40] *``: the star where Holm's corrected p is below LEVEL; a dash without a difference."""
    if math.isnan(row["difference"]):
        return ABSENT
    told = measure.write_difference(row["difference"], row["difference_low"], row["difference_high"])
    return f"{told} *" if row["p_holm"] < LEVEL else told


def read_leaderboard(bundles: Sequence[Path]) -> Leaderboard:
    """All trials of bundles that were checked first.

    Raises NoResultsError for one that is missing, LedgerError for one that is not what was signed off, for two that
    give a trial different numbers on one kind of machine, and where no trial selects.
    """
    import pandas as pd

    read = {bundle: _checked(bundle) for bundle in bundles}
    for first, second in itertools.combinations(read, 2):
        _check_agreement(first, second, read[first].rows, read[second].rows)
    rows = pd.concat([evidence.rows.assign(place=place) for place, evidence in enumerate(read.values())])
    rows = rows[rows["place"] == rows.groupby("trial")["place"].transform("min")].reset_index(drop=True)
    trials = {record.trial: record for evidence in read.values() for record in evidence.trials}
    settings = rows["trial"].map({trial: setting_of(record.identity) for trial, record in trials.items()})
    # One content may have another name elsewhere, such as that of its file: the first bundle's name stands for all.
    rows[list(COLUMNS)] = rows.groupby(settings)[list(COLUMNS)].transform("first")
    evidence = Evidence(rows.drop(columns="place"), tuple(trials.values()))
    if not evidence.comparisons:
        told = "no trial that selects is in these bundles"
        raise LedgerError(", ".join(map(str, bundles)), told, "give one of a study, not of evaluations alone")
    return Leaderboard(evidence, pd.concat(_signatures(bundle, one.rows) for bundle, one in read.items()))


def _checked(bundle: Path) -> Evidence:
    if problems := check_bundle(bundle):
        raise LedgerError(str(bundle), "; ".join(problems), "get the bundle again, or leave it out")
    return read_export(bundle / ROWS)


def _check_agreement(first: Path, second: Path, theirs: "pd.DataFrame", ours: "pd.DataFrame") -> None:
    """Raises LedgerError where numbers differ that one kind of machine gives alike, bit by bit."""
    keys = ["trial", "numeric_class", "round", "split", "metric"]
    both = theirs[theirs["split"].isin(SCORED_SPLITS)].merge(ours, on=keys, suffixes=("", "_again"))
    is_same = (both["value"] == both["value_again"]) | (both["value"].isna() & both["value_again"].isna())
    for row in records(both[~is_same | (both["bought"] != both["bought_again"])]):
        what = f"{row['split']} {row['metric']} of round {row['round']}"
        told = f"trial {row['trial']} is not the one of {first}: another {what}"
        raise LedgerError(str(second), told, "see which comes again by `labelbench verify --rerun`, and leave one out")


def _signatures(bundle: Path, rows: "pd.DataFrame") -> "pd.DataFrame":
    signed_off_by = read_manifest(bundle)["signed_off_by"]
    held = rows[["trial", "numeric_class"]].drop_duplicates()
    return held.assign(bundle=bundle.resolve().name, signed_off_by=signed_off_by)


def write_leaderboard(board: Leaderboard, file: Path) -> None:
    """Write the tables as Markdown (.md), or the standings as CSV (.csv).

    Raises SpecError for another suffix, LedgerError where the file cannot be written.
    """
    if file.suffix not in SUFFIXES:
        raise SpecError("--out", f"must end in {' or '.join(SUFFIXES)}, got {file}")
    text = board.standings().to_csv(index=False) if file.suffix == ".csv" else board.as_markdown()
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        what = f"cannot be written ({error.strerror or error})"
        raise LedgerError(str(file), what, "free space, or choose another file") from None
