"""LabelBench's own FlexMatch trainer (commit 9e23393) on the same features.

Its trainer, data set, model and feature extractor classes are loaded from a checkout that the user points to. Stubs:
nothing moves to a GPU, features are handed out from memory in float32 (its files hold float64 and are read again at
every epoch where there are several augmentation seeds: this is to its advantage), and no loader starts processes, so
that all of its work is counted. Nothing of LabelBench is part of this project.
"""

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from labelbench import enter, load, silence
from training_cases import P_CUTOFF, RESTART_STEPS, TRAIN_BATCH_SIZE, URATIO, ProxyCase
from training_contestants import Asked, Classify
from training_pools import ProxyPool

BLOBS = {
    "trainer/trainer_impl/flexmatch.py": "d1b557c646d8dfba333528491faa16d5269a4201",
    "trainer/trainer_impl/pytorch_semi_trainer.py": "30735657f70427480bce4fe2a3d59830317d70db",
    "trainer/trainer_impl/pytorch_passive_trainer.py": "8c4f9dcf9b6c037714a13c05a18213a096d885fc",
    "trainer/trainer.py": "1e3915b620a3da61ff29e333a74018e6beef611e",
    "trainer/utils.py": "d7c9a902bb049f52098f74cc9ca2fd7e78f3d54b",
    "skeleton/trainer_skeleton.py": "3e347e94d35c07279449f061f8dcb9556945eb2b",
    "skeleton/dataset_skeleton.py": "19f9c93027fc26fc87e90130062c371450dc14b8",
    "skeleton/model_skeleton.py": "a2a0b0c7f43e35c45fd709f72f173eee710a9510",
    "model/model_impl/linear.py": "5cd9bde812e5a43c788ea8e3c40fd0ea4ec0e4d7",
    "dataset/feature_extractor.py": "d058c742ebe3e371a5a88141955ddf8bc0a7ffe1",
    "dataset/rand_augment.py": "b65c452bff6b253bc2eb6c65f58ee3a291c4fb7b",
}
"""Git's hashes of the files that run."""

PACKAGES = ("trainer", "trainer.trainer_impl", "skeleton", "dataset", "model", "model.model_impl")


def published(source: Path, case: ProxyCase, pool: ProxyPool) -> Callable[[Asked], Classify]:
    """The trainer's ``train`` on a pool. Everything it reads is in memory before the clock starts."""
    _stay_on_cpu()
    with silence():
        enter(source / "LabelBench", PACKAGES)
        trainer_class = load("trainer.trainer_impl.flexmatch").FlexmatchTrainer
        model_fn = load("model.model_impl.linear").init_Linear
        dataset, extractor = _dataset(pool)
    model_config = {"input_dim": dataset.test_emb.shape[1], "num_output": dataset.num_classes, "ret_emb": False}

    def train(asked: Asked) -> Classify:
        torch.manual_seed(asked.seed)
        dataset._ALDataset__labeled_idxs = asked.ids_L
        with silence():
            trainer = trainer_class(_config(case, asked.epochs), dataset, model_fn, model_config, None, extractor)
            model = trainer.train()
        return lambda: _classes(model, dataset)

    return train


def _dataset(pool: ProxyPool) -> tuple[Any, Any]:
    """Its data set with labels as it keeps them, and its feature extractor with all features in memory."""
    classes = load("skeleton.dataset_skeleton")
    train_labels, test_labels = pool.read("train_labels"), pool.read("test_labels")
    one_hot = np.eye(int(train_labels.max()) + 1, dtype=np.float32)
    weak, strong, test = (pool.read(name).astype(np.float32) for name in ("train", "strong", "test"))
    extractor = load("dataset.feature_extractor").FeatureExtractor(None, "", {})
    # No training reads its validation split: early stopping is off for all contestants.
    extractor.precomputed_features = {"train": (weak, strong), "val": test[:1], "test": test}
    labels = [one_hot[part] for part in (train_labels, test_labels[:1], test_labels)]
    splits = [classes.TransformDataset(range(len(part))) for part in labels]
    names = [str(number) for number in range(len(one_hot))]
    dataset = classes.ALDataset(*splits, *labels, classes.LabelType.MULTI_CLASS, len(one_hot), names)
    dataset.update_embedding_dataset(0, extractor)
    return dataset, extractor


def _config(case: ProxyCase, epochs: int) -> Any:
    """Its published configuration for a linear head, without early stopping and without processes for loading."""
    trainer = load("trainer.trainer")
    config = {
        "trainer_name": "flexmatch",
        "use_embeddings": True,
        "loss_fn": "Cross Entropy",
        "pred_fn": "Softmax",
        "optim_name": "Adam",
        "lr": case.learning_rate,
        "wd": case.weight_decay,
        "scheduler_name": "CosineLR",
        "warmup_steps": RESTART_STEPS,
        "max_epoch": epochs,
        "early_stop": False,
        "train_batch_size": TRAIN_BATCH_SIZE,
        "num_workers": 0,
        "p_cutoff": P_CUTOFF,
        "ulb_loss_ratio": 1.0,
        "uratio": URATIO,
    }
    return trainer.get_scheduler_fn(trainer.get_optimizer_fn(trainer.get_fns(config)))


def _classes(model: Any, dataset: Any) -> Any:
    model.eval()
    standardised = torch.from_numpy(dataset.get_embedding_datasets()[2].get_inputs())
    with torch.no_grad():
        return model(standardised).argmax(dim=1).numpy()


def _stay_on_cpu() -> None:
    """In this process a tensor or model that is told to move to the GPU stays."""
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    stay: Any = lambda self, *_, **__: self  # noqa: E731
    torch.Tensor.cuda = stay  # type: ignore[method-assign]
    torch.nn.Module.cuda = stay  # type: ignore[method-assign]
    warnings.filterwarnings("ignore")  # autocast for a GPU that is not there, at every step
