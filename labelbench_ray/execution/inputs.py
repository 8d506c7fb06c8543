"""From a trial to what it reads: which views must be embedded, and all of it opened."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from labelbench_ray.benchmark.evaluation import Evaluator
from labelbench_ray.benchmark.loop import MakeSpread, TrialInputs
from labelbench_ray.config import Evaluation, EvaluationTrial, FeatureSpec, Trial
from labelbench_ray.datasets.base import Dataset
from labelbench_ray.encoders.base import Encoder
from labelbench_ray.errors import SpecError
from labelbench_ray.features.embedding import EmbedTask
from labelbench_ray.features.key import FeatureKey
from labelbench_ray.features.passes import SkippingImages
from labelbench_ray.features.rows import StoredRows
from labelbench_ray.features.store import FeatureStore, OnUndecodable
from labelbench_ray.kernels.augment import CLEAN, View
from labelbench_ray.trainers.base import TrainerNeeds
from labelbench_ray.types import SPLITS, Images, Launch, Split

if TYPE_CHECKING:
    from labelbench_ray.execution.job import TrialJob


KINDS: tuple[Literal["weak", "strong"], ...] = ("weak", "strong")


def embed_tasks(
    trials: Iterable[Trial], features: Path, device: str, evaluations: Sequence[Evaluation] = ()
) -> list[EmbedTask]:
    """What must still be embedded before these trials and the evaluations of what they buy can run.

    One task a split: its views come from one decoding.
    """
    store, tasks, seen = FeatureStore(features), [], []
    for trial in trials:
        evaluators = [(one.encoder or trial.encoder, one.trainer) for one in evaluations]
        for encoder, trainer in [(trial.encoder, trial.trainer), *evaluators]:
            parts = (trial.dataset, encoder, trial.features)
            if trainer.needs.features and (*parts, trainer.needs) not in seen:
                seen.append((*parts, trainer.needs))
                tasks += [
                    EmbedTask(keys=tuple(keys), num_rows=num_rows, store_root=store.root, device=device)
                    for keys, num_rows in _lacking(store, _keys(*parts, trainer.needs, device), trial.dataset)
                ]
    return tasks


def open_inputs(job: "TrialJob", launch: Launch, make_spread: MakeSpread) -> TrialInputs:
    """Open everything that a job reads. Raises DataError, FeatureStoreError or SpecError naming what is missing."""
    trial = job.trial
    selected = trial.selected_by if isinstance(trial, EvaluationTrial) else trial
    needs, opened = trial.trainer.needs, selected.dataset.open()
    if needs.images and opened.card.modality != "image":
        raise SpecError(f"trainer {trial.trainer.name}", f"needs images, dataset {selected.dataset.name} has vectors")
    store = FeatureStore(job.features)

    def view(split: Split, wanted: View = CLEAN) -> StoredRows:
        key = _key(selected.dataset, trial.encoder, selected.features, split, wanted, job.resources.kind)
        return store.open(key, opened.card.num_examples[split], on_undecodable(selected.dataset))

    features = {split: view(split) for split in SPLITS} if needs.features else {}
    views = {kind: tuple(view("train", one) for one in _views(needs, selected.features, kind)) for kind in KINDS}
    images: dict[Split, Images] = {split: opened.images(split) for split in SPLITS} if needs.images else {}
    excluded = {split: rows.skipped_ids for split, rows in features.items()}
    if images and on_undecodable(selected.dataset) == "skip":
        skipping = {split: SkippingImages(source) for split, source in images.items()}
        images, excluded = dict(skipping), {split: source.undecodable_ids() for split, source in skipping.items()}
    return TrialInputs(
        dataset_name=selected.dataset.name,
        task=opened.card.task,
        class_names=opened.card.class_names,
        templates=opened.card.templates,
        can_flip=opened.card.can_flip,
        features=features,
        weak=views["weak"],
        strong=views["strong"],
        images=images,
        encoder=trial.encoder if needs.images else None,
        evaluator=Evaluator(
            num_classes=opened.card.num_classes,
            truth={split: opened.labels(split) for split in SPLITS},
            excluded={split: excluded.get(split, np.empty(0, np.int64)) for split in SPLITS},
        ),
        launch=launch,
        device=job.resources.kind,
        shards=job.selection.shards,
        threads=job.selection.threads,
        make_spread=make_spread,
    )


def on_undecodable(dataset: Dataset) -> OnUndecodable:
    """What the data set asks to do with images that cannot be decoded."""
    return getattr(dataset, "on_undecodable", "refuse")


def _lacking(store: FeatureStore, keys: Sequence[FeatureKey], dataset: Dataset) -> list[tuple[list[FeatureKey], int]]:
    incomplete = [key for key in keys if not store.is_complete(key)]
    if not incomplete:
        return []
    sizes = dataset.open().card.num_examples
    splits = [split for split in SPLITS if any(key.split == split for key in incomplete)]
    return [([key for key in incomplete if key.split == split], sizes[split]) for split in splits]


def _keys(
    dataset: Dataset, encoder: Encoder, features: FeatureSpec, needs: TrainerNeeds, device: str
) -> list[FeatureKey]:
    clean = [_key(dataset, encoder, features, split, CLEAN, device) for split in SPLITS]
    views = [view for kind in KINDS for view in _views(needs, features, kind)]
    return clean + [_key(dataset, encoder, features, "train", view, device) for view in views]


def _views(needs: TrainerNeeds, features: FeatureSpec, kind: Literal["weak", "strong"]) -> list[View]:
    count = needs.num_weak if kind == "weak" else needs.num_strong
    return [View(kind=kind, index=index, seed=features.view_seed) for index in range(count)]


def _key(
    dataset: Dataset, encoder: Encoder, features: FeatureSpec, split: Split, view: View, device: str
) -> FeatureKey:
    return FeatureKey(
        dataset=dataset,
        encoder=encoder,
        split=split,
        view=view,
        stored_dtype=features.stored_dtype,
        device_kind=device,
        encode_batch_size=features.encode_batch_size,
        shard_rows=features.shard_rows,
    )
