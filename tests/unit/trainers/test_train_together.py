"""Heads trained as one batched problem are those trained alone, up to rounding."""

from dataclasses import replace

import numpy as np
import pytest
from learning import ArrayRows, all_probs, feature_data

from labelbench_ray.errors import TrainingError
from labelbench_ray.trainers.base import ALGORITHMS
from labelbench_ray.trainers.heads import Linear, Shallow
from labelbench_ray.trainers.train_together import train_together

QUICK = {"optimizer": "adam", "min_steps": 40, "epochs": 2, "train_batch_size": 16}


@pytest.fixture
def trials(tmp_path):
    """Three seeds, of which the last bought other rows."""
    data = feature_data(tmp_path, num_labels=60)
    parts = [slice(0, 30), slice(0, 30), slice(30, 60)]
    return [
        replace(data, seed=seed, ids_L=data.ids_L[part], labels_L=data.labels_L[part])
        for seed, part in enumerate(parts)
    ]


@pytest.mark.parametrize("algorithm", ALGORITHMS.names())
def test_each_head_is_the_one_trained_alone(algorithm, trials):
    trainer = Linear(algorithm=algorithm, **QUICK)
    for fitted, data in zip(train_together(trainer, trials), trials, strict=True):
        alone = trainer.fit(data)
        np.testing.assert_allclose(all_probs(fitted.scores["test"]), all_probs(alone.scores["test"]), atol=1e-3)
        assert fitted.summary == pytest.approx(alone.summary, abs=1e-3)


@pytest.mark.parametrize("options", [{"ema": 0.9, "clip_gradient": 0.5}, {"mixup": 0.4, "label_smoothing": 0.1}])
def test_options_and_hidden_layers_too(options, trials):
    trainer = Shallow(hidden_width=7, **QUICK, **options)
    for fitted, data in zip(train_together(trainer, trials), trials, strict=True):
        alone = trainer.fit(data)
        np.testing.assert_allclose(all_probs(fitted.scores["test"]), all_probs(alone.scores["test"]), atol=1e-3)


def test_refuses_what_does_not_fit_together(trials):
    fewer = replace(trials[0], ids_L=trials[0].ids_L[:5], labels_L=trials[0].labels_L[:5])
    other_pool = replace(trials[0], features={**trials[0].features, "train": ArrayRows(np.zeros((120, 5)))})
    for trainer, odd, told in (
        (Linear(**QUICK), fewer, "differ"),
        (Linear(**QUICK), other_pool, "one pool"),
        (Linear(), trials[1], "lbfgs"),
        (Linear(**QUICK, patience=3), trials[1], "patience"),
        (Linear(**QUICK, class_weights="balanced"), trials[1], "balanced"),
    ):
        with pytest.raises(TrainingError, match=told):
            train_together(trainer, [trials[0], odd])
