"""Lets peft write a small adapter, and what the adapted model says; then reads ours with peft.

    pip install peft==0.21.2
    PYTHONPATH=tests python tests/golden/peft/make.py

writes ``adapter_model.safetensors``, ``adapter_config.json`` and ``logits.npy`` beside this file, and fails where peft
reads an adapter of ours as another model.
"""

import json
import tempfile
from pathlib import Path

import numpy as np
import peft
import torch
from adapted_models import BASES, images_for, perturb, small_model

from labelbench_ray.trainers.adapters import CONFIG_FILE, add_adapters, save_adapters

HERE = Path(__file__).parent
RANK, ALPHA = 2, 6.0


def write_golden() -> None:
    """An adapter of peft on timm's attention, its head trained as a whole."""
    config = peft.LoraConfig(
        r=RANK,
        lora_alpha=ALPHA,
        target_modules=["qkv", "proj"],
        modules_to_save=["head"],
        exclude_modules=".*patch_embed.*",
    )
    model = peft.get_peft_model(small_model("timm"), config).eval()
    perturb(model)
    with torch.no_grad():
        np.save(HERE / "logits.npy", model(images_for("timm")).numpy())
    model.save_pretrained(str(HERE))
    (HERE / "README.md").unlink(missing_ok=True)
    told = json.loads((HERE / CONFIG_FILE).read_text())
    (HERE / CONFIG_FILE).write_text(json.dumps({name: value for name, value in told.items() if value}, indent=2))


def check_ours(base: str) -> None:
    """peft must give what we give, from our files."""
    ours = small_model(base)
    add_adapters(ours, ("attn", "mlp"), RANK, ALPHA, np.random.default_rng(0))
    perturb(ours)
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        save_adapters(ours, Path(folder), RANK, ALPHA)
        theirs = peft.PeftModel.from_pretrained(small_model(base), folder).eval()
        gap = (theirs(images_for(base)) - ours(images_for(base))).abs().max().item()
    print(f"{base}: logits differ by {gap:.1e}")
    assert gap < 1e-4, base


if __name__ == "__main__":
    write_golden()
    for base in BASES:
        check_ours(base)
