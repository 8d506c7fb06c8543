import pytest
from ledgers import BUDGETS, write_grid, write_trial

from labelbench_ray.errors import LedgerError
from labelbench_ray.reporting.comparisons import read_evidence
from labelbench_ray.reporting.measures import Measure


def test_an_empty_ledger_says_what_to_do(tmp_path):
    (tmp_path / "trials").mkdir()
    with pytest.raises(LedgerError, match="no finished round yet; run `labelbench run FILE` first"):
        read_evidence(tmp_path)


def test_a_ledger_of_failures_names_the_first(tmp_path):
    write_trial(tmp_path, budgets=(), state="failed", error="trainer linear: it broke; mend it")
    with pytest.raises(LedgerError, match="1 failed: trainer linear: it broke"):
        read_evidence(tmp_path)


def test_columns_make_comparisons(tmp_path):
    write_grid(tmp_path, ["random", "badge"], seeds=1)
    write_grid(tmp_path, ["random"], seeds=1, trainer="shallow")
    first, second = read_evidence(tmp_path).comparisons
    assert (first.columns["trainer"], first.series) == ("linear", ("badge", "random"))
    assert (second.columns["trainer"], second.series) == ("shallow", ("random",))
    assert first.setting == second.setting == ""
    assert first.final_budget == BUDGETS[-1]
    assert first.primary == Measure("test", "accuracy")


def test_settings_that_no_column_shows_keep_trials_apart(tmp_path):
    for dtype in ("float16", "float32"):
        write_grid(tmp_path, ["random", "badge"], seeds=2, identity={"features": {"stored_dtype": dtype}})
    first, second = read_evidence(tmp_path).comparisons
    assert first.columns == second.columns
    assert first.setting != second.setting
    assert first.series == second.series == ("badge", "random")


def test_one_name_for_two_strategies_makes_two_curves(tmp_path):
    for path in ("a", "b"):
        write_trial(tmp_path, "replay(scores)", identity={"strategy": {"name": "replay", "path": path}})
    (comparison,) = read_evidence(tmp_path).comparisons
    assert len(comparison.series) == 2
    assert all(name.startswith("replay(scores) #") for name in comparison.series)


def test_repeated_trials_without_description_are_not_averaged(tmp_path):
    write_trial(tmp_path, described=False)
    write_trial(tmp_path, described=False, identity={"other": True})
    (comparison,) = read_evidence(tmp_path).comparisons
    assert len(comparison.series) == 2


def test_evaluations_and_training_rows_are_no_scores(tmp_path):
    write_trial(tmp_path)
    write_trial(tmp_path, kind="evaluation", trainer="finetune", budgets=(40,))
    evidence = read_evidence(tmp_path)
    (comparison,) = evidence.comparisons
    assert set(comparison.scores["split"]) == {"pool", "val", "test"}
    assert set(comparison.rows["trainer"]) == {"linear"}
    assert set(evidence.evaluations["trainer"]) == {"finetune"}


def test_without_test_scores_validation_leads(tmp_path):
    write_trial(tmp_path)
    evidence = read_evidence(tmp_path)
    (comparison,) = type(evidence)(evidence.rows[evidence.rows["split"] != "test"], evidence.trials).comparisons
    assert comparison.primary == Measure("val", "accuracy")


def test_numbers_in_names_are_sorted_by_size(tmp_path):
    for dataset in ("letters 100", "letters 20", "digits"):
        write_grid(tmp_path, ["random"], seeds=1, dataset=dataset)
    found = [comparison.columns["dataset"] for comparison in read_evidence(tmp_path).comparisons]
    assert found == ["digits", "letters 20", "letters 100"]
