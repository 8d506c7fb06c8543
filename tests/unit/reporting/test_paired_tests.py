"""Paired tests against scipy, cases by hand, and what few seeds can show."""

import itertools
import math

import numpy as np
import pytest
from ledgers import accuracy, write_grid

from labelbench_ray.reporting.comparisons import read_evidence
from labelbench_ray.reporting.measures import Measure
from labelbench_ray.reporting.paired_tests import (
    POWER,
    holm,
    noncentrality,
    paired_tests,
    sign_flip,
    table_of_tests,
    written_p,
)

TEST = Measure("test", "accuracy")


def comparison_of(folder, *grid, **settings):
    (comparison,) = read_evidence(write_grid(folder, *grid, **settings)).comparisons
    return comparison


@pytest.mark.parametrize(
    ("differences", "expected"),
    [
        ([1.0, 2.0, 3.0], 2 / 8),  # all of one sign: no flip but of all is as far out
        ([1.0, 2.0, -3.0], 1.0),  # sums to zero
        ([1.0, 2.0, 3.0, -1.0], 6 / 16),  # sum 5; |sum| >= 5 with signs +++-, ++++ and -+++, and their opposites
        ([0.0, 0.0], 1.0),
    ],
)
def test_sign_flips_by_hand(differences, expected):
    assert sign_flip(differences) == pytest.approx(expected)


def test_sign_flips_are_all_tried():
    differences = np.random.default_rng(0).normal(0.4, 1, 10)
    signs = np.array(list(itertools.product((-1, 1), repeat=10)))
    as_far = np.abs(signs @ differences) >= abs(differences.sum()) - 1e-12
    assert sign_flip(differences) == pytest.approx(as_far.mean())


def test_many_seeds_are_tested_by_the_same_draws_every_time():
    differences = np.random.default_rng(1).normal(0.3, 1, 30)
    first = sign_flip(differences)
    assert first == sign_flip(differences)
    assert 0 < first < 1


def test_a_value_that_is_not_known_gives_no_p():
    assert math.isnan(sign_flip([0.1, math.nan]))


@pytest.mark.parametrize(
    ("p_values", "expected"),
    [
        ([0.01, 0.04, 0.03], [0.03, 0.06, 0.06]),  # 3 x 0.01; 2 x 0.03; 1 x 0.04, no less than the one before
        ([0.5, 0.6], [1.0, 1.0]),
        ([math.nan, 0.02], [math.nan, 0.02]),
        ([], []),
    ],
)
def test_holms_correction_by_hand(p_values, expected):
    assert holm(p_values) == pytest.approx(expected, nan_ok=True)


def test_strategies_are_tested_on_the_differences_of_their_seeds(tmp_path):
    from scipy.stats import ttest_rel

    comparison = comparison_of(tmp_path, ["random", "badge", "margin"], seeds=6)
    tests = paired_tests(comparison, TEST).set_index("series")
    badge, random = ([accuracy(name, seed, 100) for seed in range(6)] for name in ("badge", "random"))
    assert list(tests.index) == ["badge", "margin"]
    assert tests.loc["badge", "p_paired_t"] == pytest.approx(ttest_rel(badge, random).pvalue)
    assert tests.loc["badge", "p_sign_flip"] == pytest.approx(sign_flip(np.subtract(badge, random)))
    assert (tests["p_holm"] >= tests["p_sign_flip"]).all()


def test_a_difference_of_the_detectable_size_is_seen_in_four_of_five_studies():
    from scipy.stats import ttest_1samp

    seeds = 10
    draws = np.random.default_rng(0).normal(noncentrality(seeds) / math.sqrt(seeds), 1.0, (20_000, seeds))
    assert (ttest_1samp(draws, 0.0, axis=1).pvalue < 0.05).mean() == pytest.approx(POWER, abs=0.01)


def test_the_detectable_difference_is_so_many_standard_errors(tmp_path):
    comparison = comparison_of(tmp_path, ["random", "badge"], seeds=6)
    (row,) = paired_tests(comparison, TEST).to_dict("records")
    gains = [accuracy("badge", seed, 100) - accuracy("random", seed, 100) for seed in range(6)]
    assert row["detectable"] == pytest.approx(noncentrality(6) * np.std(gains, ddof=1) / math.sqrt(6))


def test_what_the_seeds_can_show_is_said(tmp_path):
    few = table_of_tests(comparison_of(tmp_path / "few", ["random", "badge"], seeds=3))
    assert few.notes[0].startswith("With 3 pairs and 1 strategy the corrected p is at least 0.250: these runs cannot")
    enough = table_of_tests(comparison_of(tmp_path / "enough", ["random", "badge", "margin"], seeds=10))
    assert enough.notes[0].startswith("With 10 pairs and 2 strategies the corrected p is at least 0.004. ")


def test_nothing_is_tested_without_pairs(tmp_path):
    assert table_of_tests(comparison_of(tmp_path / "one", ["random", "badge"], seeds=1)) is None
    assert table_of_tests(comparison_of(tmp_path / "alone", ["badge", "margin"], seeds=3)) is None
    write_grid(tmp_path / "other", ["random"], seeds=3)
    assert table_of_tests(comparison_of(tmp_path / "other", ["badge"], seeds=3, initial="elsewhere")) is None


def test_equal_results_differ_by_chance(tmp_path):
    values = {100: 0.5}
    comparison = comparison_of(tmp_path, ["random", "badge"], seeds=3, values=values)
    (row,) = paired_tests(comparison, TEST).to_dict("records")
    assert math.isnan(row["p_paired_t"])
    assert row["p_sign_flip"] == 1.0


def test_a_p_is_written_in_three_decimals():
    assert [written_p(p) for p in (0.0004, 0.0005, 0.01234, 1.0, math.nan)] == [
        "<0.001",
        "0.001",
        "0.012",
        "1.000",
        "–",
    ]
    assert [written_p(p, is_told=True) for p in (0.0004, 0.5, math.nan)] == ["< 0.001", "= 0.500", "is not known"]


def test_a_strategy_of_few_seeds_takes_nothing_from_what_the_others_can_show(tmp_path):
    write_grid(tmp_path, ["random", "badge"], seeds=10)
    table = table_of_tests(comparison_of(tmp_path, ["margin"], seeds=3))
    assert table.notes[0].startswith("With 10 pairs and 2 strategies the corrected p is at least 0.004. ")


def test_upper_bounds_are_tested_but_cost_the_others_nothing(tmp_path):
    alone = paired_tests(comparison_of(tmp_path, ["random", "badge"], seeds=6), TEST).set_index("series")
    write_grid(tmp_path, ["oracle"], seeds=6, cheats=True)
    beside = paired_tests(comparison_of(tmp_path, []), TEST).set_index("series")
    assert beside.loc["badge", "p_holm"] == alone.loc["badge", "p_holm"]
    assert not math.isnan(beside.loc["oracle", "p_sign_flip"])
    assert math.isnan(beside.loc["oracle", "p_holm"])
