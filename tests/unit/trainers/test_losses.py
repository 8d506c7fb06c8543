"""The loss on bought labels, against values worked out by hand and against torch's autograd."""

import math

import numpy as np
import pytest
import torch

from labelbench_ray.trainers.losses import (
    LabeledLoss,
    MultiLabelLoss,
    class_weights_of,
    cost_problem,
    cross_entropy_with_gradient,
)

CLASSES = torch.tensor([0, 2, 1])
MIXED = torch.tensor([[0.7, 0.3, 0.0], [0.0, 0.0, 1.0], [0.2, 0.2, 0.6]])
WEIGHTS = torch.tensor([1.0, 3.0, 0.5])
COSTS = torch.tensor([[0.0, 1.0, 4.0], [0.5, 0.0, 0.5], [2.0, 2.0, 0.0]])


def logits_for(*rows):
    """Logits whose softmax is exactly these rows."""
    return torch.log(torch.tensor(rows))


@pytest.fixture
def logits():
    return torch.randn(3, 3, generator=torch.Generator().manual_seed(0))


def every_loss():
    for smoothing in (0.0, 0.2):
        for weights in (None, WEIGHTS):
            for costs in (None, COSTS):
                yield LabeledLoss(label_smoothing=smoothing, weights_C=weights, costs_CC=costs)


def test_weights_multiply_a_rows_loss_and_costs_add_what_is_expected():
    probs = ([0.5, 0.3, 0.2], [0.1, 0.8, 0.1])
    loss = LabeledLoss(weights_C=WEIGHTS, costs_CC=COSTS).rows(logits_for(*probs), torch.tensor([0, 1]))
    by_hand = [-math.log(0.5) + 0.3 * 1 + 0.2 * 4, -3 * math.log(0.8) + 0.1 * 0.5 + 0.1 * 0.5]
    assert loss.tolist() == pytest.approx(by_hand)


def test_a_distribution_with_a_single_one_is_its_class(logits):
    for loss in every_loss():
        of_classes = loss.rows(logits, CLASSES)
        torch.testing.assert_close(loss.rows(logits, torch.nn.functional.one_hot(CLASSES, 3).float()), of_classes)


def test_a_mixed_target_gives_the_losses_mixed(logits):
    for loss in every_loss():
        of_each = torch.stack([loss.rows(logits, torch.full((3,), label)) for label in range(3)], dim=1)
        torch.testing.assert_close(loss.rows(logits, MIXED), (MIXED * of_each).sum(1))


@pytest.mark.parametrize("target", [CLASSES, MIXED], ids=["classes", "distributions"])
def test_gradients_are_autograds_whatever_the_memory_layout(target, logits):
    for loss in every_loss():
        leaf = logits.clone().requires_grad_()
        expected = loss.rows(leaf, target)
        expected.sum().backward()
        for laid_out in (logits, logits.T.contiguous().T):
            got, gradient = loss.rows_with_gradient(laid_out, target)
            torch.testing.assert_close(got, expected.detach())
            torch.testing.assert_close(gradient, leaf.grad)


def test_cross_entropy_of_far_apart_logits_is_finite():
    loss, gradient = cross_entropy_with_gradient(torch.tensor([[2e4, -2e4]]), torch.tensor([1]))
    assert loss.item() == 4e4
    assert gradient.tolist() == [[1.0, -1.0]]


def test_binary_cross_entropy_by_hand():
    logits = torch.tensor([[math.log(0.8 / 0.2), math.log(0.3 / 0.7)]])
    target = torch.tensor([[1, 0]])
    plain = MultiLabelLoss().rows(logits, target)
    assert plain.item() == pytest.approx(-(math.log(0.8) + math.log(0.7)) / 2)
    weighted = MultiLabelLoss(weights_C=torch.tensor([3.0, 5.0])).rows(logits, target)
    assert weighted.item() == pytest.approx(-(3 * math.log(0.8) + math.log(0.7)) / 2)
    smooth = MultiLabelLoss(label_smoothing=0.2).rows(logits, target)
    by_hand = -(0.9 * math.log(0.8) + 0.1 * math.log(0.2) + 0.1 * math.log(0.3) + 0.9 * math.log(0.7)) / 2
    assert smooth.item() == pytest.approx(by_hand)


def test_binary_gradient_is_a_sigmoid_minus_the_target(logits):
    target = torch.tensor([[1, 0, 1], [0, 0, 0], [1, 1, 1]])
    _, gradient = MultiLabelLoss().rows_with_gradient(logits, target)
    torch.testing.assert_close(gradient, (logits.sigmoid() - target) / 3)


def test_balanced_weights_give_each_class_bought_the_same_total():
    labels = np.array([0, 0, 0, 2])
    weights = class_weights_of("balanced", labels, 4)
    assert weights.tolist() == pytest.approx([4 / 2 / 3, 1.0, 2.0, 1.0])  # classes 1 and 3 were never bought
    assert weights[labels].mean() == pytest.approx(1.0)
    assert class_weights_of("none", labels, 4) is None
    assert class_weights_of((1.0, 2.0), labels, 2).tolist() == [1.0, 2.0]


def test_balanced_weights_of_labels_are_their_negatives_for_each_positive():
    labels = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0], [1, 0, 0]])
    assert class_weights_of("balanced", labels, 3).tolist() == pytest.approx([1 / 3, 3.0, 1.0])


@pytest.mark.parametrize(
    ("costs", "told"),
    [
        ([[0.0, 1.0]], "as many columns"),
        ([], "as many columns"),
        ([[0.0, -1.0], [1.0, 0.0]], "negative"),
        ([[0.0, float("nan")], [1.0, 0.0]], "not finite"),
        ([[0.0, 1.0], [1.0, 2.0]], "diagonal"),
    ],
)
def test_says_what_is_wrong_with_costs(costs, told):
    assert told in cost_problem(costs)
    assert cost_problem([[0.0, 1.0], [2.0, 0.0]]) is None
