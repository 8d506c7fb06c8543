"""``finetune``: encoder and head are trained end to end on images, by one worker or many."""

import dataclasses
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from labelbench_ray.errors import SpecError, TrainingError
from labelbench_ray.identity import placement
from labelbench_ray.trainers.base import ALGORITHMS, TrainerNeeds, TrainingData
from labelbench_ray.trainers.checks import check_numbers, check_share, check_training_data
from labelbench_ray.trainers.scores import StoredScores
from labelbench_ray.types import SPLITS, Split

SUMMARY_FILE = "summary.json"
WEIGHTS_FILE = "model.safetensors"


@dataclass(frozen=True, kw_only=True)
class FineTune:
    """Train the encoder with a linear head, from the pretrained weights each round.

    Normalisation layers keep their pretrained statistics and dropout is off, so a row's gradient does not depend on
    which worker has it: the same global batch on more workers gives the same model up to the rounding of sums.
    """

    name: ClassVar[str] = "finetune"

    algorithm: Any = "supervised"
    """A name or ``{name: ..., parameters}`` of the table of algorithms."""
    label_smoothing: float = 0.0
    """Share of a bought label's target that is spread evenly over all classes."""
    optimizer: Literal["adamw", "adam", "sgd"] = "adamw"
    learning_rate: float = 3e-4
    """For small convolutional encoders; LabelBench uses 1e-5 for CLIP ViT-B/32."""
    weight_decay: float = 1e-2
    schedule: Literal["constant", "cosine", "cosine_restarts"] = "cosine"
    restart_steps: int = 500
    warmup_steps: int = 0
    epochs: int = 10
    """Passes over the labelled images."""
    min_steps: int = 100
    """At least this many steps however few labels there are."""
    train_batch_size: int = 64
    """Labelled images of a step over all workers together."""
    clip_gradient: float | None = 1.0
    """Largest norm of the gradient; None leaves it as it is."""
    head_init: Literal["auto", "zero_shot", "random"] = "auto"
    """``zero_shot``: text embeddings of the class names on unit image embeddings; ``auto``: those where the encoder has
    a text tower, else random."""
    compute_dtype: Literal["float32", "bfloat16"] = "float32"
    score_batch_size: int = 64
    """Images of a forward pass when the splits are scored."""
    num_workers: int = 1
    """Training workers. Part of the identity: sums over workers round differently."""
    through: Literal["inline", "ray_train"] = placement("inline")
    """Who starts the workers; more than one needs ``ray_train``."""
    checkpoint_every_steps: int = placement(100)
    image_cache_gib: float = placement(2.0)
    """Decoded images each worker keeps in memory, so that each is decoded once."""

    def __post_init__(self) -> None:
        where = f"trainer {self.name}"
        object.__setattr__(self, "algorithm", ALGORITHMS.build(self.algorithm, f"{where}: algorithm"))
        check_share(where, "label_smoothing", self.label_smoothing)
        positive = ("learning_rate", "restart_steps", "train_batch_size", "score_batch_size", "num_workers")
        not_negative = ("weight_decay", "warmup_steps", "epochs", "min_steps", "image_cache_gib")
        check_numbers(
            where,
            positive={name: getattr(self, name) for name in (*positive, "checkpoint_every_steps")},
            not_negative={name: getattr(self, name) for name in not_negative},
        )
        if self.clip_gradient is not None:
            check_numbers(where, positive={"clip_gradient": self.clip_gradient}, not_negative={})
        if self.num_workers > 1 and self.through == "inline":
            raise SpecError(where, f"`num_workers: {self.num_workers}` needs `through: ray_train`")

    @property
    def needs(self) -> TrainerNeeds:
        """Images; views are made on the fly."""
        return TrainerNeeds(images=True)

    def fit(self, data: TrainingData) -> "FittedEndToEnd":
        """Train, then score every split. Raises TrainingError; run again, it goes on from its last checkpoint."""
        from labelbench_ray.trainers.end_to_end import EndToEndTask, train_end_to_end

        check_training_data(self.name, data)
        if data.encoder is None or not data.images:
            raise TrainingError(self.name, "there are no images to train on", "use a data set of images and an encoder")
        task = EndToEndTask(self, without_features(data))
        task.folder.mkdir(parents=True, exist_ok=True)
        data.launch(train_end_to_end, task, num_workers=self.num_workers, through=self.through, work_dir=task.folder)
        return FittedEndToEnd.read(task.folder, data)


def without_features(data: TrainingData) -> TrainingData:
    """What travels to the workers: no stored features, and a launcher that pickles."""
    from labelbench_ray.trainers.launch import launch_inline

    return dataclasses.replace(data, features={}, weak=(), strong=(), launch=launch_inline)


@dataclass(frozen=True, eq=False)
class FittedEndToEnd:
    """What the workers left in the round's folder. Satisfies ``Fitted``; lives as long as the folder."""

    folder: Path
    scores: Mapping[Split, StoredScores]
    summary: Mapping[str, float]

    @classmethod
    def read(cls, folder: Path, data: TrainingData) -> "FittedEndToEnd":
        """Open what a finished training left in its folder."""
        scores = {
            split: StoredScores(folder / split, len(data.images[split]), data.num_classes, data.tile_rows)
            for split in SPLITS
            if split in data.images
        }
        return cls(folder, scores, json.loads((folder / SUMMARY_FILE).read_text()))

    def save(self, folder: Path) -> None:
        """Write ``model.safetensors``: the encoder's parameters under ``encoder.``, the head's under ``head.``."""
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(self.folder / WEIGHTS_FILE, folder / WEIGHTS_FILE)
