import numpy as np
import pytest
import torch

from labelbench_ray.kernels.flips import class_means, distance_to_flip, farthest
from labelbench_ray.types import LastLayer


def made_up(num_rows=60, width=5, num_classes=4):
    rng = np.random.default_rng(0)
    layer = LastLayer(rng.normal(size=(num_classes, width)).astype(np.float32), rng.normal(size=num_classes))
    return torch.from_numpy(rng.normal(size=(num_rows, width)).astype(np.float32)), layer


def gradients(rows, layer):
    """Of the loss of the predicted class, by autograd, of length one."""
    rows = rows.double().requires_grad_()
    logits = rows @ torch.from_numpy(layer.weight_CD).double().T + torch.from_numpy(layer.bias_C)
    loss = torch.nn.functional.cross_entropy(logits, logits.argmax(dim=1), reduction="sum")
    (along,) = torch.autograd.grad(loss, rows)
    return (along / along.norm(dim=1, keepdim=True)).numpy()


def predicted(rows, layer):
    return (rows @ layer.weight_CD.astype(np.float64).T + layer.bias_C).argmax(axis=1)


def test_rows_flip_just_beyond_the_distance_and_not_before():
    rows, layer = made_up()
    found = distance_to_flip(rows, layer).numpy()
    along, start = gradients(rows, layer), rows.double().numpy()
    finite = np.isfinite(found)
    assert finite.sum() > 20
    short, beyond = (start + along * np.where(finite, found, 0)[:, None] * share for share in (0.999, 1.001))
    assert (predicted(short, layer) == predicted(start, layer)).all()
    assert (predicted(beyond, layer) != predicted(start, layer))[finite].all()
    far = start + 1e6 * along
    assert (predicted(far, layer) == predicted(start, layer))[~finite].all()


def test_by_hand():
    """Two classes told apart by one number: it has to move to where they are even."""
    layer = LastLayer(np.array([[1.0], [-1.0]], np.float32), np.zeros(2, np.float32))
    rows = torch.tensor([[0.25], [-3.0]])
    np.testing.assert_allclose(distance_to_flip(rows, layer), [0.25, 3.0], rtol=1e-6)


def test_a_sure_row_moves_as_exactly_as_another():
    """Scaled weights change how sure predictions are (here 1 - p is far below single precision), and no distance."""
    rows, layer = made_up(num_classes=2)
    sure = LastLayer(20 * layer.weight_CD, 20 * layer.bias_C)
    np.testing.assert_allclose(distance_to_flip(rows, sure), distance_to_flip(rows, layer), rtol=1e-4)


def test_a_saturated_row_and_a_layer_of_zeros_never_flip():
    layer = LastLayer(np.array([[1e6], [-1e6]], np.float32), np.zeros(2, np.float32))
    assert distance_to_flip(torch.ones(1, 1), layer).tolist() == [np.inf]
    nothing = LastLayer(np.zeros((3, 1), np.float32), np.zeros(3, np.float32))
    assert distance_to_flip(torch.ones(1, 1), nothing).tolist() == [np.inf]


def test_the_farthest_point_equals_a_loop():
    rows, _ = made_up()
    points = np.random.default_rng(1).normal(size=(7, 5))
    expected = [max(np.linalg.norm(row - point) for point in points) for row in rows.numpy()]
    np.testing.assert_allclose(farthest(rows, points), expected, rtol=1e-5)


@pytest.mark.parametrize("labels", [[3, 1, 3, 1], [0, 0, 0, 0]])
def test_classes_without_rows_have_no_mean(labels):
    vectors, labels = np.arange(8.0).reshape(4, 2), np.array(labels)
    expected = [vectors[labels == one].mean(axis=0) for one in sorted(set(labels.tolist()))]
    assert class_means(vectors, labels).tolist() == np.array(expected).tolist()
