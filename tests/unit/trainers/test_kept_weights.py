"""Which weights of a training are kept: averages, or those of the best epoch."""

import pytest
import torch

from labelbench_ray.trainers.early_stopping import EarlyStopping
from labelbench_ray.trainers.weight_average import WeightAverage


def test_the_average_is_the_recursion_written_out():
    weight = torch.zeros(2)
    average, expected = WeightAverage([weight], 0.5), 0.0
    for update in range(1, 30):
        weight.fill_(float(update))
        average.update()
        decay = min(0.5, update / (10 + update))
        expected = decay * expected + (1 - decay) * update
    average.keep()
    assert weight.tolist() == pytest.approx([expected] * 2)


def test_averages_in_place_leave_the_weights_as_they_were():
    weight = torch.tensor([2.0])
    average = WeightAverage([weight], 0.9)
    weight.fill_(4.0)
    with average.in_place():
        assert weight.item() == 2.0
    assert weight.item() == 4.0


def test_an_average_goes_on_from_a_checkpoint():
    weight, again = torch.tensor([1.0]), torch.tensor([1.0])
    first, second = WeightAverage([weight], 0.9), WeightAverage([again], 0.9)
    weight.fill_(3.0)
    first.update()
    second.load_state_dict(first.state_dict())
    again.fill_(5.0)
    weight.fill_(5.0)
    for average in (first, second):
        average.update()
        average.keep()
    assert weight.item() == again.item()


def test_stops_after_the_patience_and_restores_the_best_epoch():
    weight = torch.zeros(1)
    stopping = EarlyStopping([weight], 2)
    told = []
    for loss in (3.0, 1.0, 1.0, 0.5, 0.9, 0.8):
        weight.fill_(loss)
        told.append(stopping.observe(loss))
    assert told == [False, False, False, False, False, True]
    stopping.restore()
    assert weight.item() == 0.5


def test_early_stopping_goes_on_from_a_checkpoint():
    weight = torch.zeros(1)
    stopping = EarlyStopping([weight], 2)
    stopping.observe(1.0)
    stopping.observe(2.0)
    later = EarlyStopping([weight], 2)
    later.load_state_dict(stopping.state_dict())
    weight.fill_(9.0)
    assert later.observe(3.0)
    later.restore()
    assert weight.item() == 0.0
