import itertools
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from gradient_rows import rows_of, sample

from labelbench_ray.kernels import centres, falls
from labelbench_ray.kernels.centres import Centres
from labelbench_ray.kernels.gradients import Gradients, squared_distances
from labelbench_ray.kernels.products import rough_dtype, single_threaded

PATHS = {
    "all with all": {"WORK_PER_CLASS": 1 << 40},
    "class by class": {"WORK_PER_CLASS": 0, "ROUGH_WORK": 1 << 40},
    "rough": {"WORK_PER_CLASS": 0, "ROUGH_WORK": 0},
    "rough in float32": {"WORK_PER_CLASS": 0, "ROUGH_WORK": 0, "dtype": torch.float32},
    "rough in bfloat16": {"WORK_PER_CLASS": 0, "ROUGH_WORK": 0, "dtype": torch.bfloat16},
}


def take_path(monkeypatch, path):
    choices = dict(PATHS[path])
    dtype = choices.pop("dtype", rough_dtype())
    for name, value in choices.items():
        monkeypatch.setattr(falls, name, value)
    for module in (centres, falls):
        monkeypatch.setattr(module, "rough_dtype", lambda: dtype)
    monkeypatch.setattr(centres, "rough_operand", lambda rows: rows.to(dtype))


def pools():
    probs, vectors = sample(150, num_classes=5, width=8)
    near = np.repeat(vectors[:30], 5, axis=0) + np.float32(1e-3) * vectors
    sure = np.where(np.arange(150)[:, None] % 3, probs, np.eye(5, dtype=np.float32)[np.arange(150) % 5])
    period = np.arange(150) % 25
    return {
        "signed": (probs, vectors),
        "rectified": (probs, np.maximum(vectors, 0)),
        "tight clusters": (np.repeat(probs[:30], 5, axis=0), near),
        "copies": (probs[period], np.abs(vectors)[period]),
        "some certain": (sure, np.abs(vectors)),
        "some zero vectors": (probs, np.abs(vectors) * (np.arange(150)[:, None] % 4 > 0)),
        "lengths far apart": (probs, np.abs(vectors) * np.float32(10.0) ** -(np.arange(150)[:, None] % 25)),
    }


def naive(rows, count, thresholds, task):
    """Distance to the nearest centre, and which earlier candidates each falls to, from all distances."""
    places = np.indices((len(rows.ids_N), len(rows.ids_N))).reshape(2, -1)
    table = squared_distances(rows, places[0], rows, places[1], task).reshape(len(rows.ids_N), -1)[count:]
    nearest = table[:, :count].min(axis=1)
    nearest[nearest > thresholds] = np.inf
    mates = {
        (row, mate)
        for row, mate in itertools.combinations(range(len(table)), 2)
        for row, mate in [(mate, row)]
        if nearest[row] == np.inf and table[row, count + mate] <= thresholds[row]
    }
    return nearest, mates


@pytest.mark.parametrize("task", ["multi_class", "multi_label"])
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("kind", pools())
def test_candidates_fall_exactly_as_all_distances_say(monkeypatch, kind, path, task):
    take_path(monkeypatch, path)
    rows = rows_of(*pools()[kind], task)
    held = Centres(150, task)
    held.lay(rows.take(np.arange(70)))
    held.keep(np.arange(0, 70, 2))
    held.lay(rows.take(np.arange(70, 150)))
    together = Gradients(*(np.concatenate([part[:70:2], part[70:]]) for part in rows))
    thresholds = np.random.default_rng(1).random(80) * 1.2 * rows.a[70:]
    expected, expected_mates = naive(together, 35, thresholds, task)
    found_mates = set()
    with single_threaded():
        parts = [falls.falls(held, thresholds, np.arange(first, 80, 3)) for first in range(3)]
    for part in parts:
        found_mates |= set(zip(part.rows_P.tolist(), part.mates_P.tolist(), strict=True))
    np.testing.assert_array_equal(np.min([part.nearest_S for part in parts], axis=0), expected)
    assert found_mates == expected_mates


@pytest.mark.parametrize("path", ["class by class", "rough"])
def test_sure_candidates_of_rectified_pools_are_compared_within_their_class_alone(monkeypatch, path):
    take_path(monkeypatch, path)
    asked = []
    for name in ("_all_with_all", "_roughly"):
        monkeypatch.setattr(falls, name, lambda held, floors, rows, columns: asked.append(len(rows)) or iter(()))
    rows = rows_of(*pools()["rectified"])
    held = Centres(150, "multi_class")
    held.lay(rows)
    falls.falls(held, rows.a / 4, np.arange(150))
    falls.falls(held, rows.a, np.arange(150))
    assert asked == [(rows.a == 0).sum(), 150]


def test_a_rejected_candidate_leaves_no_trace():
    rows = rows_of(*sample(60))
    held = Centres(60, "multi_class")
    for block, kept in ((np.arange(20), [0, 5, 19]), (np.arange(20, 50), [1, 2]), (np.arange(50, 60), [])):
        held.lay(rows.take(block))
        held.rough_operands()
        held.keep(np.array(kept, np.int64))
    assert held.rows.ids_N[: held.count].tolist() == [0, 5, 19, 21, 22]
    again = Centres(60, "multi_class")
    again.lay(rows.take(np.array([0, 5, 19, 21, 22])))
    assert torch.equal(held.unit[:5], again.unit[:5])
    held.lay(rows.take(np.arange(50, 52)))
    assert torch.equal(held.rough_operands()[:5], again.rough_operands()[:5])


def test_threads_may_judge_their_shares_at_the_same_time(monkeypatch):
    take_path(monkeypatch, "rough")
    rounded = centres.rough_operand
    monkeypatch.setattr(centres, "rough_operand", lambda rows: time.sleep(0.02) or rounded(rows))
    rows = rows_of(*pools()["signed"])
    held = Centres(150, "multi_class")
    held.lay(rows)
    parts = falls.shares(held, 4)
    assert sorted(np.concatenate(parts)) == list(range(150))
    with single_threaded(), ThreadPoolExecutor(4) as threads:
        found = falls.merged(list(threads.map(lambda share: falls.falls(held, rows.a / 2, share), parts)))
        alone = falls.falls(held, rows.a / 2, np.arange(150))
    np.testing.assert_array_equal(found.nearest_S, alone.nearest_S)
    pairs = [set(zip(part.rows_P.tolist(), part.mates_P.tolist(), strict=True)) for part in (found, alone)]
    assert pairs[0] == pairs[1]
    assert pairs[0]
