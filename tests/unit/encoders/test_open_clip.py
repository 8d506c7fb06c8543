import json
import logging

import numpy as np
import pytest
import torch

from labelbench_ray.encoders.open_clip import MODELS, OpenClip
from labelbench_ray.encoders.weights import weights_digest
from labelbench_ray.errors import SpecError, WeightsError
from labelbench_ray.seeding import stream

TINY = "labelbench-vit-tiny"


def some_images(count=2, side=32):
    return list(stream(0, "images").integers(0, 256, (count, side, side, 3), dtype=np.uint8))


def saved(tmp_path, model, suffix="pt", **changes):
    state = {**model.state_dict(), **changes}
    torch.save(state, tmp_path / f"weights.{suffix}")
    return tmp_path / f"weights.{suffix}"


def tiny_model(seed=0):
    return OpenClip(model=TINY, weights_seed=seed)._filled_model()


def test_random_weights_come_from_their_seed_alone():
    before = torch.random.get_rng_state()
    first = weights_digest(OpenClip(model=TINY).load().module)
    torch.rand(3)
    again = weights_digest(OpenClip(model=TINY).load().module)
    other = weights_digest(OpenClip(model=TINY, weights_seed=1).load().module)
    assert first == again != other
    torch.random.set_rng_state(before)
    OpenClip(model=TINY).load()
    assert torch.equal(torch.random.get_rng_state(), before)


def test_embeddings_are_open_clips_own():
    encoder = OpenClip(model=TINY)
    loaded, model = encoder.load(), tiny_model().eval()
    with torch.inference_mode():
        expected = model.encode_image(loaded.prepare(some_images())).numpy()
    assert np.allclose(loaded.encode(some_images()), expected, atol=1e-6)
    assert loaded.width == expected.shape[1]


def test_the_zero_shot_head_is_the_mean_of_unit_prompts_times_the_scale():
    names, templates = ["zero", "one"], ["a photo of a {}.", "the digit {}"]
    head = OpenClip(model=TINY).load().zero_shot_head(names, templates)
    import open_clip

    model, tokenizer = tiny_model().eval(), open_clip.get_tokenizer(TINY)
    with torch.inference_mode():
        texts = model.encode_text(tokenizer([t.format(n) for n in names for t in templates]), normalize=True)
        mean = texts.reshape(2, 2, -1).mean(dim=1)
        expected = model.logit_scale.exp() * mean / mean.norm(dim=1, keepdim=True)
    assert np.allclose(head, expected.numpy(), atol=1e-5)
    assert np.allclose(np.linalg.norm(head, axis=1), 1 / 0.07, rtol=1e-5)


