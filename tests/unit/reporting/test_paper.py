"""Tables and curves for a paper: whole LaTeX environments, whatever names are in them, and CSV of the same cells."""

import csv
import re

import pytest
from ledgers import write_grid

from labelbench_ray.reporting.cells import Cell, Table
from labelbench_ray.reporting.comparisons import read_evidence
from labelbench_ray.reporting.paper import escaped, latex, plain, write_paper
from labelbench_ray.reporting.write import write_report


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a_b & 5 %", r"a\_b \& 5 \%"),
        ("\N{MINUS SIGN}1 ± 2", r"$-$1 $\pm$ 2"),
        ("{x}^2 ~ $y$ #1", r"\{x\}\textasciicircum{}2 \textasciitilde{} \$y\$ \#1"),
        (r"\input{secret}", r"\textbackslash{}input\{secret\}"),
        ("<script>\nalert</script>", r"$<$script$>$ alert$<$/script$>$"),
    ],
)
def test_signs_are_set_and_nothing_is_a_command(text, expected):
    assert escaped(text) == expected


def test_a_table_by_hand():
    rows = ((Cell("a_b", "sees hidden labels"), Cell("1.00", error="± 0.10", best=True), Cell("+0.5", "[0, 1]")),)
    table = Table("Test, %", ("Strategy", "Mean", "Gain"), rows, notes=("A note.",))
    assert latex(table, "tab:x").splitlines() == [
        r"\begin{table}",
        r"\centering",
        r"\caption{Test, \%. A note.}",
        r"\label{tab:x}",
        r"\begin{tabular}{lrr}",
        r"\toprule",
        r"Strategy & Mean & Gain \\",
        r"\midrule",
        r"a\_b (sees hidden labels) & \textbf{1.00 $\pm$ 0.10} & +0.5 [0, 1] \\",
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    assert plain(table) == [["Strategy", "Mean", "Gain"], ["a_b (sees hidden labels)", "1.00 ± 0.10", "+0.5 [0, 1]"]]


def test_every_table_of_every_comparison_is_written(tmp_path):
    for trainer in ("linear", "shallow"):
        write_grid(tmp_path / "results", ["random", "badge", "margin"], seeds=4, trainer=trainer)
    files = write_paper(read_evidence(tmp_path / "results"), tmp_path / "paper")
    stems = {file.stem for file in files}
    assert {"curves", "rank_diagram", "ranks", "penalties"} < stems
    for number, trainer in (("01", "linear"), ("02", "shallow")):
        kinds = {stem.rpartition("_")[2] for stem in stems if re.match(rf"{number}_digits_pixels_{trainer}_", stem)}
        assert kinds == {"test", "pool", "tests", "savings"}
    for file in files:
        if file.suffix == ".pdf":
            assert file.read_bytes().startswith(b"%PDF")
        elif file.suffix == ".csv":
            lines = list(csv.reader(file.read_text(encoding="utf-8").splitlines()))
            assert len({len(line) for line in lines}) == 1
        else:
            rows = [line for line in file.read_text().splitlines() if line.endswith(r"\\")]
            columns = re.search(r"\\begin\{tabular\}\{(l+r*)\}", file.read_text())[1]
            assert {line.count(" & ") + 1 for line in rows} == {len(columns)}


def test_a_report_writes_them_when_asked(tmp_path):
    results = write_grid(tmp_path / "results", ["random", "badge"], seeds=2)
    write_report(results)
    assert not (results / "paper").exists()
    write_report(results, paper=True)
    assert (results / "paper" / "curves.pdf").is_file()
