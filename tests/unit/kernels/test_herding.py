import numpy as np
import pytest

from labelbench_ray.kernels import herding
from labelbench_ray.kernels.herding import Herding, counted, herd


def naive(rows, radius, bought, weights, count):
    """Every gain of every pick from all similarities, in float64."""
    wide = rows.astype(np.float64)
    similar = np.exp(-((wide[:, None] - wide[None]) ** 2).sum(axis=2) / radius**2)
    nearest = similar[:, bought].max(axis=1, initial=0)
    picked, taken = [], set(bought.tolist())
    while len(picked) < count:
        gains = counted(weights @ np.maximum(similar - nearest[:, None], 0))
        gains[list(taken)] = -1
        picked.append(int(gains.argmax()))
        taken.add(picked[-1])
        nearest = np.maximum(nearest, similar[:, picked[-1]])
    return picked


@pytest.mark.parametrize("num_bought", [0, 1, 12])
@pytest.mark.parametrize("radius", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("kind", ["alike", "weighted"])
@pytest.mark.parametrize("side", [16, 1024])
def test_equals_the_naive_loop(num_bought, radius, kind, side, monkeypatch):
    monkeypatch.setattr(herding, "SIDE", side)
    monkeypatch.setattr(herding, "FEWEST", 3)
    rng = np.random.default_rng([num_bought, int(10 * radius)])
    rows = rng.normal(size=(130, 4)).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    bought = rng.choice(130, num_bought, replace=False)
    weights = np.ones(130) if kind == "alike" else rng.random(130)
    expected = naive(rows, radius, bought, weights, 25)
    assert Herding(rows, radius, bought, weights).pick(25).tolist() == expected
    assert Herding(rows, radius, bought, weights).pick_by_pairs(25).tolist() == expected
    monkeypatch.setattr(herding, "PICKS_AT_ONCE", 4)
    for most_pairs in (0, 500, 130**2):
        monkeypatch.setattr(herding, "MOST_PAIRS", most_pairs)
        assert herd(rows, radius, bought, 25, weights).tolist() == expected


def test_few_gains_are_brought_up_to_date_and_fewer_summed_anew(monkeypatch):
    told = {"_take_off": 0, "_summed": 0}

    def counting(name):
        whole = getattr(Herding, name)

        def counted_call(self, places):
            told[name] += len(places)
            return whole(self, places)

        return counted_call

    for name in told:
        monkeypatch.setattr(Herding, name, counting(name))
    rows = np.random.default_rng(0).normal(size=(3000, 3)).astype(np.float32)
    assert len(Herding(rows, 0.2, np.arange(50)).pick(60)) == 60
    assert 0 < told["_take_off"] < 60 * 3000 / 50
    assert told["_summed"] < 60 * 3000 / 50


def test_copies_go_to_the_lowest_place_and_gain_nothing_later():
    rows = np.random.default_rng(0).normal(size=(6, 5)).astype(np.float32)[np.arange(48) % 6]
    picked = Herding(rows, 1.0, np.empty(0, np.int64)).pick(48).tolist()
    assert sorted(picked) == [0, 1, 2, 3, 4, 5]


def test_rows_of_no_weight_need_no_cover():
    rows = np.array([[0, 0], [0.1, 0], [9, 0], [9.1, 0], [9.2, 0]], np.float32)
    alike = Herding(rows, 1.0, np.empty(0, np.int64)).pick(1)
    left = Herding(rows, 1.0, np.empty(0, np.int64), np.array([1.0, 1, 0, 0, 0])).pick(1)
    assert (alike.tolist(), left.tolist()) == ([3], [0])
