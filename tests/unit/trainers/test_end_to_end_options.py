import warnings
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from encoders_to_train import TinyNet
from learning import all_probs, image_data
from safetensors.numpy import load_file

from labelbench_ray.errors import SpecError, TrainingError
from labelbench_ray.seeding import stream
from labelbench_ray.trainers.base import TRAINERS
from labelbench_ray.trainers.end_to_end_step import TrainingBatches
from labelbench_ray.trainers.end_to_end_views import TrainingViews
from labelbench_ray.trainers.launch import InlineContext
from labelbench_ray.trainers.ranks import Ranks


def build(**parameters):
    settings = {"min_steps": 6, "epochs": 3, "learning_rate": 0.01, "train_batch_size": 10}
    return TRAINERS.build({"name": "finetune", **settings, **parameters})


def trained(folder, **parameters):
    """Weights after training, by name."""
    folder.mkdir(parents=True, exist_ok=True)
    fitted = build(**parameters).fit(image_data(folder, encoder=TinyNet()))
    fitted.save(folder / "saved")
    return load_file(folder / "saved" / "model.safetensors")


def test_a_frozen_encoder_stays_and_its_head_learns(tmp_path):
    before = TinyNet().load().module.state_dict()
    whole, half = (trained(tmp_path / str(epochs), freeze_epochs=epochs) for epochs in (3, 2))
    assert np.array_equal(whole["encoder.0.weight"], before["0.weight"])
    assert not np.array_equal(half["encoder.0.weight"], before["0.weight"])
    assert np.abs(whole["head.bias"]).max() > 1e-4


PASSES = []


@dataclass(frozen=True)
class Watched:
    """TinyNet that notes in PASSES how many images pass through it at a time."""

    name = "watched"

    def load(self, device="cpu"):
        loaded = TinyNet().load(device)
        loaded.module.register_forward_pre_hook(lambda module, images: PASSES.append(len(images[0])))
        return loaded


@pytest.mark.parametrize("algorithm", ["supervised", "pseudolabel", "adamatch", "freematch"])
def test_micro_batches_change_nothing_but_rounding(algorithm, tmp_path):
    probs = []
    spec = algorithm if algorithm == "supervised" else {"name": algorithm, "uratio": 2}
    for number, size in enumerate((None, 4)):
        (tmp_path / str(number)).mkdir()
        data = image_data(tmp_path / str(number), encoder=Watched())
        PASSES.clear()
        trainer = build(algorithm=spec, micro_batch_size=size, score_batch_size=4)
        probs.append(all_probs(trainer.fit(data).scores["test"]))
        assert max(PASSES) == (4 if size else 10 if algorithm == "supervised" else 30)
    np.testing.assert_allclose(probs[1], probs[0], atol=1e-5)


def batches_of(trainer, data):
    encoder = data.encoder.load()
    ranks = Ranks(InlineContext(data.work_dir))
    return TrainingBatches(trainer, data, ranks, TrainingViews(data, encoder, 1.0))


def test_mixup_mixes_images_and_targets_alike(tmp_path):
    data = image_data(tmp_path, encoder=TinyNet())
    mixed, plain = (batches_of(build(mixup=mixup), data).at(1) for mixup in (0.7, 0.0))
    rng = stream(0, "train", 0, "mixup", 1)
    share, partner_B = rng.beta(0.7, 0.7), torch.from_numpy(rng.permutation(10))
    images = share * plain.images + (1 - share) * plain.images[partner_B]
    assert torch.allclose(mixed.images, images, atol=1e-6)
    one_hot = torch.eye(2)[plain.targets_B]
    assert torch.allclose(mixed.targets_B, share * one_hot + (1 - share) * one_hot[partner_B], atol=1e-6)
    assert not torch.allclose(mixed.images, plain.images, atol=1e-2)


def test_the_average_of_weights_is_what_is_kept(tmp_path):
    one_step = {"min_steps": 1, "epochs": 1, "train_batch_size": 20}
    last, average = (trained(tmp_path / str(ema), ema=ema, **one_step) for ema in (0.0, 0.999))
    start = TinyNet().load().module.state_dict()["0.weight"].numpy()
    # After one update an average has moved by 1 - 1/11 (weight_average.py).
    expected = start + (last["encoder.0.weight"] - start) * 10 / 11
    np.testing.assert_allclose(average["encoder.0.weight"], expected, atol=1e-7)


