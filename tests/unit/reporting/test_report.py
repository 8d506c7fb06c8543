import json
import os
import re
from html.parser import HTMLParser

import pytest
from ledgers import BUDGETS, accuracy, write_grid, write_trial

from labelbench_ray.errors import LedgerError
from labelbench_ray.reporting.comparisons import read_evidence
from labelbench_ray.reporting.page import render
from labelbench_ray.reporting.statistics import final_statistics
from labelbench_ray.reporting.styles import COLORS, GREY, MARKERS, series_styles
from labelbench_ray.reporting.tables import final_tables
from labelbench_ray.reporting.write import current_report, summary_lines, write_report

HOSTILE = "<script>alert(1)</script>"


class Page(HTMLParser):
    """The visible text, the cells of every table by caption, and the tags that were opened."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.text, self.tables, self.scripts = [], [], "", {}, []
        self._open = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in ("meta", "line", "br"):
            self._open.append(tag)
        if tag == "table":
            self._caption, self._rows = "", []
        if tag == "tr":
            self._rows.append([])
        if tag in ("td", "th"):
            self._rows[-1].append("")

    def handle_endtag(self, tag):
        if tag == "table":
            self.tables[self._caption] = self._rows
        if self._open and self._open[-1] == tag:
            self._open.pop()

    def handle_data(self, data):
        if "script" in self._open or "style" in self._open:
            self.scripts.append(data)
            return
        self.text += data
        if "caption" in self._open:
            self._caption += data.strip()
        elif "td" in self._open or "th" in self._open:
            self._rows[-1][-1] = f"{self._rows[-1][-1]} {data.strip()}".strip()

    def table(self, start):
        (found,) = [rows for caption, rows in self.tables.items() if caption.startswith(start)]
        return found

    def figures(self):
        return json.loads(self.scripts[1])


def page(results):
    return Page(render(read_evidence(results)))


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Two strategies, three seeds, all done."""
    return write_grid(tmp_path_factory.mktemp("plain"), ["random", "badge"], seeds=3)


@pytest.fixture(scope="module")
def plain_page(plain):
    return page(plain)


def test_all_files_are_written(tmp_path):
    import pandas as pd

    results, out = write_grid(tmp_path / "results", ["random", "badge"], seeds=2), tmp_path / "out"
    files = write_report(results, out)
    assert {path.name for path in out.iterdir()} == {"report.html", "rows.csv", "final.csv", "curves.png", "final.txt"}
    assert files.figure.read_bytes().startswith(b"\x89PNG")
    rows = pd.read_csv(files.csv)
    assert len(rows) == len(read_evidence(results).rows)
    final = pd.read_csv(files.final_csv)
    (badge,) = final[
        (final["series"] == "badge") & (final["metric"] == "accuracy") & (final["split"] == "test")
    ].to_dict("records")
    assert badge["mean"] == pytest.approx((accuracy("badge", 0, 100) + accuracy("badge", 1, 100)) / 2)
    assert badge["pairs"] == 2


def test_files_go_beside_the_ledger_by_default(plain):
    files = write_report(plain)
    assert files.html == plain / "report.html"
    assert files.html.is_file()


def test_an_unwritable_folder_is_one_line(tmp_path):
    results = write_grid(tmp_path / "results", ["random"], seeds=1)
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerError, match="cannot be written"):
        write_report(results, tmp_path / "file" / "out")


def test_the_same_ledger_gives_the_same_page(plain):
    assert render(read_evidence(plain)) == render(read_evidence(plain))


def test_the_page_needs_nothing_from_outside(plain_page):
    shown = plain_page
    assert not {"a", "link", "img", "iframe", "form"} & set(shown.tags)
    assert not [name for name, _ in shown.attributes if name in ("src", "href", "onclick", "onload")]
    assert shown.tags.count("script") == 4
    policy = dict(shown.attributes)["content"]
    assert policy.startswith("default-src 'none'")
    own = shown.scripts[-1]
    assert not re.search(r"localStorage|sessionStorage|fetch\(|XMLHttpRequest|window\.open", own)


def test_the_final_table(plain_page):
    shown = plain_page
    heading, badge, random = shown.table("Test at 100 labels")
    assert heading[:4] == ["Strategy", "Seeds", "Accuracy against random, points", "Accuracy, %"]
    assert badge[:2] == ["badge", "3"]
    assert random[:3] == ["random", "3", "baseline"]
    mean = sum(accuracy("badge", seed, 100) for seed in range(3)) / 3
    assert badge[3].startswith(f"{100 * mean:.2f} ±")
    assert badge[2].startswith("+")
    assert "[" in badge[2]


