"""Two workers give what one gives but for the rounding of sums, whatever is trained and how."""

from dataclasses import replace

import numpy as np
import pytest
from encoders_to_train import MOBILENET, OPEN_CLIP_VIT, VIT, TinyNet
from learning import all_embeddings, all_probs, image_data
from worker_groups import pair_of_workers

from labelbench_ray.encoders.base import ENCODERS
from labelbench_ray.errors import TrainingError
from labelbench_ray.trainers.base import ALGORITHMS, TRAINERS

TOLERANCE = 1e-5
"""Largest difference of a probability; float32 sums over a few dozen rows differ by less."""
SEMI_SUPERVISED = [name for name in ALGORITHMS.names() if name != "supervised"]


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    with pair_of_workers(tmp_path_factory.mktemp("group")) as workers:
        yield workers


def build(**parameters):
    # 5 labelled rows and as many unlabelled ones do not split evenly.
    settings = {"name": "finetune", "min_steps": 6, "epochs": 3, "learning_rate": 0.003, "train_batch_size": 5}
    return TRAINERS.build({**settings, **parameters})


def train(folder, trainer, launch=None, **changes):
    folder.mkdir()
    data = image_data(folder, **changes)
    return trainer.fit(data if launch is None else replace(data, launch=launch))


def difference(one, two):
    """The largest between two fitted models; embeddings, of larger numbers, may differ 20 times as much."""
    assert set(one.summary) == set(two.summary)
    found = [abs(two.summary[name] - value) for name, value in one.summary.items()]
    for split, scores in one.scores.items():
        found.append(np.abs(all_probs(two.scores[split]) - all_probs(scores)).max())
        found.append(np.abs(all_embeddings(two.scores[split]) - all_embeddings(scores)).max() / 20)
    return np.max(found)  # NaN if there is one


def on_one_and_two(tmp_path, pair, parameters, **changes):
    """The same training by one worker, and by two."""
    changes.setdefault("encoder", TinyNet())
    one = train(tmp_path / "one", build(**parameters), **changes)
    return one, train(tmp_path / "two", build(**parameters, num_workers=2, through="ray_train"), pair, **changes)


def gently(name):
    """An algorithm whose thresholds some rows pass in a few steps from random weights."""
    cutoff = {"p_cutoff": 0.6} if "p_cutoff" in ALGORITHMS.get(name).__dataclass_fields__ else {}
    return {"name": name, "uratio": 1, **cutoff}


@pytest.mark.parametrize("name", SEMI_SUPERVISED)
def test_every_algorithm(name, tmp_path, pair):
    assert difference(*on_one_and_two(tmp_path, pair, {"algorithm": gently(name)})) < TOLERANCE


@pytest.mark.parametrize("encoder", [VIT, OPEN_CLIP_VIT, MOBILENET], ids=["timm-vit", "open-clip-vit", "mobilenet"])
def test_every_kind_of_encoder(encoder, tmp_path, pair):
    parameters = {"algorithm": gently("freematch"), "epochs": 1, "min_steps": 3, "learning_rate": 1e-4}
    assert difference(*on_one_and_two(tmp_path, pair, parameters, encoder=ENCODERS.build(encoder))) < TOLERANCE


@pytest.mark.parametrize(
    "parameters",
    [
        {"freeze_epochs": 1},
        {"micro_batch_size": 2, "algorithm": gently("freematch")},
        {"mixup": 0.4, "class_weights": "balanced"},
        {"ema": 0.9},
        {"train_batch_size": 1, "algorithm": gently("flexmatch")},
    ],
    ids=lambda parameters: next(iter(parameters)),
)
def test_every_option(parameters, tmp_path, pair):
    assert difference(*on_one_and_two(tmp_path, pair, parameters)) < TOLERANCE


def test_early_stopping(tmp_path, pair):
    labels = np.arange(10) % 2
    parameters = {"patience": 2, "learning_rate": 0.1, "epochs": 20}
    fitted, by_two = on_one_and_two(tmp_path, pair, parameters, validation_labels=labels)
    assert difference(fitted, by_two) < TOLERANCE
    assert fitted.summary["steps"] < 20


def test_adapters(tmp_path, pair):
    encoder = ENCODERS.build(VIT)
    parameters = {"name": "lora", "learning_rate": 0.01, "freeze_epochs": 1}
    assert difference(*on_one_and_two(tmp_path, pair, parameters, encoder=encoder)) < TOLERANCE


def test_gradients_are_averaged_over_both(tmp_path, pair):
    """The comparison can fail: half of the batch on one worker alone is another model."""
    two = build(num_workers=2, through="ray_train")
    whole = train(tmp_path / "two", two, pair, encoder=TinyNet())
    half = train(tmp_path / "half", build(train_batch_size=2), encoder=TinyNet())
    assert np.abs(all_probs(whole.scores["test"]) - all_probs(half.scores["test"])).max() > 100 * TOLERANCE


def test_an_error_on_every_worker_is_told_once(tmp_path, pair):
    diverging = build(optimizer="sgd", learning_rate=1e30, clip_gradient=None, num_workers=2, through="ray_train")
    with pytest.raises(TrainingError, match="the loss is NaN or infinite at step"):
        train(tmp_path / "diverges", diverging, pair, encoder=TinyNet())
