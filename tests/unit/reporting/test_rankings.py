"""Ranks, penalties and collapses on made-up ledgers, by hand and against scipy."""

import itertools

import numpy as np
import pytest
from ledgers import BUDGETS, accuracy, write_grid, write_trial

from labelbench_ray.reporting.collapses import collapse_table, collapses
from labelbench_ray.reporting.comparisons import read_evidence
from labelbench_ray.reporting.measures import Measure
from labelbench_ray.reporting.page import render
from labelbench_ray.reporting.penalties import penalties, penalty_table
from labelbench_ray.reporting.rankings import Ranking, rank_table, ranking, stability, stability_table

TEST = Measure("test", "accuracy")


def frame(**columns):
    import pandas as pd

    return pd.DataFrame(columns)


def test_ranks_and_wins_by_hand():
    found = Ranking(frame(a=[0.9, 0.8, 0.5], b=[0.8, 0.8, 0.6], c=[0.1, 0.2, 0.3]))
    assert found.ranks.to_numpy().tolist() == [[1, 2, 3], [1.5, 1.5, 3], [2, 1, 3]]
    assert found.mean_ranks.to_dict() == pytest.approx({"a": 1.5, "b": 1.5, "c": 3})
    assert found.win_rates.to_dict() == pytest.approx({"a": (1 + 0.75 + 0.5) / 3, "b": (0.5 + 0.75 + 1) / 3, "c": 0})


def test_the_critical_difference_is_that_of_demsars_table():
    # Demsar (2006), section 3.2.2: four classifiers on 14 data sets, q = 2.569 and CD = 1.25 at 0.05
    found = Ranking(frame(**{name: np.arange(14.0) for name in "abcd"}))
    assert found.critical_difference == pytest.approx(1.25, abs=0.005)


def test_every_seed_of_every_comparison_is_a_block(tmp_path):
    for trainer in ("linear", "shallow"):
        write_grid(tmp_path, ["random", "badge", "coreset"], seeds=3, trainer=trainer)
    write_grid(tmp_path, ["margin"], seeds=3)  # not in the other comparison
    write_grid(tmp_path, ["oracle"], seeds=3, cheats=True)
    write_trial(tmp_path, "random", 3)  # a seed that the others lack
    scores = ranking(read_evidence(tmp_path)).scores
    assert sorted(scores.columns) == ["badge", "coreset", "random"]
    assert len(scores) == 6
    assert scores["badge"].iloc[1] == pytest.approx(accuracy("badge", 1, 100))


def test_a_table_names_those_that_are_not_told_apart(tmp_path):
    table = rank_table(read_evidence(write_grid(tmp_path, ["random", "badge", "coreset"], seeds=10)))
    assert [row[0].text for row in table.rows] == ["badge", "random", "coreset"]
    assert "badge is not told apart from none: it is ahead of all" in table.notes[0]
    assert rank_table(read_evidence(write_grid(tmp_path / "one", ["badge"], seeds=3))) is None


def test_few_seeds_rank_as_all_do_the_better_the_more_there_are():
    from scipy.stats import kendalltau

    rng = np.random.default_rng(0)
    scores = frame(**{name: 0.1 * place + rng.normal(0, 0.1, 8) for place, name in enumerate("abcde")})
    found = stability(scores)
    assert found["seeds"].tolist() == list(range(1, 8))
    assert found["tau"].iloc[-1] > found["tau"].iloc[0] > 0
    by_hand = [scores.iloc[list(chosen)].mean().idxmax() == "e" for chosen in itertools.combinations(range(8), 3)]
    assert scores.mean().idxmax() == "e"
    assert found["same_best"].iloc[2] == pytest.approx(np.mean(by_hand))
    taus = [kendalltau(scores.iloc[seed], scores.mean()).statistic for seed in range(8)]
    assert found["tau"].iloc[0] == pytest.approx(np.mean(taus))


def test_penalties_are_paired_t_tests_at_every_budget_but_the_first(tmp_path):
    from scipy.stats import ttest_rel

    matrix = penalties(read_evidence(write_grid(tmp_path, ["random", "badge", "margin"], seeds=5)))
    values = {
        name: np.array([[accuracy(name, seed, budget) for seed in range(5)] for budget in BUDGETS[1:]])
        for name in matrix.index
    }
    for one, other in itertools.permutations(matrix.index, 2):
        tests = [ttest_rel(*pair) for pair in zip(values[one], values[other], strict=True)]
        expected = np.mean([test.pvalue < 0.05 and test.statistic > 0 for test in tests])
        assert matrix.loc[one, other] == pytest.approx(expected)
    assert matrix.loc["badge", "random"] > 0.5
    assert np.isnan(np.diag(matrix)).all()