def test_figures_hold_means_intervals_and_counts(plain_page):
    figure, cost = plain_page.figures()
    assert cost["control"] == "Time"
    assert [series["name"] for series in figure["series"]] == ["badge", "random"]
    choice = figure["choices"][figure["shown"]]
    assert choice["title"] == "Test accuracy"
    curve = choice["curves"][0]
    assert curve["x"] == list(BUDGETS)
    assert curve["mean"][0] == pytest.approx(100 * sum(accuracy("badge", seed, 20) for seed in range(3)) / 3)
    assert curve["low"][0] < curve["mean"][0] < curve["high"][0]
    assert "3 seeds" in curve["text"][0]
    assert "[" in curve["text"][0]
    assert {other["title"] for other in figure["choices"]} >= {"Pool accuracy", "Pool annotation accuracy"}


def test_curves_have_no_running_maximum(tmp_path):
    write_trial(tmp_path, "random", values={20: 0.5, 40: 0.9, 60: 0.6, 80: 0.7, 100: 0.8})
    figure = page(tmp_path).figures()[0]
    means = figure["choices"][figure["shown"]]["curves"][0]["mean"]
    assert means == pytest.approx([50, 90, 60, 70, 80])


def test_one_seed_draws_no_band(tmp_path):
    shown = page(write_grid(tmp_path, ["random", "badge"], seeds=1))
    curve = shown.figures()[0]["choices"][0]["curves"][0]
    assert curve["low"] == curve["high"] == [None] * 5
    assert "no interval can be given" in shown.text
    assert "±" not in shown.table("Test at 100 labels")[1][3]


def test_two_seeds_draw_no_band_but_tell_their_interval(tmp_path):
    figure = page(write_grid(tmp_path, ["random"], seeds=2)).figures()[0]
    curve = figure["choices"][figure["shown"]]["curves"][0]
    assert curve["low"] == [None] * 5
    assert "[" in curve["text"][0]


def test_bold_marks_the_best_fair_mean_in_its_direction(tmp_path):
    for name, value, cheats in (("random", 0.6, False), ("badge", 0.7, False), ("upper_bound", 0.9, True)):
        write_trial(tmp_path, name, values=dict.fromkeys(BUDGETS, value), cheats=cheats)
    (comparison,) = read_evidence(tmp_path).comparisons
    test_table = final_tables(comparison, final_statistics(comparison))[0]
    bold = {row[0].text: sum(cell.best for cell in row) for row in test_table.rows}
    assert bold == {"badge": 6, "upper_bound": 0, "random": 0}


def test_hostile_names_stay_text(tmp_path):
    write_grid(tmp_path, ["random", HOSTILE], seeds=2, dataset=HOSTILE, encoder="'\"><img src=x onerror=alert(1)>")
    write_trial(tmp_path, "badge", budgets=(), state="failed", error=HOSTILE, dataset=HOSTILE)
    html = render(read_evidence(tmp_path))
    assert HOSTILE not in html
    shown = Page(html)
    assert "img" not in shown.tags
    assert shown.tags.count("script") == 4
    assert HOSTILE in shown.text
    names = [series["name"] for series in shown.figures()[0]["series"]]
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in names  # plotly reads HTML in names: it gets them escaped


def test_odd_names_can_be_drawn(tmp_path):
    names = ["random", "_hidden", "a$b$c_{", "%{x}", "策略", HOSTILE]
    files = write_report(write_grid(tmp_path, names, seeds=1))
    assert files.figure.stat().st_size > 1000


def test_a_missing_baseline_is_said(tmp_path):
    shown = page(write_grid(tmp_path, ["badge", "margin"], seeds=3))
    assert "random is not among the strategies" in shown.text
    assert shown.table("Test at 100 labels")[1][2] == "–"


def test_failed_and_unfinished_trials_are_shown(tmp_path):
    write_grid(tmp_path, ["random"], seeds=1)
    write_trial(tmp_path, "badge", 3, budgets=BUDGETS[:2], state="failed", error="strategy badge: ran out of luck")
    write_trial(tmp_path, "margin", 4, budgets=(), state="running", described=False)
    heading, failed, running = page(tmp_path).table("2 of 3 trials not done")
    assert heading[1] == "State"
    assert failed[1:3] == ["failed", "2"]
    assert failed[4] == "strategy badge: ran out of luck"
    assert "badge" in failed[3]
    assert "seed 3" in failed[3]
    assert running[1] == "interrupted", "nobody holds it"
    assert running[3] == "–"


def test_all_done_says_nothing_of_failures(plain_page):
    assert "not done" not in plain_page.text


def test_end_to_end_scores_have_their_section(tmp_path):
    write_grid(tmp_path, ["random", "badge"], seeds=3)
    for seed in range(3):
        for name in ("random", "badge"):
            for labels in (60, 100):
                values = {labels: accuracy(name, seed, labels) + 0.05}
                write_trial(
                    tmp_path, name, seed, kind="evaluation", trainer="finetune", budgets=(labels,), values=values
                )
    shown = page(tmp_path)
    rows = shown.table("Test accuracy: the model that selected and finetune")
    assert [row[:2] for row in rows[1:]] == [["badge", "60"], ["random", "60"], ["badge", "100"], ["random", "100"]]
    assert all(row[5].startswith("+5.00") for row in rows[1:])
    assert [figure["index"] for figure in shown.figures()] == [0, 1, 2], "curves, time, both models"


