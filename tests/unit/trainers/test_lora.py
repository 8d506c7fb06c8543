import json
from pathlib import Path

import numpy as np
import pytest
import torch
from adapted_models import BASES, images_for, perturb, small_model
from encoders_to_train import MOBILENET, VIT, TinyNet
from learning import all_probs, image_data
from safetensors.torch import load_file, save_file

from labelbench_ray.encoders.base import ENCODERS
from labelbench_ray.errors import TrainingError, WeightsError
from labelbench_ray.trainers.adapters import add_adapters, load_adapters, save_adapters
from labelbench_ray.trainers.base import TRAINERS
from labelbench_ray.trainers.end_to_end_model import build_model

PEFT = Path(__file__).parents[2] / "golden" / "peft"
"""Written by peft 0.21.2, see make.py there."""


def build(**parameters):
    settings = {"min_steps": 8, "epochs": 2, "learning_rate": 0.01, "train_batch_size": 10, "rank": 2}
    return TRAINERS.build({"name": "lora", **settings, **parameters})


@torch.no_grad()
def logits_of(model, base):
    return model(images_for(base)).numpy()


def adapted(base, targets=("attn", "mlp")):
    model = small_model(base)
    names = add_adapters(model, targets, 2, 6.0, np.random.default_rng(0))
    return model, names


@pytest.mark.parametrize("base", BASES)
def test_a_new_adapter_changes_nothing_and_a_changed_one_is_a_low_rank_change(base):
    model, names = adapted(base)
    np.testing.assert_array_equal(logits_of(model, base), logits_of(small_model(base), base))
    perturb(model)
    assert names
    changed = {name: parameter for name, parameter in model.named_parameters() if name.endswith("lora_B")}
    assert len(changed) == len(names)
    for name in changed:
        module, _, rest = name.removesuffix(".lora_B").partition(".parametrizations.")
        layer, weight = model.get_submodule(module), rest.split(".")[0]
        change = getattr(layer, weight) - getattr(layer.parametrizations, weight).original
        lora = getattr(layer.parametrizations, weight)[0]
        assert torch.allclose(change, 6.0 / 2 * lora.lora_B @ lora.lora_A, atol=1e-6)
        assert torch.linalg.matrix_rank(change.detach(), rtol=1e-4) == 2


@pytest.mark.parametrize("base", BASES)
def test_saved_adapters_load_into_the_same_model(base, tmp_path):
    model, _ = adapted(base)
    perturb(model)
    save_adapters(model, tmp_path, 2, 6.0)
    fresh = small_model(base)
    load_adapters(fresh, tmp_path)
    np.testing.assert_array_equal(logits_of(fresh, base), logits_of(model, base))
    assert np.abs(logits_of(fresh, base) - logits_of(small_model(base), base)).max() > 0.1


def test_files_have_pefts_names(tmp_path):
    """The names and the configuration that peft itself writes for the same adapters."""
    model, names = adapted("timm", ("attn",))
    save_adapters(model, tmp_path, 2, 6.0)
    ours, theirs = (load_file(folder / "adapter_model.safetensors") for folder in (tmp_path, PEFT))
    assert {name: value.shape for name, value in ours.items()} == {n: v.shape for n, v in theirs.items()}
    told, expected = (json.loads((folder / "adapter_config.json").read_text()) for folder in (tmp_path, PEFT))
    for key in ("peft_type", "r", "lora_alpha", "bias", "modules_to_save"):
        assert told[key] == expected[key]
    assert set(told["target_modules"]) == set(names)


def test_reads_what_peft_wrote():
    model = small_model("timm")
    load_adapters(model, PEFT)
    np.testing.assert_allclose(logits_of(model, "timm"), np.load(PEFT / "logits.npy"), atol=1e-5)


def test_refuses_adapters_of_another_model_or_kind(tmp_path):
    with pytest.raises(WeightsError, match=r"blocks\.0\.attn.* another architecture"):
        load_adapters(small_model("open_clip"), PEFT)
    config, weights = (
        json.loads((PEFT / "adapter_config.json").read_text()),
        load_file(PEFT / "adapter_model.safetensors"),
    )
    save_file({**weights, "base_model.model.encoder.more": torch.zeros(1)}, tmp_path / "adapter_model.safetensors")
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError, match=r"encoder\.more does not fit"):
        load_adapters(small_model("timm"), tmp_path)
    (tmp_path / "adapter_config.json").write_text(json.dumps({**config, "use_dora": True}))
    with pytest.raises(WeightsError, match=r"use_dora is not supported"):
        load_adapters(small_model("timm"), tmp_path)


def test_trains_adapters_and_head_alone_and_what_is_saved_gives_its_scores(tmp_path):
    encoder = ENCODERS.build(VIT)
    data, trainer = image_data(tmp_path, encoder=encoder), build()
    fitted = trainer.fit(data)
    fitted.save(tmp_path / "saved")
    loaded = encoder.load()
    fresh = build_model(TRAINERS.build("finetune"), data, loaded)
    before = {name: value.clone() for name, value in fresh.encoder.state_dict().items()}
    load_adapters(fresh, tmp_path / "saved")
    images = data.images["test"]
    with torch.no_grad():
        probs = fresh(loaded.prepare(images.read(np.arange(len(images))))).softmax(1).numpy()
    np.testing.assert_allclose(all_probs(fitted.scores["test"]), probs, atol=1e-5)
    kept = {
        name.replace("parametrizations.weight.original", "weight"): v for name, v in fresh.encoder.state_dict().items()
    }
    assert all(torch.equal(kept[name], value) for name, value in before.items())
    adapters = load_file(tmp_path / "saved" / "adapter_model.safetensors")
    assert any(value.abs().max() > 1e-3 for name, value in adapters.items() if "lora_B" in name)


def test_names_the_layers_there_are_where_no_target_is_found(tmp_path):
    with pytest.raises(TrainingError, match=r"no layer of the encoder is called nose; it has .*qkv"):
        build(targets=["nose"]).fit(image_data(tmp_path, encoder=ENCODERS.build(VIT)))
    for encoder in (TinyNet(), ENCODERS.build(MOBILENET)):
        with pytest.raises(TrainingError, match="no linear or attention layer; use `finetune`"):
            build().fit(image_data(tmp_path, encoder=encoder))
