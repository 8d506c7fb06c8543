import pickle
from dataclasses import replace

import numpy as np
from pools import ArrayScores
from trials import make_inputs, make_trial

from labelbench_ray.benchmark.kept_scores import KeptProbabilities
from labelbench_ray.benchmark.loop import run_trial
from labelbench_ray.benchmark.state import Ledger
from labelbench_ray.trainers.heads import Linear
from labelbench_ray.trainers.scores import HeadScores


class CountingScores(ArrayScores):
    read = 0

    def probs(self, tile):
        CountingScores.read += 1
        return super().probs(tile)


def scores(num_rows=20):
    rng = np.random.default_rng(0)
    CountingScores.read = 0
    return CountingScores(rng.random((num_rows, 3)), rng.random((num_rows, 5)), tile_rows=8)


def test_a_tile_is_made_once_while_it_fits_and_anew_where_it_does_not():
    kept = KeptProbabilities(scores(), memory_bytes=2 * 8 * 3 * 4)
    plain = scores()
    for _ in range(3):
        for tile in range(3):
            np.testing.assert_array_equal(kept.probs(tile), plain.probs(tile))
    assert CountingScores.read == 3 * 3 + (1 + 1 + 3)
    assert (kept.num_rows, kept.tile_rows, kept.num_classes, kept.width) == (20, 8, 3, 5)
    np.testing.assert_array_equal(kept.embeddings(2), plain.embeddings(2))


def test_what_is_kept_cannot_be_written_to():
    kept = KeptProbabilities(scores(), memory_bytes=1 << 20)
    assert not kept.probs(0).flags.writeable


def test_a_pickled_copy_carries_no_probabilities():
    kept = KeptProbabilities(scores(4000), memory_bytes=1 << 20)
    for tile in range(500):
        kept.probs(tile)
    empty = KeptProbabilities(scores(4000), memory_bytes=1 << 20)
    assert len(pickle.dumps(kept)) == len(pickle.dumps(empty))


def test_a_round_predicts_each_tile_once(tmp_path, monkeypatch):
    made = []
    inner = HeadScores.probs

    def counted(self, tile):
        made.append((self.num_rows, tile))
        return inner(self, tile)

    monkeypatch.setattr(HeadScores, "probs", counted)
    trial = replace(make_trial("margin", tile_rows=32, rounds=2), trainer=Linear())
    next(run_trial(trial, make_inputs(), Ledger(tmp_path).trial(trial.id)))
    assert len(made) == len(set(made)) == 5 + 2 + 2  # pool of 150, validation of 40, test of 60
