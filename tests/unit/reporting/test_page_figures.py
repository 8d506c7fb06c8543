"""The figures beside the learning curves: ranks, time and classes, by hand and from made-up ledgers."""

import re

import numpy as np
import pytest
from ledgers import BUDGETS, write_grid, write_trial

from labelbench_ray.reporting.acquisition import Bought, chosen
from labelbench_ray.reporting.class_figure import class_figure
from labelbench_ray.reporting.comparisons import read_evidence
from labelbench_ray.reporting.cost_curves import spent
from labelbench_ray.reporting.rank_diagram import as_svg, draw_diagram, groups, laid_out, rank_diagram
from labelbench_ray.reporting.rankings import Ranking


def frame(**columns):
    import pandas as pd

    return pd.DataFrame(columns)


@pytest.mark.parametrize(
    ("ranks", "limit", "joined"),
    [
        ([1, 2, 3], 0.5, []),
        ([1, 2, 3], 1, [(0, 1), (1, 2)]),
        ([1, 2, 3], 2, [(0, 2)]),
        ([1, 1.2, 3, 3.1, 3.2], 0.5, [(0, 1), (2, 4)]),
        ([1, 1, 1], 0, [(0, 2)]),
    ],
)
def test_bars_join_the_longest_runs_within_the_critical_difference(ranks, limit, joined):
    assert groups(ranks, limit) == joined


def test_a_diagram_names_every_strategy_at_its_mean_rank():
    rng = np.random.default_rng(0)
    scores = {name: place + 0.1 * rng.normal(size=30) for place, name in enumerate(["d", "c", "<b>", "a"])}
    diagram = laid_out(Ranking(frame(**scores)))
    assert [name for *_, name in diagram.names] == ["a 1.00", "<b> 2.00", "c 3.00", "d 4.00"]
    places = [x for x, *_ in diagram.names]
    assert np.diff(places) == pytest.approx([places[1] - places[0]] * 3)
    assert [rank for _, rank in diagram.ticks] == [1, 2, 3, 4]
    assert diagram.bars == (), "thirty blocks tell neighbours apart"
    svg = as_svg(diagram)
    assert "&lt;b&gt; 2.00" in svg
    assert "<b>" not in svg


def test_a_diagram_needs_three_strategies(tmp_path):
    two = read_evidence(write_grid(tmp_path / "two", ["random", "badge"], seeds=3))
    three = read_evidence(write_grid(tmp_path / "three", ["random", "badge", "coreset"], seeds=3))
    assert rank_diagram(two) is None
    assert re.findall(r">(\w+) \d\.\d\d</text>", as_svg(rank_diagram(three))) == ["badge", "random", "coreset"]


def test_a_diagram_is_drawn_as_pdf(tmp_path):
    draw_diagram(laid_out(Ranking(frame(a=[3, 3], b=[2, 2], c=[1, 1]))), tmp_path / "ranks.pdf")
    assert (tmp_path / "ranks.pdf").read_bytes().startswith(b"%PDF")


def test_seconds_are_summed_until_the_round_that_is_measured(tmp_path):
    (comparison,) = read_evidence(write_grid(tmp_path, ["random", "badge"], seeds=2)).comparisons
    costs = comparison.costs
    rounds = costs[costs["metric"] == "round_s"].pivot_table(index=["series", "round"], values="value")["value"]
    whole = spent(comparison, "round_s").set_index(["series", "num_labeled"])["seconds"]
    assert whole["badge"].to_list() == pytest.approx(np.cumsum(rounds["badge"]).tolist())
    choosing = spent(comparison, "select_s")
    first = choosing[choosing["series"] == "badge"]
    assert BUDGETS[0] not in first["num_labeled"].to_list(), "nothing was chosen before the first round"
    chose = costs[(costs["metric"] == "select_s") & (costs["series"] == "badge") & (costs["round"] == 0)]["value"]
    assert first["seconds"].iloc[0] == pytest.approx(chose.mean())


def comparison_with(tmp_path, bought):
    for (name, seed), labels in bought.items():
        batches = [(0, [98, 99], [0, 1]), (1, list(range(len(labels))), labels)]
        write_trial(tmp_path, name, seed, bought=batches)
    evidence = read_evidence(tmp_path)
    (comparison,) = evidence.comparisons
    return comparison, chosen(evidence, comparison)


def test_shares_of_classes_beside_the_baselines(tmp_path):
    comparison, bought = comparison_with(
        tmp_path,
        {
            ("random", 0): [0, 1, 1, 2],
            ("random", 1): [1, 1, 2, 2],
            ("badge", 0): [0, 0, 0, 0],
            ("badge", 1): [0, 0, 2, 2],
        },
    )
    figure = class_figure(comparison, bought)
    assert figure["series"] == ["badge", "random"]
    assert figure["classes"] == ["class 1", "class 2", "class 0"], "in the order of random's shares"
    assert figure["shares"] == [[0, 25, 75], [50, 37.5, 12.5]]
    assert figure["colours"] == [[-50, -12.5, 62.5], [0, 0, 0]]
    assert figure["most"] == 62.5


def test_shares_without_a_baseline_are_told_as_they_are(tmp_path):
    comparison, bought = comparison_with(tmp_path, {("badge", 0): [0, 0, 0, 1]})
    figure = class_figure(comparison, bought)
    assert figure["colours"] == figure["shares"] == [[75, 25]]
    assert not figure["diverges"]


def test_no_classes_where_labels_or_sets_are_not_known(tmp_path):
    (comparison,) = read_evidence(write_grid(tmp_path, ["random"], seeds=1)).comparisons
    assert class_figure(comparison, {}) is None
    unknown = Bought(np.array([1]), np.array([-1]), np.array([1]))
    assert class_figure(comparison, {("random", 0): unknown}) is None
