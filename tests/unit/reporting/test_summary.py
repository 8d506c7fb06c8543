from ledgers import BUDGETS, write_grid, write_trial

from labelbench_ray.reporting import summary
from labelbench_ray.reporting.comparisons import read_evidence
from labelbench_ray.reporting.statistics import final_statistics


def told(results):
    (comparison,) = read_evidence(results).comparisons
    return summary.verdict(comparison, final_statistics(comparison))


def flat(results, strategy, scores, **settings):
    """A trial per seed, each at one score whatever the labels."""
    for seed, score in enumerate(scores):
        write_trial(results, strategy, seed, values=dict.fromkeys(BUDGETS, score), **settings)


def test_a_clear_winner(tmp_path):
    flat(tmp_path, "random", [0.70, 0.72, 0.74])
    flat(tmp_path, "badge", [0.80, 0.82, 0.85])
    text = told(tmp_path)
    assert "badge has the best mean test accuracy: 82.33 %" in text
    assert "10.33 points above random (95 % interval +8.90 to +11.77, paired over 3 seeds)" in text
    assert "covers zero" not in text


def test_an_interval_that_covers_zero_is_said_to(tmp_path):
    flat(tmp_path, "random", [0.70, 0.80, 0.75])
    flat(tmp_path, "badge", [0.80, 0.70, 0.77])
    assert "but the interval covers zero" in told(tmp_path)


def test_one_seed_claims_nothing(tmp_path):
    write_grid(tmp_path, ["random", "badge"], seeds=1)
    assert "on the one seed that both finished" in told(tmp_path)
    (comparison,) = read_evidence(tmp_path).comparisons
    assert summary.conclusive(comparison, final_statistics(comparison)) is None
    assert any("no interval can be given" in warning for warning in summary.warnings(comparison))


def test_the_baseline_can_win(tmp_path):
    flat(tmp_path, "random", [0.8, 0.81])
    flat(tmp_path, "badge", [0.7, 0.71])
    assert "no strategy is ahead of it" in told(tmp_path)


def test_who_sees_hidden_labels_never_wins(tmp_path):
    flat(tmp_path, "random", [0.70, 0.72])
    flat(tmp_path, "upper_bound", [0.99, 0.98], cheats=True)
    text = told(tmp_path)
    assert text.startswith("At 100 labels, random has the best")
    assert "upper_bound sees hidden labels" in text


def test_a_missing_baseline_is_said(tmp_path):
    write_grid(tmp_path, ["badge", "margin"], seeds=3)
    (comparison,) = read_evidence(tmp_path).comparisons
    assert any("random is not among the strategies" in warning for warning in summary.warnings(comparison))


def test_mixed_numeric_classes_are_warned_of(tmp_path):
    write_grid(tmp_path, ["random"], seeds=3, numeric_class="cpu")
    write_grid(tmp_path, ["badge"], seeds=3, numeric_class="gpu")
    (comparison,) = read_evidence(tmp_path).comparisons
    assert any("2 numeric classes (cpu and gpu)" in warning for warning in summary.warnings(comparison))


def test_fewer_seeds_are_named(tmp_path):
    write_grid(tmp_path, ["random"], seeds=4)
    write_grid(tmp_path, ["badge"], seeds=3)
    (comparison,) = read_evidence(tmp_path).comparisons
    assert any("Fewer than 4 seeds" in warning and "badge 3" in warning for warning in summary.warnings(comparison))


def test_a_complete_comparison_has_no_warning(tmp_path):
    (comparison,) = read_evidence(write_grid(tmp_path, seeds=3)).comparisons
    assert summary.warnings(comparison) == []


def test_the_tally_counts_intervals_without_zero():
    assert "In 1 of 2 comparisons" in summary.tally([True, False, None])
    assert summary.tally([None]) == ""
