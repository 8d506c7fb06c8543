"""What the training loop of heads shows an algorithm: the rows it says they are, all of them.

LabelBench's pseudo-label trainer takes the last B rows of a batch for its unlabelled ones, which are others than those
its probabilities belong to wherever ``uratio`` is above 1, and it makes no step on fewer labels than a batch.
"""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pytest
from learning import feature_data

from labelbench_ray.trainers.algorithms.fixmatch import FixMatch
from labelbench_ray.trainers.algorithms.pseudolabel import PseudoLabel
from labelbench_ray.trainers.heads import Linear


class Recorded:
    """Keeps each batch and the targets it is answered with."""

    def targets(self, batch, state):
        targets = super().targets(batch, state)
        # Copies: a loop may write its next logits into the same memory.
        self.seen.append((batch.ids_U.clone(), batch.logits_UC.clone(), targets, batch.labels_B.clone()))
        return targets


@dataclass(frozen=True, kw_only=True)
class RecordedWeak(Recorded, PseudoLabel):
    name: ClassVar[str] = "recorded_weak"
    p_cutoff: float = 0.34  # just above one in three
    seen: list = field(default_factory=list, compare=False)


@dataclass(frozen=True, kw_only=True)
class RecordedStrong(Recorded, FixMatch):
    name: ClassVar[str] = "recorded_strong"
    p_cutoff: float = 0.34  # just above one in three
    seen: list = field(default_factory=list, compare=False)


def train(folder, algorithm, num_labels):
    trainer = Linear(algorithm=algorithm, train_batch_size=8, min_steps=6, epochs=1)
    data = feature_data(folder, num_labels=num_labels)
    return data, trainer.fit(data)


@pytest.mark.parametrize("kind", [RecordedWeak, RecordedStrong])
def test_logits_belong_to_the_unlabelled_rows_they_are_said_to_belong_to(kind, tmp_path):
    algorithm = kind(uratio=3)
    data, _ = train(tmp_path, algorithm, num_labels=30)
    rows_ND = data.features["train"].slice(0, data.num_rows).astype(np.float64)
    for ids_U, logits_UC, *_ in algorithm.seen[1:]:  # the first logits are all zero
        assert len(set(ids_U.tolist())) == 24
        assert ids_U.min() >= 30  # the first 30 are bought
        # Logits are an affine function of the clean rows: with the right rows nothing is left over, with others much.
        design = np.column_stack([rows_ND[ids_U], np.ones(len(ids_U))])
        for rows, left_over in ((design, False), (design[np.roll(np.arange(len(design)), 8)], True)):
            coefficients = np.linalg.lstsq(rows, logits_UC.double().numpy(), rcond=None)[0]
            residual = np.abs(rows @ coefficients - logits_UC.double().numpy()).max()
            assert (residual > 1e-2 * logits_UC.abs().max()) == left_over


@pytest.mark.parametrize("kind", [RecordedWeak, RecordedStrong])
def test_all_confident_rows_of_a_batch_count(kind, tmp_path):
    algorithm = kind(uratio=3)
    _, fitted = train(tmp_path, algorithm, num_labels=30)
    used = [float((targets.weight_U > 0).float().mean()) for _, _, targets, _ in algorithm.seen]
    assert fitted.summary["pseudo_labels_used"] == pytest.approx(np.mean(used[-3:]))  # a pass is three steps
    assert used[-1] > 0.8  # more than the third of the rows that a batch of labelled ones has


@pytest.mark.parametrize("num_labels", [1, 3])
def test_fewer_labels_than_a_batch_are_one_batch_of_all(num_labels, tmp_path):
    algorithm = RecordedStrong(uratio=3)
    data, fitted = train(tmp_path, algorithm, num_labels)
    assert fitted.summary["steps"] == 6
    assert [sorted(labels_B.tolist()) for *_, labels_B in algorithm.seen] == [sorted(data.labels_L.tolist())] * 6
