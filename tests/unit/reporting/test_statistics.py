import ledgers
import numpy as np
import pytest
from ledgers import BUDGETS, accuracy, write_grid, write_trial

from labelbench_ray.benchmark.results import COST
from labelbench_ray.reporting.comparisons import read_evidence
from labelbench_ray.reporting.curves import area_under_curve
from labelbench_ray.reporting.evaluations import end_to_end, unmatched
from labelbench_ray.reporting.measures import ABSENT, Measure
from labelbench_ray.reporting.statistics import areas, final_statistics, timings
from labelbench_ray.reporting.tables import timings_table

TEST = Measure("test", "accuracy")


def only(results):
    (comparison,) = read_evidence(results).comparisons
    return comparison


def final_row(comparison, series, split="test", metric="accuracy"):
    frame = final_statistics(comparison).frame
    (row,) = frame[(frame["series"] == series) & (frame["split"] == split) & (frame["metric"] == metric)].to_dict(
        "records"
    )
    return row


def test_final_values_and_paired_differences(tmp_path):
    from scipy import stats

    comparison = only(write_grid(tmp_path, ["random", "badge"], seeds=4))
    badge, random = ([accuracy(name, seed, 100) for seed in range(4)] for name in ("badge", "random"))
    row = final_row(comparison, "badge")
    assert row["mean"] == pytest.approx(np.mean(badge))
    assert row["standard_error"] == pytest.approx(stats.sem(badge))
    assert (row["n"], row["pairs"], row["num_labeled"]) == (4, 4, 100)
    expected = stats.ttest_rel(badge, random).confidence_interval(0.95)
    assert (row["difference_low"], row["difference_high"]) == pytest.approx((expected.low, expected.high))
    assert np.isnan(final_row(comparison, "random")["difference"])


def test_unfinished_seeds_are_left_out_of_both_sides(tmp_path):
    write_grid(tmp_path, ["random"], seeds=3)
    write_grid(tmp_path, ["badge"], seeds=2)
    write_trial(tmp_path, "badge", 2, budgets=BUDGETS[:2], state="running")
    row = final_row(only(tmp_path), "badge")
    assert (row["n"], row["pairs"]) == (2, 2)
    assert row["difference"] == pytest.approx(
        np.mean([accuracy("badge", seed, 100) - accuracy("random", seed, 100) for seed in range(2)])
    )


def test_other_initial_batches_give_a_note_and_no_difference(tmp_path):
    write_grid(tmp_path, ["random"], seeds=2)
    write_grid(tmp_path, ["badge"], seeds=2, initial="elsewhere")
    write_grid(tmp_path, ["margin"], seeds=2)
    compared = final_statistics(only(tmp_path))
    assert len(compared.notes) == 1
    assert "badge against random" in compared.notes[0]
    known = compared.frame.dropna(subset="difference")
    assert set(known["series"]) == {"margin"}


def test_without_the_baseline_there_are_no_differences(tmp_path):
    comparison = only(write_grid(tmp_path, ["badge", "margin"], seeds=2))
    compared = final_statistics(comparison)
    assert compared.frame["difference"].isna().all()
    assert compared.notes == ()


def test_classes_of_machines_are_named_where_they_are_mixed(tmp_path):
    write_trial(tmp_path, "random", 0, numeric_class="cpu")
    write_trial(tmp_path, "random", 1, numeric_class="gpu")
    assert final_row(only(tmp_path), "random")["numeric_class"] == "cpu + gpu"


def test_area_is_averaged_over_trials(tmp_path):
    comparison = only(write_grid(tmp_path, ["random", "badge"], seeds=3))
    heights = [area_under_curve(BUDGETS, [accuracy("badge", seed, b) for b in BUDGETS]) for seed in range(3)]
    row = areas(comparison, TEST).frame.set_index("series").loc["badge"]
    assert row["mean"] == pytest.approx(np.mean(heights))
    assert row["pairs"] == 3


def test_timings(tmp_path):
    row = timings(only(write_grid(tmp_path, ["random"], seeds=2))).iloc[0]
    assert row["train_s"] == pytest.approx(1.5)
    assert row["trial_s"] == pytest.approx(5 * 2.1)
    assert row["peak_memory_gib"] == 1.25


def test_what_selections_told_stands_beside_their_costs(tmp_path, monkeypatch):
    made_up = ledgers.scores
    told = {"select_compared_rows": 65_536.0, "select_index_probes": 16.0, "select_recall": 0.98}
    write_grid(tmp_path, ["badge"], seeds=2)
    monkeypatch.setattr(ledgers, "scores", lambda value: {**made_up(value), COST: {**made_up(value)[COST], **told}})
    write_grid(tmp_path, ["max_herding"], seeds=2)
    comparison = only(tmp_path)
    rows = timings(comparison).set_index("series")
    assert rows.loc["max_herding", ["select_compared_rows", "select_recall"]].tolist() == pytest.approx([65_536, 0.98])
    assert np.isnan(rows.loc["badge", "select_recall"])
    table = timings_table(comparison)
    assert table.columns[-3:] == ("Compared rows", "Index probes", "Recall")
    texts = {row[0].text: [cell.text for cell in row[-3:]] for row in table.rows}
    assert texts == {"max_herding": ["65,536", "16", "0.98"], "badge": [ABSENT] * 3}


def test_evaluations_meet_their_selections(tmp_path):
    write_grid(tmp_path, ["random", "badge"], seeds=3)
    for seed in range(3):
        for name in ("random", "badge"):
            gain = 0.05 if name == "badge" else 0.08
            values = {100: accuracy(name, seed, 100) + gain}
            write_trial(tmp_path, name, seed, kind="evaluation", trainer="finetune", budgets=(100,), values=values)
    evidence = read_evidence(tmp_path)
    (evaluation,) = end_to_end(evidence)
    gap, pool_gap = evaluation.gaps
    assert (gap.measure, pool_gap.measure) == (TEST, Measure("pool", "accuracy"))
    gains = gap.gains().set_index("series")
    assert gains.loc["badge", "mean"] == pytest.approx(0.05)
    assert gains.loc["badge", "proxy_mean"] == pytest.approx(np.mean([accuracy("badge", s, 100) for s in range(3)]))
    difference = gap.compared().frame.set_index("series").loc["badge", "difference"]
    expected = np.mean([accuracy("badge", s, 100) - accuracy("random", s, 100) for s in range(3)]) - 0.03
    assert difference == pytest.approx(expected)
    assert unmatched(evidence) == 0


def test_the_first_batch_is_evaluated_once_and_counts_for_every_strategy(tmp_path):
    write_grid(tmp_path, ["random", "badge"], seeds=1)
    write_trial(tmp_path, "badge", 0, kind="evaluation", trainer="finetune", budgets=(20,))
    (evaluation,) = end_to_end(read_evidence(tmp_path))
    assert set(evaluation.gaps[0].rows["series"]) == {"random", "badge"}


def test_evaluations_of_sets_from_elsewhere_are_counted(tmp_path):
    write_trial(tmp_path, "random")
    write_trial(tmp_path, "random", kind="evaluation", trainer="finetune", budgets=(100,), bought_by="someone else")
    evidence = read_evidence(tmp_path)
    assert end_to_end(evidence) == ()
    assert unmatched(evidence) == 1
