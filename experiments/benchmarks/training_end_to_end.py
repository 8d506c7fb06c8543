"""Fine-tuning through Ray Train with one worker, against a bare loop with the same model, batch and augmentation."""

import functools
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from training_rows import Row, Settings, median_ratio

WANTED = 0.95
WARM_UP_STEPS = 4
"""Left out of both clocks: memory is fetched and kernels are chosen then."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is trained."""

    encoder: dict[str, Any]
    num_images: int
    batch_size: int
    epochs: int
    side: int = 32

    @property
    def steps(self) -> int:
        """Of the whole training."""
        return self.epochs * (self.num_images // self.batch_size)


MOBILENET = Case(
    encoder={"name": "timm", "model": "mobilenetv2_100", "input_size": 96}, num_images=512, batch_size=32, epochs=2
)
TINY = Case(
    encoder={"name": "timm", "model": "mobilenetv2_035", "input_size": 32}, num_images=64, batch_size=8, epochs=2
)


@dataclass(frozen=True, eq=False)
class NoiseImages:
    """Images in memory, so that no file is part of the measurement."""

    count: int
    side: int

    def __len__(self) -> int:
        return self.count

    def read(self, ids: NDArray[np.int64]) -> list[NDArray[np.uint8]]:
        """An image is a function of its id."""
        shape = (self.side, self.side, 3)
        return [np.random.default_rng(int(one)).integers(0, 256, shape, dtype=np.uint8) for one in ids]


@dataclass(frozen=True)
class Clocked:
    """An encoder that writes the processor seconds at which its passes began into a file."""

    encoder: dict[str, Any]
    file: Path

    name = "clocked"

    def load(self, device: str = "cpu") -> Any:
        """The encoder, each pass of which adds a line."""
        from labelbench_ray.encoders.base import ENCODERS

        loaded = ENCODERS.build(self.encoder).load(device)
        loaded.module.register_forward_pre_hook(functools.partial(_note, self.file))
        return loaded


def rows(settings: Settings) -> list[Row]:
    """One figure: images a second of a training that Ray Train started, as a share of the bare loop's."""
    if settings.smoke:
        from labelbench_ray.trainers.launch import launch_inline

        return [_row(TINY, settings, launch_inline, "one process, without Ray, as this is a smoke run")]
    from ray import cloudpickle

    from labelbench_ray.execution.on_ray.session import session
    from labelbench_ray.execution.on_ray.training import launch_on_ray

    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers do not find this folder
    with session(num_cpus=2):
        return [_row(MOBILENET, settings, launch_on_ray, "start-up and scoring left out")]


def _row(case: Case, settings: Settings, launch: Callable[..., None], told: str) -> Row:
    ours, bare = [], []
    for _ in range(settings.repeats):
        bare.append(bare_seconds(case))
        with tempfile.TemporaryDirectory(dir=settings.folder) as folder:
            ours.append(trainer_seconds(case, Path(folder), launch))
    images = (case.steps - 1 - WARM_UP_STEPS) * case.batch_size
    rates = [images / sorted(times)[len(times) // 2] for times in (ours, bare)]
    return Row(
        key="ray_train_rate",
        what=f"fine-tuning {case.encoder['model']} through Ray Train, 1 worker, against a bare loop",
        unit="share",
        value=median_ratio(bare, ours),
        wanted=WANTED,
        details=f"{rates[0]:.0f} and {rates[1]:.0f} images a processor second, ours with a checkpoint an epoch; {told}",
        more={"ray_train_images_per_s": rates[0], "bare_images_per_s": rates[1]},
    )


def trainer_seconds(case: Case, folder: Path, launch: Callable[..., None]) -> float:
    """Processor seconds of the worker from the first step after the warm-up to the last one."""
    from labelbench_ray.trainers.base import TRAINERS, TrainingData

    clock = folder / "clock"
    trainer = TRAINERS.build(
        {
            "name": "finetune",
            "epochs": case.epochs,
            "min_steps": 0,
            "train_batch_size": case.batch_size,
            "clip_gradient": None,
            "through": "ray_train",
        }
    )
    labels = np.arange(case.num_images) % 10
    data = TrainingData(
        task="multi_class",
        class_names=tuple("abcdefghij"),
        templates=("a {}",),
        can_flip=True,
        num_rows=case.num_images,
        ids_L=np.arange(case.num_images),
        labels_L=labels,
        excluded_ids=np.empty(0, np.int64),
        features={},
        weak=(),
        strong=(),
        images={"train": NoiseImages(case.num_images, case.side), "test": NoiseImages(1, case.side)},
        encoder=Clocked(case.encoder, clock),
        tile_rows=1024,
        work_dir=folder,
        launch=launch,
        device="cpu",
        seed=0,
        round_index=0,
    )
    trainer.fit(data)
    passes = [float(line) for line in clock.read_text().split()]
    return passes[case.steps - 1] - passes[WARM_UP_STEPS]


def bare_seconds(case: Case) -> float:
    """Processor seconds of the same steps as one would write them for this case alone."""
    import torch

    from labelbench_ray.encoders.base import ENCODERS
    from labelbench_ray.kernels.augment import View, augment_batch

    torch.set_num_threads(1)
    encoder = ENCODERS.build(case.encoder).load()
    model = torch.nn.Sequential(encoder.module, torch.nn.Linear(encoder.width, 10)).eval()
    model.to(memory_format=torch.channels_last)  # as the library does: 1.3 times as fast
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-4, fused=True)
    squares = encoder.squares(NoiseImages(case.num_images, case.side).read(np.arange(case.num_images)))
    labels = torch.arange(case.num_images) % 10
    rng = np.random.default_rng(0)
    passes = []
    for step in range(case.steps):
        ids = rng.choice(case.num_images, case.batch_size, replace=False)
        images = encoder.normalize(augment_batch(squares[ids], ids, View(kind="weak", seed=step), can_flip=True))
        passes.append(time.process_time())
        logits = model(images.contiguous(memory_format=torch.channels_last))
        loss = torch.nn.functional.cross_entropy(logits, labels[ids])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return passes[-1] - passes[WARM_UP_STEPS]


def _note(file: Path, module: Any, inputs: Any) -> None:
    with file.open("a") as clock:
        clock.write(f"{time.process_time()}\n")