def test_taking_part_in_fewer_comparisons_looks_no_better(tmp_path):
    for trainer in ("linear", "shallow", "finetune"):
        write_grid(tmp_path, ["random", "badge"], seeds=5, trainer=trainer)
    write_grid(tmp_path, ["coreset"], seeds=5)
    matrix = penalties(read_evidence(tmp_path))
    assert matrix.loc["badge", "coreset"] == 1.0
    assert matrix["coreset"].mean() >= matrix["random"].mean()


def test_budgets_that_one_has_not_reached_do_not_count(tmp_path):
    write_grid(tmp_path, ["random"], seeds=5)
    for seed in range(5):
        write_trial(
            tmp_path, "badge", seed, budgets=BUDGETS[:2], values={20: 0.5, 40: 0.9 + seed / 1000}, state="running"
        )
    assert penalties(read_evidence(tmp_path)).loc["badge", "random"] == 1.0


@pytest.mark.parametrize("settings", [{"cheats": True}, {"budgets": [100]}])
def test_a_report_without_anything_to_rank_is_written_all_the_same(tmp_path, settings):
    evidence = read_evidence(write_grid(tmp_path, ["random", "badge"], seeds=3, **settings))
    assert penalty_table(evidence) is None
    assert "random" in render(evidence)


def test_scores_that_all_tie_give_no_p():
    assert np.isnan(Ranking(frame(a=[1.0, 2.0], b=[1.0, 2.0], c=[1.0, 2.0])).friedman_p)


def test_strategies_that_a_comparison_lacks_are_named(tmp_path):
    write_grid(tmp_path, ["random", "badge", "margin"], seeds=3)
    write_grid(tmp_path, ["random", "badge"], seeds=3, trainer="shallow")
    write_grid(tmp_path, ["random"], seeds=3, trainer="finetune")  # nothing to rank
    (note,) = rank_table(read_evidence(tmp_path)).notes
    assert note.endswith("Not ranked, because a comparison lacks them: margin.")


def test_comparisons_are_averaged_and_what_cannot_be_paired_adds_nothing(tmp_path):
    for trainer in ("linear", "shallow"):
        write_grid(tmp_path, ["random", "badge"], seeds=5, trainer=trainer)
    whole = penalties(read_evidence(tmp_path)).loc["badge", "random"]
    assert 0.5 < whole <= 1
    write_grid(tmp_path, ["margin"], seeds=5, initial="elsewhere")
    write_grid(tmp_path, ["oracle"], seeds=5, cheats=True)
    matrix = penalties(read_evidence(tmp_path))
    assert list(matrix.index) == ["badge", "margin", "random"]
    assert matrix["margin"].isna().all()
    assert matrix.loc["badge", "random"] == whole
    table = penalty_table(read_evidence(tmp_path))
    assert table.columns == ("Strategy", "badge", "random")
    assert [cell.text for cell in table.rows[-1]] == ["is beaten, mean", "0.00", f"{whole:.2f}"]


def test_a_drop_and_recovery_is_listed_and_other_dips_are_not(tmp_path):
    curves = {
        0: (0.6, 0.7, 0.3, 0.5, 0.8),  # down by 0.4, back by 0.5
        1: (0.6, 0.7, 0.3, 0.4, 0.49),  # never back by more than 0.2
        2: (0.3, 0.5, 0.6, 0.7, 0.4),  # a drop at the end has not recovered
        3: (0.6, 0.5, 0.4, 0.5, 0.61),  # just 0.2
    }
    for seed, curve in curves.items():
        write_trial(tmp_path, "badge", seed, values=dict(zip(BUDGETS, curve, strict=True)))
    (comparison,) = read_evidence(tmp_path).comparisons
    (row,) = collapses(comparison, TEST).to_dict("records")
    assert (row["series"], row["seed"], row["before"], row["at"], row["after"]) == ("badge", 0, 0.7, 0.3, 0.8)
    assert (row["labels_before"], row["labels_at"], row["labels_after"]) == (40, 60, 100)
    assert [cell.text for cell in collapse_table(comparison).rows[0]] == ["badge", "0", "70.00", "30.00", "80.00"]
    assert collapses(comparison, Measure("test", "log_loss")).empty


def test_a_steady_grid_has_no_collapses(tmp_path):
    (comparison,) = read_evidence(write_grid(tmp_path, ["random"], seeds=2)).comparisons
    assert collapse_table(comparison) is None


def test_three_seeds_tell_nothing_of_stability(tmp_path):
    (few,) = read_evidence(write_grid(tmp_path / "few", ["random", "badge", "margin"], seeds=3)).comparisons
    (enough,) = read_evidence(write_grid(tmp_path / "enough", ["random", "badge", "margin"], seeds=4)).comparisons
    assert stability_table(few) is None
    assert [row[0].text for row in stability_table(enough).rows] == ["1", "2", "3"]