def test_a_report_is_current_until_a_trial_changes(tmp_path):
    write_grid(tmp_path, ["random"], seeds=1)
    assert current_report(tmp_path) is None
    written = write_report(tmp_path)
    older = written.text.stat().st_mtime - 10
    for path in (tmp_path / "trials").rglob("*"):
        os.utime(path, (older, older))
    os.utime(tmp_path / "trials", (older, older))
    assert current_report(tmp_path) == written
    write_trial(tmp_path, "badge", 0)
    assert current_report(tmp_path) is None
    written.text.unlink()
    assert current_report(tmp_path) is None


def test_a_folder_of_evaluations_only(tmp_path):
    import pandas as pd

    write_trial(tmp_path, kind="evaluation", trainer="finetune", budgets=(100,))
    files = write_report(tmp_path)
    shown = Page(files.html.read_text())
    assert "evaluations only" in shown.text
    assert "1 evaluation of sets" in shown.text
    assert pd.read_csv(files.final_csv).empty
    assert files.text.read_text() == ""


def test_mixed_numeric_classes_are_seen_everywhere(tmp_path):
    write_trial(tmp_path, "random", 0, numeric_class="cpu")
    write_trial(tmp_path, "random", 1, numeric_class="gpu")
    shown = page(tmp_path)
    assert "2 numeric classes (cpu and gpu)" in shown.text
    assert "mixed numeric classes" in shown.table("Test at 100 labels")[1][0]
    assert any("numeric classes" in line for line in summary_lines(read_evidence(tmp_path)))


def test_hidden_labels_are_marked(tmp_path):
    write_grid(tmp_path, ["random"], seeds=2)
    write_grid(tmp_path, ["upper_bound"], seeds=2, cheats=True)
    shown = page(tmp_path)
    assert "sees hidden labels" in shown.table("Test at 100 labels")[2][0] + shown.table("Test at 100 labels")[1][0]
    assert any("upper_bound (sees hidden labels)" in line for line in summary_lines(read_evidence(tmp_path)))


def test_several_comparisons_have_a_line_each(tmp_path):
    for trainer in ("linear", "shallow"):
        write_grid(tmp_path, ["random", "badge"], seeds=3, trainer=trainer)
    shown = page(tmp_path)
    heading, linear, shallow = shown.table("Best mean")
    assert heading[0] == "Comparison"
    assert linear[:2] == ["digits · linear", "badge"]
    assert shallow[:2] == ["digits · shallow", "badge"]


def test_provenance_and_spec(plain_page):
    text = plain_page.text
    assert "torch 2.15.0" in text
    assert "x86_64-AVX2-torch2.15.0" in text
    assert '"strategies"' in text


def test_a_ledger_without_descriptions_has_a_report(tmp_path):
    text = page(write_grid(tmp_path, ["random", "badge"], seeds=2, described=False, state=None)).text
    assert "badge has the best mean test accuracy" in text
    assert "Specification" not in text


def test_one_budget_needs_no_savings(tmp_path):
    shown = page(write_grid(tmp_path, ["random", "badge"], seeds=2, budgets=(20,)))
    assert "Label savings" not in shown.text
    assert len(shown.table("Test at 20 labels")) == 3


def test_a_metric_that_is_not_a_number_is_a_gap(tmp_path):
    write_trial(tmp_path, "random", values={20: 0.5, 40: float("nan"), 60: 0.6, 80: 0.7, 100: float("nan")})
    shown = page(tmp_path)
    figure = shown.figures()[0]
    assert figure["choices"][figure["shown"]]["curves"][0]["mean"][1] is None
    assert shown.table("Test at 100 labels")[1][3] == "–"


def test_terminal_lines(plain):
    lines = summary_lines(read_evidence(plain))
    assert write_report(plain).text.read_text().splitlines() == lines
    assert lines[0] == "digits · pixels · linear · perfect · 20+20x4, at 100 labels"
    assert " ".join(lines[1].split()) == "strategy test accuracy, % pool accuracy, % seeds against random"
    mean = sum(accuracy("badge", seed, 100) for seed in range(3)) / 3
    assert lines[2].strip().startswith("badge")
    assert f"{100 * mean:.2f} ±" in lines[2]
    assert lines[3].strip().startswith("random")
    assert len({line.index("±") for line in lines[2:4]}) == 1


def test_styles_tell_thirty_strategies_apart():
    names = [f"strategy{index:02d}" for index in range(30)]
    styles = series_styles([*names, "random"])
    assert len({(style.color, style.symbol) for style in styles.values()}) == 31
    assert styles["random"].color == GREY
    assert styles["random"].dash == "dash"
    assert styles["strategy00"].color == COLORS[0]
    assert series_styles(reversed([*names, "random"])) == styles
    assert len(COLORS) * len(MARKERS) >= 30
