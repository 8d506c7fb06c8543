r"""A report's tables as LaTeX (for \usepackage{booktabs}) and CSV, and its curves as PDF: to be put into a paper."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path

from labelbench_ray.reporting.cells import Cell, Table
from labelbench_ray.reporting.comparisons import Evidence
from labelbench_ray.reporting.figure import draw_curves
from labelbench_ray.reporting.measures import one_line
from labelbench_ray.reporting.paired_tests import table_of_tests
from labelbench_ray.reporting.penalties import penalty_table
from labelbench_ray.reporting.rank_diagram import draw_diagram, rank_diagram
from labelbench_ray.reporting.rankings import rank_table
from labelbench_ray.reporting.savings import savings_table
from labelbench_ray.reporting.statistics import final_statistics
from labelbench_ray.reporting.tables import final_tables

_ESCAPED = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "\N{MINUS SIGN}": "$-$",
    "\N{PLUS-MINUS SIGN}": r"$\pm$",
    "\N{LESS-THAN OR EQUAL TO}": r"$\le$",
    "\N{EN DASH}": "--",
    "\N{MIDDLE DOT}": r"$\cdot$",
    "\N{REPLACEMENT CHARACTER}": "?",
}


def write_paper(evidence: Evidence, folder: Path) -> list[Path]:
    """Write ``curves.pdf``, ``rank_diagram.pdf`` of three strategies or more, and every table as .tex and .csv.

    Raises OSError where that cannot be done.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / "curves.pdf"]
    draw_curves(evidence, files[0])
    if diagram := rank_diagram(evidence):
        files.append(folder / "rank_diagram.pdf")
        draw_diagram(diagram, files[-1])
    for name, table in _tables(evidence):
        files += [folder / f"{name}.tex", folder / f"{name}.csv"]
        files[-2].write_text(latex(table, f"tab:{name}"), encoding="utf-8")
        with files[-1].open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows(plain(table))
    return files


def _tables(evidence: Evidence) -> Iterator[tuple[str, Table]]:
    """Every table with the name of its file: those of the second comparison begin with 02."""
    for name, table in (("ranks", rank_table(evidence)), ("penalties", penalty_table(evidence))):
        if table:
            yield name, table
    for number, comparison in enumerate(evidence.comparisons, start=1):
        found = {
            **{
                table.caption.split()[0].lower(): table
                for table in final_tables(comparison, final_statistics(comparison))
            },
            "tests": table_of_tests(comparison),
            "savings": savings_table(comparison),
        }
        setting = re.sub(r"[^a-z0-9]+", "_", "_".join(comparison.columns.values()).lower()).strip("_")[:80]
        yield from ((f"{number:02}_{setting}_{name}", table) for name, table in found.items() if table)


def latex(table: Table, label: str) -> str:
    """A whole table environment. What stands in small print on the page follows in brackets or parentheses."""
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escaped(' '.join([table.caption + '.', *table.notes]))}}}",
        rf"\label{{{label}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(table.columns) - 1)}}}",
        r"\toprule",
        _line(map(escaped, table.columns)),
        r"\midrule",
        *(_line(map(_cell, row)) for row in table.rows),
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def plain(table: Table) -> list[list[str]]:
    """The heading and the rows as text."""
    return [list(table.columns), *([" ".join(_parts(cell)) for cell in row] for row in table.rows)]


def escaped(text: str) -> str:
    """Text as LaTeX sets it, whatever signs are in it. One that begins as an option of the line before does not."""
    signs = [_ESCAPED.get(sign, sign) for sign in one_line(text)]
    return "".join(["{}" if text.lstrip()[:1] in ("[", "*") else "", *signs])


def _parts(cell: Cell) -> list[str]:
    detail = cell.detail if not cell.detail or cell.detail.startswith("[") else f"({cell.detail})"
    return [part for part in (cell.text, cell.error, detail) if part]


def _cell(cell: Cell) -> str:
    text = escaped(" ".join(_parts(cell)))
    return rf"\textbf{{{text}}}" if cell.best else text


def _line(cells: "map[str]") -> str:
    return " & ".join(cells) + r" \\"
