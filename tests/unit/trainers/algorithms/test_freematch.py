import math
from types import SimpleNamespace

import pytest
import torch
from logit_batches import batch_of, logits_for, random_batch, seeded

from labelbench_ray.trainers.algorithms.base import Targets
from labelbench_ray.trainers.algorithms.freematch import FreeMatch
from labelbench_ray.trainers.ranks import Ranks


def test_thresholds_by_hand():
    algorithm = FreeMatch(ema_p=0.5)
    state = algorithm.start(3, 3, 2, "cpu")
    weak = logits_for([0.9, 0.1], [0.7, 0.3], [0.4, 0.6])
    targets = algorithm.targets(batch_of(weak), state)
    assert state["threshold"].item() == pytest.approx((0.5 + 2.2 / 3) / 2)
    assert state["mean_C"].tolist() == pytest.approx([(0.5 + 2.0 / 3) / 2, (0.5 + 1.0 / 3) / 2])
    assert state["histogram_C"].tolist() == pytest.approx([(0.5 + 2 / 3) / 2, (0.5 + 1 / 3) / 2])
    # tau = 0.6167: class 0 as it is, class 1 times 0.41667 / 0.58333 = 0.4405.
    assert targets.weight_U.tolist() == [1, 1, 1]
    later = algorithm.targets(batch_of(logits_for([0.52, 0.48], [0.45, 0.55]), step=1), state)
    assert later.weight_U.tolist() == [0, 1]


def test_the_threshold_can_be_kept_from_closing():
    confident = batch_of(logits_for([0.999, 0.001], [0.001, 0.999]))
    for clip, highest in ((True, 0.95), (False, 0.999)):
        state = FreeMatch().start(2, 2, 2, "cpu")
        FreeMatch(ema_p=0.0, clip_thresh=clip).targets(confident, state)
        assert state["threshold"].item() == pytest.approx(highest)


def fairness(strong, weight_U, state):
    algorithm = FreeMatch(ent_loss_ratio=1.0)
    sums = algorithm.strong_sums(strong, Targets(torch.zeros(len(strong), dtype=torch.int64), torch.tensor(weight_U)))
    return algorithm.batch_loss(sums, state)


def test_the_fairness_term_by_hand():
    state = {"mean_C": torch.tensor([0.5, 0.3, 0.2]), "histogram_C": torch.tensor([0.5, 0.25, 0.25])}
    strong = logits_for([0.6, 0.3, 0.1], [0.2, 0.5, 0.3], [0.7, 0.2, 0.1], [0.1, 0.1, 0.8])
    # Of the rows that count (the first three) two say class 0, one class 1, none class 2.
    model = [1.0 / 3.0, 1.2 / 3.0, 0.8 / 3.0]  # 0.5 / 0.5, 0.3 / 0.25, 0.2 / 0.25 scaled to sum 1
    batch = [1.5 / 2, 1.0 / 1]
    batch = [value / sum(batch) for value in batch]
    by_hand = model[0] * math.log(batch[0]) + model[1] * math.log(batch[1]) + model[2] * math.log(1e-12)
    assert fairness(strong, [1.0, 1.0, 1.0, 0.0], state).item() == pytest.approx(by_hand, rel=1e-5)


def test_the_fairness_term_is_zero_with_a_zero_gradient_where_no_row_counts():
    state = FreeMatch().start(2, 2, 3, "cpu")
    strong = torch.randn(2, 3, generator=seeded(), requires_grad=True)
    loss = fairness(strong, [0.0, 0.0], state)
    (gradient,) = torch.autograd.grad(loss, strong)
    assert loss.item() == 0.0
    assert gradient.abs().max().item() == 0.0


def test_the_fairness_term_of_a_batch_on_two_workers_has_the_gradient_of_one():
    algorithm = FreeMatch(ent_loss_ratio=1.0)
    state, batch = algorithm.start(6, 6, 4, "cpu"), random_batch(seeded())
    targets, weights = algorithm.targets(batch, state), torch.eye(4, requires_grad=True)
    strong = torch.randn(6, 4, generator=seeded(1))
    whole = algorithm.strong_sums(strong @ weights, targets)
    (alone,) = torch.autograd.grad(algorithm.batch_loss(whole, state), weights, retain_graph=True)
    averaged = torch.zeros_like(alone)
    for rank, rows in enumerate((slice(0, 3), slice(3, 6))):
        ranks = Ranks(SimpleNamespace(rank=rank, world_size=2))
        ranks.add_up = lambda part: whole.detach()
        sums = algorithm.strong_sums(strong[rows] @ weights, Targets(targets.target_U[rows], targets.weight_U[rows]))
        mine = algorithm.batch_loss(ranks.summed(sums), state) / 2
        averaged += torch.autograd.grad(2 * mine, weights)[0] / 2  # as the end-to-end step and its workers do
    torch.testing.assert_close(averaged, alone)
    assert alone.abs().max() > 1e-3
