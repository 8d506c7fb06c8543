import math

import pytest
import torch
from logit_batches import batch_of, logits_for

from labelbench_ray.trainers.algorithms.dash import Dash


def test_the_first_steps_train_on_labels_alone():
    algorithm = Dash(warm_up_share=0.25, ulb_loss_ratio=0.5)
    assert [algorithm.unlabeled_weight(step, 8) for step in range(4)] == [0.0, 0.0, 0.5, 0.5]
    assert Dash(warm_up_share=0.0).unlabeled_weight(0, 8) == 0.0  # one step at least: there is no threshold before it


def test_the_threshold_starts_from_the_labelled_loss_of_the_warm_up():
    algorithm = Dash(warm_up_share=0.5)
    state = algorithm.start(1, 1, 2, "cpu")
    weak = logits_for([0.5, 0.5])
    for step, certainty in enumerate((0.5, 0.8, 0.9, 0.2)):
        labeled = logits_for([certainty, 1 - certainty])
        algorithm.targets(batch_of(weak, labeled=labeled, labels=[0], step=step, steps=6), state)
    # Steps 0, 1 and 2 are the warm-up; what comes after it does not move the threshold.
    by_hand = -(math.log(0.5) + math.log(0.8) + math.log(0.9)) / 3
    assert state["labeled_loss"].item() == pytest.approx(by_hand, rel=1e-5)


def test_the_threshold_falls_in_equal_parts_of_the_training_and_stops():
    algorithm = Dash(warm_up_share=0.2, num_decays=4, gamma=2.0, c=1.0, rho_min=0.2)
    loss = torch.tensor(1.0)
    told = [algorithm.threshold(step, 10, loss).item() for step in range(10)]
    assert told == pytest.approx([1, 1, 1, 1, 0.5, 0.5, 0.25, 0.25, 0.2, 0.2])
    published = Dash()
    steps = 10_000
    last = published.threshold(steps - 1, steps, torch.tensor(2.0)).item()
    assert last == pytest.approx(published.rho_min)
    assert published.threshold(1000, steps, torch.tensor(2.0)).item() == pytest.approx(2.0 * 1.0001)


def test_targets_are_sharpened_while_the_threshold_falls_and_classes_afterwards():
    algorithm = Dash(temperature=0.5, c=1.0, rho_min=0.2, warm_up_share=0.1)
    weak = logits_for([0.9, 0.1], [0.7, 0.3])
    falling = algorithm.targets(batch_of(weak, step=1), {"labeled_loss": torch.tensor(0.4)})
    sharp = 0.81 / 0.82
    assert falling.target_U[0].tolist() == pytest.approx([sharp, 1 - sharp])
    losses = [-(sharp * math.log(0.9) + (1 - sharp) * math.log(0.1)), -(49 * math.log(0.7) + 9 * math.log(0.3)) / 58]
    assert losses == pytest.approx([0.132, 0.488], abs=1e-3)
    assert falling.weight_U.tolist() == [1, 0]
    stopped = algorithm.targets(batch_of(weak, step=1), {"labeled_loss": torch.tensor(0.01)})
    assert stopped.target_U.tolist() == [[1, 0], [1, 0]]
    assert stopped.weight_U.tolist() == [1, 0]  # -log 0.9 = 0.105 and -log 0.7 = 0.357 against 0.2


def test_certain_logits_do_not_make_zero_times_infinity():
    weak = torch.tensor([[1e5, 0.0], [0.0, 1e5]])
    for labeled_loss in (1.0, 0.0):
        targets = Dash().targets(batch_of(weak, step=5), {"labeled_loss": torch.tensor(labeled_loss)})
        assert targets.weight_U.tolist() == [1, 1]
        assert targets.target_U.tolist() == [[1, 0], [0, 1]]
