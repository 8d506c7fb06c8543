"""Training of a head, step by step, against a plain loop with autograd and torch's optimiser."""

import numpy as np
import pytest
import torch
from learning import feature_data

from labelbench_ray.trainers.algorithms.base import Batch, loss_of_rows
from labelbench_ray.trainers.head_batches import HeadBatches
from labelbench_ray.trainers.head_layers import HeadLayers
from labelbench_ray.trainers.heads import Linear, Shallow
from labelbench_ray.trainers.optimisers import make_optimizer, set_learning_rate
from labelbench_ray.trainers.standardisation import pool_standardisation

STEPS = 25


def plain_training(trainer, data):
    """Weights of a module trained on the same batches; rows are standardised before they are multiplied."""
    standardise = pool_standardisation("test", data.features["train"], data.excluded_ids)
    layers = HeadLayers((5, *trainer.hidden_widths, 3), standardise, torch.float32, "cpu")
    layers.draw(data.stream("head"))
    batches, algorithm, loss = HeadBatches(trainer, data, layers), trainer.algorithm, trainer.labeled_loss(data)
    weights = [torch.nn.Parameter(weight.clone()) for weight in layers.weights]
    biases = [torch.nn.Parameter(bias.clone()) for bias in layers.biases]
    optimizer = make_optimizer(trainer.optimizer, [*weights, *biases], 1.0, trainer.weight_decay)
    state = algorithm.start(data.num_rows, len(batches.unlabeled_ids), 3, "cpu")

    def head(rows):
        values = (rows - torch.from_numpy(standardise.mean_D)) * torch.from_numpy(standardise.scale_D)
        for number, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            values = torch.nn.functional.linear(values.relu() if number else values, weight, bias)
        return values

    for step in range(STEPS):
        batch = batches.at(step)
        logits = head(batch.rows_RD)
        count, size = batches.num_unlabeled, batches.num_labeled
        weak, labeled = logits[:count], logits[count : count + size]
        whole = loss.rows(labeled, batch.target_B).mean()
        if count:
            trained = logits[-count:] if batches.first_trained else weak
            told = Batch(batch.ids_U, weak.detach(), labeled.detach(), batch.target_B, step, STEPS)
            targets = algorithm.targets(told, state)
            unlabeled = loss_of_rows(trained, targets).mean()
            if algorithm.has_batch_loss:
                unlabeled = unlabeled + algorithm.batch_loss(algorithm.strong_sums(trained, targets), state)
            whole = whole + algorithm.unlabeled_weight(step, STEPS) * unlabeled
        optimizer.zero_grad()
        whole.backward()
        if trainer.clip_gradient is not None:
            torch.nn.utils.clip_grad_norm_([*weights, *biases], trainer.clip_gradient)
        set_learning_rate(optimizer, trainer.learning_rate_at(step, STEPS))
        optimizer.step()
    return [parameter.detach().numpy() for parameter in (*weights, *biases)]


@pytest.mark.parametrize(
    ("kind", "algorithm", "options"),
    [
        (Linear, "supervised", {"label_smoothing": 0.1}),
        (Linear, "flexmatch", {}),
        (Shallow, "flexmatch", {"optimizer": "adamw", "clip_gradient": 0.3}),
        (Linear, "pseudolabel", {"optimizer": "sgd"}),
        (Linear, "uda", {"mixup": 0.5}),
        (Shallow, "freematch", {"class_weights": (1.0, 2.0, 3.0)}),
        (Linear, "adamatch", {"schedule": "cosine_restarts", "restart_steps": 7}),
    ],
)
def test_is_what_a_plain_loop_gives(kind, algorithm, options, tmp_path):
    settings = {"optimizer": "adam", "min_steps": STEPS, "epochs": 0, "train_batch_size": 16, "learning_rate": 0.01}
    trainer = kind(algorithm=algorithm, **{**settings, **options})
    data = feature_data(tmp_path)
    layers = trainer.fit(data).head.layers
    got = [*(weight for weight, _ in layers), *(bias for _, bias in layers)]
    for ours, plain in zip(got, plain_training(trainer, data), strict=True):
        np.testing.assert_allclose(ours, plain, rtol=1e-3, atol=2e-4)


def test_one_step_at_least_and_no_more_than_asked(tmp_path):
    data = feature_data(tmp_path)
    settings = {"optimizer": "adam", "min_steps": 0}
    assert Linear(**settings, epochs=0).fit(data).summary["steps"] == 1
    assert Linear(**settings, epochs=3, train_batch_size=10).fit(data).summary["steps"] == 9
    assert Linear(**settings, epochs=3, train_batch_size=500).fit(data).summary["steps"] == 3
