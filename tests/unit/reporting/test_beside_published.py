"""Our numbers beside the paper's: what meets, what is told of a difference, and what is refused."""

import numpy as np
import pytest
from ledgers import write_grid, write_trial

from labelbench_ray.errors import LedgerError, SpecError
from labelbench_ray.reporting.comparisons import read_evidence
from labelbench_ray.reporting.published import beside_lines, beside_published, published_tables

OURS = {"dataset": "cifar10", "encoder": "open_clip(ViT-B-32, openai)", "trainer": "finetune(flexmatch, epochs=10)"}


def write(results, strategy, scores, **changes):
    for seed, score in enumerate(scores):
        write_trial(results, strategy, seed, budgets=[10_000], values={10_000: score}, **(OURS | changes))
    return results


def beside(results, table="table4"):
    return beside_published(read_evidence(results), table)


def test_the_paper_has_six_tables_of_strategies():
    assert published_tables() == ("table1", "table3", "table4", "table5", "table6", "table7")


def test_a_number_like_the_papers_agrees_and_another_differs(tmp_path):
    write(tmp_path, "margin", (0.9790, 0.9801, 0.9797, 0.9804))  # the paper: 97.97 +- 0.12
    write(tmp_path, "badge", (0.9610, 0.9615, 0.9612, 0.9608))  # the paper: 97.9
    found = beside(tmp_path)
    test = found.cells[found.cells["split"] == "test"].set_index("strategy")
    assert test["selected_with"].unique().tolist() == ["finetune"]
    assert test.loc["margin", "p"] > 0.5
    assert test.loc["badge", "p"] < 0.001
    assert found.missing == 48 - len(found.cells)
    lines = {(line[0], line[2]): line[-1] for line in beside_lines(found)[1:]}
    assert (lines["margin", "test accuracy"], lines["badge", "test accuracy"]) == ("agrees", "differs")


def test_p_is_that_of_welchs_test(tmp_path):
    from scipy.stats import ttest_ind

    scores = (0.9790, 0.9801, 0.9797, 0.9804)
    row = beside(write(tmp_path, "random", scores)).cells.set_index("split").loc["test"]
    theirs = np.array([-1.0, -1.0, 1.0, 1.0]) / np.std([-1, -1, 1, 1], ddof=1)
    theirs = row["paper_mean"] + row["paper_deviation"] * theirs
    assert row["p"] == pytest.approx(ttest_ind(scores, theirs, equal_var=False).pvalue)


def test_sets_of_a_head_are_scored_by_the_model_that_counts(tmp_path):
    for seed in range(2):
        write_trial(tmp_path, "margin", seed, budgets=[10_000], **(OURS | {"trainer": "linear(flexmatch)"}))
        write_trial(tmp_path, "margin", seed, kind="evaluation", budgets=[10_000], values={10_000: 0.978}, **OURS)
    found = beside(tmp_path)
    assert set(found.cells["selected_with"]) == {"linear"}
    assert found.cells["mean"].tolist() == [0.978, 0.978]


def test_other_ways_of_training_and_noise_are_not_the_papers(tmp_path):
    write(tmp_path, "margin", (0.979, 0.980), trainer="finetune(supervised)")
    with pytest.raises(
        LedgerError, match=r"table4 is of cifar10 with clip_vitb32 at 10,000 labels; .* these have none"
    ):
        beside(tmp_path)


def test_trials_of_several_settings_are_not_one_cell(tmp_path):
    write(tmp_path, "margin", (0.979, 0.980))
    write(tmp_path, "margin", (0.90, 0.91), trainer="finetune(flexmatch, epochs=2)")
    told = (
        r"several trials of one seed of margin \(trainer finetune\(flexmatch, epochs=10\) and .*; give results of one"
    )
    with pytest.raises(LedgerError, match=told):
        beside(tmp_path)


def test_a_score_that_is_no_number_is_told(tmp_path):
    found = beside(write(tmp_path, "margin", (0.979, float("nan"))))
    assert "2 cells with a score that is no number" in found.verdict


def test_one_seed_is_beside_but_not_tested(tmp_path):
    found = beside(write(tmp_path, "margin", (0.979,)))
    assert found.cells["p"].isna().all()
    assert "of a single seed: no deviation, so no test" in found.verdict


def test_another_data_set_or_table_is_refused_in_one_line(tmp_path):
    write_grid(tmp_path, ["random"], seeds=1, trainer="linear(flexmatch)")
    with pytest.raises(LedgerError, match="run a file of experiments/paper"):
        beside(tmp_path)
    with pytest.raises(SpecError, match=r"there is no 'table2'. Did you mean: table"):
        beside(tmp_path, "table2")
