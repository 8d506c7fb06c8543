import itertools

import numpy as np
import pytest
import torch
from encoders_to_train import MOBILENET, OPEN_CLIP_VIT, VIT, TinyNet
from learning import image_data

from labelbench_ray.encoders.base import ENCODERS
from labelbench_ray.errors import TrainingError
from labelbench_ray.trainers.base import TRAINERS
from labelbench_ray.trainers.end_to_end_model import build_model
from labelbench_ray.trainers.layer_decay import (
    learning_rate_scales,
    make_scaled_optimizer,
    set_scaled_learning_rate,
)

BLOCKS = {
    "timm-vit": (VIT, "patch_embed.proj.weight", ["blocks.0.", "blocks.1."], "norm.weight"),
    "open-clip-vit": (
        OPEN_CLIP_VIT,
        "visual.conv1.weight",
        [f"visual.transformer.resblocks.{number}." for number in range(4)],
        "visual.proj",
    ),
    "mobilenet": (MOBILENET, "conv_stem.weight", ["blocks.0.0.", "blocks.1.0.", "blocks.1.1."], "conv_head.weight"),
}


@pytest.mark.parametrize("name", BLOCKS)
def test_scales_rise_from_block_to_block_and_end_one_step_below_the_head(name):
    encoder, first, blocks, last = BLOCKS[name]
    module = ENCODERS.build(encoder).load().module
    scales = learning_rate_scales(module, 0.5, "finetune")
    assert set(scales) == {name for name, _ in module.named_parameters()}
    of_blocks = [{scale for name, scale in scales.items() if name.startswith(block)} for block in blocks]
    assert all(len(found) == 1 for found in of_blocks)
    rising = [scales[first], *(found.pop() for found in of_blocks)]
    assert all(later == 2 * earlier for earlier, later in itertools.pairwise(rising))
    assert scales[last] == max(scales.values()) == 0.5
    assert scales[first] == min(scales.values())


def test_a_group_follows_the_schedule_at_its_own_scale():
    weights = {name: torch.nn.Parameter(torch.ones(2, 2)) for name in ("first", "second", "head")}
    scales = {"first": 0.25, "second": 0.5}
    optimizer = make_scaled_optimizer("sgd", weights, scales, 1.0, 0.0)
    set_scaled_learning_rate(optimizer, 0.1)
    for weight in weights.values():
        weight.grad = torch.ones(2, 2)
    optimizer.step()
    moved = {name: 1 - weight.detach().numpy()[0, 0] for name, weight in weights.items()}
    assert moved == pytest.approx({"first": 0.025, "second": 0.05, "head": 0.1})


def test_the_optimizer_decays_as_without_scales():
    weights = {name: torch.nn.Parameter(torch.ones(shape)) for name, shape in {"a": (2, 2), "b": (2,)}.items()}
    optimizer = make_scaled_optimizer("adamw", weights, {"a": 0.5}, 1.0, 0.3)
    decays = {len(group["params"][0].shape): group["weight_decay"] for group in optimizer.param_groups}
    assert decays == {2: 0.3, 1: 0.0}


def test_the_trainer_gives_each_layer_of_its_encoder_a_scale(tmp_path):
    data = image_data(tmp_path, encoder=ENCODERS.build(VIT))
    trainer = TRAINERS.build({"name": "finetune", "layer_decay": 0.5, "epochs": 1, "min_steps": 2})
    model = build_model(trainer, data, data.encoder.load())
    scales = trainer.learning_rate_scales(model)
    assert set(scales) == {name for name, _ in model.named_parameters() if not name.startswith("head.")}
    assert np.isfinite(list(trainer.fit(data).summary.values())).all()
    with pytest.raises(TrainingError, match="knows no order of the layers of Sequential"):
        trainer.fit(image_data(tmp_path, encoder=TinyNet()))
