"""A report on disk: a page, two CSV tables, a figure and the final table as text, from a results folder."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from labelbench_ray.benchmark.state import Ledger
from labelbench_ray.errors import LedgerError
from labelbench_ray.metrics.cards import MAIN_METRIC
from labelbench_ray.reporting import summary
from labelbench_ray.reporting.cells import CHEATS
from labelbench_ray.reporting.comparisons import BASELINE, Comparison, Evidence, read_evidence
from labelbench_ray.reporting.curves import STATISTICS
from labelbench_ray.reporting.export import is_export, read_export
from labelbench_ray.reporting.figure import draw_curves
from labelbench_ray.reporting.measures import ABSENT, Measure, count, readable
from labelbench_ray.reporting.page import render
from labelbench_ray.reporting.paper import write_paper
from labelbench_ray.reporting.pictures import read_pictures
from labelbench_ray.reporting.statistics import Compared, final_statistics
from labelbench_ray.storage.place import Where, place_at

if TYPE_CHECKING:
    import pandas as pd

HTML, CSV, FINAL_CSV, FIGURE, TEXT = "report.html", "rows.csv", "final.csv", "curves.png", "final.txt"
PAPER = "paper"
TERMINAL_MEASURES = tuple(Measure(split, metric) for metric in MAIN_METRIC.values() for split in ("test", "pool"))


@dataclass(frozen=True)
class ReportFiles:
    """Where a report was written."""

    html: Path
    csv: Path
    """All rows of the ledger."""
    final_csv: Path
    """Every measure at the last budget: mean, error, interval, paired difference."""
    figure: Path
    text: Path
    """The final table as the terminal shows it: on test and pool, and the difference to the baseline."""

    @classmethod
    def in_folder(cls, folder: Path) -> "ReportFiles":
        """Where they are, written or not."""
        return cls(folder / HTML, folder / CSV, folder / FINAL_CSV, folder / FIGURE, folder / TEXT)


def current_report(results: Where) -> ReportFiles | None:
    """The report in a results folder, where no trial has changed since it was written."""
    ledger = Ledger(results).now()
    files = ReportFiles.in_folder(ledger.place.scratch)
    try:
        written = min(file.stat().st_mtime for file in vars(files).values())
    except FileNotFoundError:
        return None
    return files if ledger.changed() < written else None


def write_report(results: Where, out: Path | None = None, *, paper: bool = False) -> ReportFiles:
    """Write the files of a report to ``out``: by default the results folder itself, of an exported file
    ``study.parquet`` the folder ``study-report`` beside it.

    With ``paper`` also LaTeX, CSV and PDF for a paper, in the folder ``paper`` beside the page.
    Made from the ledger alone, so it can be written while a grid runs, and again on another machine. Raises
    LedgerError when no round is finished, a ledger file is broken, or ``out`` cannot be written.
    """
    if is_export(results):
        file = Path(str(results))
        evidence, out = read_export(file), out or file.with_name(f"{file.stem}-report")
        pictures = {}
    else:
        evidence, pictures = read_evidence(results), read_pictures(results)
    folder = place_at(results).scratch if out is None else out
    files = ReportFiles.in_folder(folder)
    page, lines = render(evidence, pictures), summary_lines(evidence)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files.html.write_text(page, encoding="utf-8")
        evidence.rows.to_csv(files.csv, index=False)
        _final_frame(evidence).to_csv(files.final_csv, index=False)
        draw_curves(evidence, files.figure)
        files.text.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        written = [*vars(files).values(), *(write_paper(evidence, folder / PAPER) if paper else [])]
        for path in () if out else written:
            place_at(results).publish(path.relative_to(folder).as_posix())
    except OSError as error:
        what = f"cannot be written ({error.strerror or error})"
        raise LedgerError(str(out or place_at(results).where), what, "free space, or choose another folder") from error
    return files


def summary_lines(evidence: Evidence) -> list[str]:
    """The final table as plain text, one block per comparison: accuracy (multi-label: mean average precision) on test
    and pool, seeds, difference to the baseline with its interval."""
    lines: list[str] = []
    for comparison in evidence.comparisons:
        compared = final_statistics(comparison)
        lines += [*([""] if lines else []), heading(comparison)]
        lines += [f"  {line}" for line in aligned(_terminal_rows(comparison, compared))]
        lines += [f"  note: {note}" for note in (*summary.warnings(comparison), *compared.notes)]
    return lines


def heading(comparison: Comparison) -> str:
    """What all its trials share, and their last budget."""
    shared = " · ".join(readable(part) for part in (*comparison.columns.values(), comparison.setting) if part)
    return f"{shared}, at {count(comparison.final_budget, 'label')}"


def aligned(rows: list[list[str]]) -> list[str]:
    """Columns as wide as their widest cell: the first to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))]).rstrip()
        for row in rows
    ]


def in_markdown(rows: list[list[str]]) -> list[str]:
    """The lines of a Markdown table; the first row is its heading."""
    cells = [[" ".join(cell.replace("|", "&#124;").split()) for cell in row] for row in rows]
    head, *below = [f"| {' | '.join(row)} |" for row in cells]
    return [head, f"|{'---|' * len(rows[0])}", *below]


def _terminal_rows(comparison: Comparison, compared: Compared) -> list[list[str]]:
    shown = [measure for measure in TERMINAL_MEASURES if measure in comparison.measures] or [comparison.primary]
    records = {(row["series"], row["split"], row["metric"]): row for row in compared.frame.to_dict("records")}
    lead = shown[0]
    headings = [f"{measure.in_words}, {measure.unit}".rstrip(", ") for measure in shown]
    rows = [["strategy", *headings, "seeds", f"against {BASELINE}"]]
    for name in comparison.series:
        found = [(measure, records.get((name, measure.split, measure.metric))) for measure in shown]
        scores = [
            measure.write_with_error(row["mean"], row["standard_error"]) if row else ABSENT for measure, row in found
        ]
        first = found[0][1]
        gain = (
            lead.write_difference(first["difference"], first["difference_low"], first["difference_high"])
            if first and name != BASELINE
            else ABSENT
        )
        marked = f"{name} ({CHEATS})" if name in comparison.cheats else name
        rows.append([marked, *scores, str(first["n"]) if first else "0", gain])
    return rows


def _final_frame(evidence: Evidence) -> "pd.DataFrame":
    import pandas as pd

    frames = [final_statistics(comparison).frame for comparison in evidence.comparisons]
    return pd.concat(frames) if frames else pd.DataFrame(columns=["series", "split", "metric", *STATISTICS])
