from pathlib import Path

import numpy as np
import pytest

import labelbench_ray.metrics
from labelbench_ray.metrics.cards import METRICS
from labelbench_ray.metrics.classification import ClassificationTally


def test_every_value_has_a_card_and_every_card_a_value():
    tally = ClassificationTally(2)
    tally.add(np.array([[0.9, 0.1]]), np.array([0]))
    assert list(tally.values()) == list(METRICS)


@pytest.mark.parametrize("name", METRICS)
def test_the_readme_says_what_the_card_says(name):
    card = METRICS[name]
    readme = Path(labelbench_ray.metrics.__file__).with_name("README.md").read_text()
    assert f"| `{name}` | {card.better} | {'yes ' if card.needs_probabilities else ''}|" in readme


@pytest.mark.parametrize("name", METRICS)
def test_card_is_complete(name):
    card = METRICS[name]
    assert card.name == name
    assert card.title
    assert card.unit
    assert card.definition
    assert card.source
    assert card.higher_is_better == (card.better == "higher")


@pytest.mark.parametrize("name", METRICS)
def test_the_direction_is_true(name):
    labels = np.array([0, 1, 2] * 10)
    good, poor = (ClassificationTally(3) for _ in range(2))
    good.add(np.eye(3)[labels] * 0.97 + 0.01, labels)
    poor.add(np.eye(3)[(labels + 1) % 3] * 0.97 + 0.01, labels)
    assert (good.values()[name] > poor.values()[name]) == METRICS[name].higher_is_better