def test_early_stopping_restores_the_best_epoch(tmp_path):
    """Validation labels are wrong, so the loss on them rises from the first epoch on."""
    options = {"optimizer": "sgd", "schedule": "constant", "learning_rate": 0.05, "weight_decay": 0.0}
    data = image_data(tmp_path, encoder=TinyNet())
    images = data.images["train"].images_NHWC
    flipped = replace(data, images={**data.images, "val": data.images["train"]})
    labels_N = (images[:, :4].mean((1, 2, 3)) > images[:, 4:].mean((1, 2, 3))).astype(np.int64)
    stopped = build(patience=2, epochs=10, min_steps=0, **options).fit(replace(flipped, validation_labels=labels_N))
    one_epoch = build(epochs=1, min_steps=0, **options).fit(replace(data, work_dir=tmp_path))
    assert stopped.summary["steps"] == (1 + 2) * 2
    np.testing.assert_array_equal(all_probs(stopped.scores["test"]), all_probs(one_epoch.scores["test"]))
    with pytest.raises(TrainingError, match="`patience` needs a validation split"):
        build(patience=2).fit(data)


def test_bfloat16_stays_near_float32(tmp_path):
    probs = []
    for dtype in ("float32", "bfloat16"):
        (tmp_path / dtype).mkdir()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # said where a processor has no bfloat16
            fitted = build(compute_dtype=dtype).fit(image_data(tmp_path / dtype, encoder=TinyNet()))
        probs.append(all_probs(fitted.scores["test"]))
    assert np.abs(probs[1] - probs[0]).max() < 0.02


def test_multi_label_probabilities_are_sigmoids_that_follow_their_labels(tmp_path):
    data = image_data(tmp_path, encoder=TinyNet())
    labels_L2 = np.stack([data.labels_L, np.ones_like(data.labels_L)], 1)  # the second label is always there
    multi = replace(data, task="multi_label", labels_L=labels_L2, validation_labels=np.ones((10, 2), np.int64))
    fitted = build(min_steps=60, patience=60, learning_rate=0.05).fit(multi)
    probs = all_probs(fitted.scores["train"])
    assert probs[:20, 1].min() > 0.9
    assert ((probs[:20, 0] > 0.5) == data.labels_L).all()
    with pytest.raises(TrainingError, match="task multi_label is not supported"):
        build(algorithm="flexmatch").fit(multi)


@dataclass(frozen=True)
class TooLarge:
    """An encoder that needs more memory than there is for more images than ``fits``, or for scoring."""

    fits: int
    training: bool

    name = "too large"

    def load(self, device="cpu"):
        def check(module, images):
            if torch.is_grad_enabled() == self.training and len(images[0]) > self.fits:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB.\nMore lines.")

        loaded = TinyNet().load(device)
        loaded.module.register_forward_pre_hook(check)
        return loaded


def test_out_of_memory_names_the_batch_size_to_lower(tmp_path):
    def fit(fits, training, **parameters):
        return build(**parameters).fit(image_data(tmp_path, encoder=TooLarge(fits, training)))

    semi_supervised = {"algorithm": {"name": "fixmatch", "uratio": 2}, "score_batch_size": 8}
    with pytest.raises(TrainingError, match=r"not enough memory .* set `micro_batch_size` below 30, or lower") as told:
        fit(29, True, **semi_supervised)
    assert "\n" not in str(told.value)
    with pytest.raises(TrainingError, match="lower `micro_batch_size: 20`"):
        fit(19, True, **semi_supervised, micro_batch_size=20)
    with pytest.raises(TrainingError, match="lower `score_batch_size: 8`"):
        fit(7, False, **{**semi_supervised, "algorithm": "supervised"})
    fit(30, True, **semi_supervised)


@pytest.mark.parametrize(
    "parameters",
    [
        {"micro_batch_size": 0},
        {"checkpoint_every_epochs": 0},
        {"freeze_epochs": -1},
        {"layer_decay": 0.0},
        {"layer_decay": 1.5},
        {"score_batch_size": 0},
        {"optimizer": "lbfgs"},
        {"name": "lora", "rank": 0},
        {"name": "lora", "alpha": 0},
        {"name": "lora", "targets": []},
    ],
)
def test_names_the_field_that_is_out_of_range(parameters):
    field = next(name for name in parameters if name != "name")
    with pytest.raises(SpecError, match=f"`{field}`"):
        build(**parameters)


@pytest.mark.slow
def test_a_compiled_model_gives_the_same_but_for_rounding(tmp_path):
    plain, compiled = (trained(tmp_path / str(option), compile=option, min_steps=3) for option in (False, True))
    for name, weight in plain.items():
        np.testing.assert_allclose(compiled[name], weight, atol=1e-4)
