"""The gap between a proxy and the model that counts: paired differences, and whether they rank strategies alike."""

import math

import pytest
from ledgers import accuracy, write_grid, write_trial

from labelbench_ray.reporting.agreement import agreements
from labelbench_ray.reporting.comparisons import read_evidence
from labelbench_ray.reporting.evaluations import end_to_end
from labelbench_ray.reporting.gap_tables import gap_tables, ranking_sentence
from labelbench_ray.reporting.measures import Measure

NAMES = ("random", "margin", "badge", "coreset")


def study(folder, evaluated, strategies=NAMES, seeds=2, budgets=(100,), **more):
    """Selections scored as ``accuracy`` says; evaluations as ``evaluated(name, seed, labels)``."""
    write_grid(folder, strategies, seeds=seeds)
    for name in strategies:
        for seed in range(seeds):
            for labels in budgets:
                score = evaluated(name, seed, labels)
                if score is not None:
                    write_trial(folder, name, seed, kind="evaluation", trainer="finetune", budgets=(labels,),
                                values={labels: score}, **more)  # fmt: skip
    (found,) = end_to_end(read_evidence(folder))
    return found


def proxies(seeds=2):
    """Strategies by what the selecting model scores at 100 labels, the best first."""
    return sorted(NAMES, key=lambda name: -sum(accuracy(name, seed, 100) for seed in range(seeds)))


def test_the_same_order_has_tau_one_and_the_reverse_minus_one(tmp_path):
    same = study(tmp_path / "same", lambda name, seed, n: accuracy(name, seed, n) + 0.05)
    (told,) = agreements(same.gaps[0])
    assert (told.num_labeled, told.strategies, told.seeds, told.tau) == (100, 4, 2, pytest.approx(1))
    assert told.chance == pytest.approx(1 / math.factorial(4))
    assert told.tau_by_seed[0] == pytest.approx(1)
    assert told.best_selecting == told.best_evaluated == proxies()[0]

    turned = study(tmp_path / "turned", lambda name, seed, n: 1 - accuracy(name, seed, n))
    (told,) = agreements(turned.gaps[0])
    assert (told.tau, told.chance) == (pytest.approx(-1), pytest.approx(1))
    assert (told.best_selecting, told.best_evaluated) == (proxies()[0], proxies()[-1])


def test_tau_of_one_exchanged_pair(tmp_path):
    """Six pairs of four strategies, one of them the other way round: (5 - 1) / 6."""
    order = proxies()
    exchanged = [order[1], order[0], *order[2:]]
    found = study(tmp_path, lambda name, seed, n: 0.9 - 0.1 * exchanged.index(name))
    assert agreements(found.gaps[0])[0].tau == pytest.approx(4 / 6)
    assert f"{order[0]} and {order[1]} lead" in ranking_sentence(found)


def test_two_strategies_have_no_rank_correlation(tmp_path):
    found = study(tmp_path, accuracy, ("random", "badge"))
    (told,) = agreements(found.gaps[0])
    assert told.why_not == "fewer than 3 strategies"
    assert math.isnan(told.tau)
    assert "fewer than 3 strategies" in ranking_sentence(found)


def test_the_shared_first_batch_ranks_nothing(tmp_path):
    def once(name, seed, labels):
        return None if labels == 20 and name != "badge" else accuracy(name, seed, labels)

    by_budget = {one.num_labeled: one for one in agreements(study(tmp_path, once, budgets=(20, 100)).gaps[0])}
    assert by_budget[20].why_not == "all hold the same sets"
    assert math.isnan(by_budget[20].tau)
    assert by_budget[100].tau == pytest.approx(1)


def test_seeds_that_a_strategy_lacks_take_no_part(tmp_path):
    def missing(name, seed, labels):
        return None if (name, seed) == ("badge", 1) else accuracy(name, seed, labels)

    (told,) = agreements(study(tmp_path, missing).gaps[0])
    assert (told.strategies, told.seeds) == (4, 1)


def test_upper_bounds_are_not_ranked(tmp_path):
    write_grid(tmp_path, ["oracle"], seeds=2, cheats=True)
    found = study(tmp_path, accuracy, (*NAMES,))
    for seed in range(2):
        write_trial(tmp_path, "oracle", seed, kind="evaluation", trainer="finetune", budgets=(100,), cheats=True)
    (found,) = end_to_end(read_evidence(tmp_path))
    assert agreements(found.gaps[0], found.comparison.cheats)[0].strategies == 4
    assert agreements(found.gaps[0])[0].strategies == 5


def test_the_gap_is_paired_and_told_for_test_and_pool(tmp_path):
    found = study(tmp_path, lambda name, seed, n: accuracy(name, seed, n) + 0.04 + 0.01 * seed)
    assert [gap.measure for gap in found.gaps] == [Measure("test", "accuracy"), Measure("pool", "accuracy")]
    gains = found.gaps[0].gains().set_index("series")
    for name in NAMES:  # seeds 0 and 1 gain 4 and 5 points: t(1) = 12.706 standard errors of 0.5
        assert gains.loc[name, "mean"] == pytest.approx(0.045)
        assert gains.loc[name, "high"] - gains.loc[name, "mean"] == pytest.approx(12.7062 * 0.005, rel=1e-4)
    test, pool, ranking = gap_tables(found)
    assert test.caption.startswith("Test accuracy: the model that selected and finetune")
    assert pool.caption.startswith("Pool accuracy")
    assert test.rows[0][5].text == "+4.50"
    assert ranking.caption.startswith("Ranking of the strategies by test accuracy")
    assert ranking.rows[0][3].text == "+1.00"