def test_bfloat16_is_close_and_leaves_weights_that_can_be_trained():
    full, half = (OpenClip(model=TINY, compute_dtype=dtype).load() for dtype in ("float32", "bfloat16"))
    a, b = full.encode(some_images(8)), half.encode(some_images(8))
    cosine = (a * b).sum(axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    assert not np.array_equal(a, b)
    assert cosine.min() > 0.999
    assert {parameter.dtype for parameter in half.module.parameters()} == {torch.float32}


def test_float16_on_a_processor_is_refused():
    with pytest.raises(SpecError, match="`compute_dtype: float16` needs a GPU; use bfloat16 or float32"):
        OpenClip(model=TINY, compute_dtype="float16").load()


@pytest.mark.parametrize("model", ["ViT-B-32", "coca_ViT-B-32"])
def test_clip_and_coca_encode_images_and_texts(model):
    loaded = OpenClip(model=model).load()
    assert loaded.encode(some_images(1)).shape == (1, 512)
    assert loaded.zero_shot_head(["cat", "dog"], ["a photo of a {}."]).shape == (2, 512)


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_weights_from_a_file(tmp_path, suffix):
    from safetensors.torch import save_file

    model = tiny_model(seed=5)
    path = saved(tmp_path, model)
    if suffix == "safetensors":
        path = tmp_path / "weights.safetensors"
        save_file(model.state_dict(), path)
    loaded = OpenClip(model=TINY, weights_path=path).load()
    assert weights_digest(loaded.module) == weights_digest(OpenClip(model=TINY, weights_seed=5).load().module)


def test_weights_of_another_architecture_are_named(tmp_path):
    import timm

    path = saved(tmp_path, timm.create_model("resnet18"))
    with pytest.raises(
        WeightsError, match=r"open_clip labelbench-vit-tiny: .* another architecture: missing positional"
    ) as e:
        OpenClip(model=TINY, weights_path=path).load()
    assert "unexpected conv1.weight" in str(e.value)
    assert "\n" not in str(e.value)


def test_a_tensor_of_another_shape_is_named(tmp_path):
    path = saved(tmp_path, tiny_model(), **{"visual.proj": torch.zeros(128, 7)})
    with pytest.raises(WeightsError, match=r"of another shape visual.proj \(128, 7\) instead of \(128, 128\)"):
        OpenClip(model=TINY, weights_path=path).load()


def test_a_file_that_is_no_weights_or_not_there_is_named(tmp_path):
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(WeightsError, match=r"text.pt cannot be read as weights") as raised:
        OpenClip(model=TINY, weights_path=tmp_path / "text.pt").load()
    assert "\n" not in str(raised.value)
    with pytest.raises(WeightsError, match=r"no weights at .*absent.pt; give `weights_path` a file that exists"):
        OpenClip(model=TINY, weights_path=tmp_path / "absent.pt").load()


def test_weights_that_cannot_be_downloaded_are_told_in_one_line(monkeypatch):
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", "/nonexistent")
    with pytest.raises(WeightsError, match="'openai' are neither in the local cache nor can be downloaded") as raised:
        OpenClip(weights="openai").load()
    assert "set `weights_path` to a local file" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_unknown_models_and_tags_suggest_near_ones():
    with pytest.raises(WeightsError, match=r"no such model. Did you mean: ViT-B-32"):
        OpenClip(model="ViT-B32").card()
    with pytest.raises(WeightsError, match=r"Did you mean: labelbench-vit-tiny\?"):
        OpenClip(model="labelbench-vit-tny").card()
    with pytest.raises(WeightsError, match=r"unknown weights 'opnai'. Did you mean: openai\?"):
        OpenClip(weights="opnai").card()


def test_a_tag_brings_its_normalisation_and_activation(monkeypatch):
    assert "squash" in OpenClip(model="ViT-B-16-SigLIP", weights="webli").card().preprocessing
    assert "0.5, 0.5, 0.5" in OpenClip(model="ViT-B-16-SigLIP", weights="webli").card().preprocessing
    asked = {}
    import open_clip

    monkeypatch.setattr(open_clip, "create_model", lambda model, **options: asked.update(options))
    for encoder, quick in (
        (OpenClip(), False),
        (OpenClip(weights="openai"), True),
        (OpenClip(weights="openai", quick_gelu=False), False),
        (OpenClip(weights="laion2b_s34b_b79k"), False),
        (OpenClip(model="ViT-B-32-quickgelu"), True),
    ):
        encoder._empty_model()
        assert asked["quick_gelu"] is quick, encoder


def test_loading_leaves_the_logging_of_the_process_alone(caplog):
    root, before = logging.getLogger(), list(logging.getLogger().handlers)
    OpenClip(model=TINY).load()
    assert root.handlers == before
    assert logging.root.manager.disable == logging.NOTSET
    assert not caplog.records


def test_the_shipped_model_is_small_but_has_blocks_to_freeze():
    config = json.loads((MODELS / f"{TINY}.json").read_text())
    assert config["vision_cfg"]["layers"] >= 4
    module = OpenClip(model=TINY).load().module
    assert sum(parameter.numel() for parameter in module.parameters()) < 1_000_000


def test_a_negative_seed_is_refused():
    with pytest.raises(SpecError, match="`weights_seed` must not be negative, got -1"):
        OpenClip(weights_seed=-1)
