"""Every algorithm on small real data: a linear head on stored features, and an encoder trained end to end.

A few cases run always; all of them are marked slow.
"""

import numpy as np
import pytest
from learning import ArrayImages, ArrayRows, all_probs, training_data

from labelbench_ray.datasets.parquet import ParquetImages
from labelbench_ray.encoders.base import ENCODERS
from labelbench_ray.trainers.base import ALGORITHMS, TRAINERS

SAMPLE = {("linear", "flexmatch"), ("linear", "dash"), ("finetune", "softmatch")}
NUM_LABELS = 60  # of three classes, so chance is a third
CLASSES = (0, 6, 8)  # airplane, frog, ship


def matrix(trainer):
    return pytest.mark.parametrize(
        "algorithm",
        [
            pytest.param(name, marks=() if (trainer, name) in SAMPLE else pytest.mark.slow)
            for name in ALGORITHMS.names()
        ],
    )


def file_of(test_data, name):
    path = test_data / "data" / name
    if not path.is_file():
        pytest.skip(f"no {path}")
    return path


def of_classes(labels_N, count):
    """The first rows of the three classes, and their classes as 0, 1, 2."""
    ids = np.flatnonzero(np.isin(labels_N, CLASSES))[:count]
    return ids, np.searchsorted(CLASSES, labels_N[ids]).astype(np.int64)


@pytest.fixture(scope="module")
def cifar_features(test_data):
    """600 rows to train on and 300 to test on, with their classes."""
    stored = np.load(file_of(test_data, "cifar10_mobilenetv2_features.npz"))
    splits = {}
    for split, count in (("train", 600), ("test", 300)):
        ids, labels = of_classes(stored[f"{split}_labels"].astype(np.int64), count)
        splits[split] = (stored[f"{split}_features"][ids], labels)
    return splits


@pytest.fixture(scope="module")
def cifar_images(test_data):
    """150 images to train on and 60 to test on, with their classes."""
    opened = ParquetImages(path=file_of(test_data, "cifar10.parquet")).open()
    splits = {}
    for split, count in (("train", 150), ("val", 60), ("test", 60)):
        ids, labels = of_classes(opened.labels(split), count)
        splits[split] = (np.stack(opened.images(split).read(ids)), labels)
    return splits


def strong_views(rows_ND):
    rng = np.random.default_rng(0)
    for _ in range(2):
        kept = rng.random(rows_ND.shape) < 0.5
        yield ArrayRows((2 * kept * rows_ND + rng.normal(0, 0.1, rows_ND.shape)).astype(np.float16))


def accuracy(fitted, labels_N):
    return (all_probs(fitted.scores["test"]).argmax(1) == labels_N).mean()


@matrix("linear")
def test_a_linear_head_on_real_features(algorithm, cifar_features, tmp_path):
    (pool_ND, labels_N), (test_ND, test_labels_N) = cifar_features["train"], cifar_features["test"]
    clean = ArrayRows(pool_ND)
    data = training_data(
        tmp_path,
        NUM_LABELS,
        labels_N,
        class_names=("airplane", "frog", "ship"),
        tile_rows=256,
        features={"train": clean, "test": ArrayRows(test_ND)},
        weak=(clean,),
        strong=tuple(strong_views(pool_ND)),
    )
    trainer = TRAINERS.build({"name": "linear", "algorithm": algorithm, "min_steps": 150, "train_batch_size": 32})
    assert accuracy(trainer.fit(data), test_labels_N) > 0.6


@matrix("finetune")
def test_an_encoder_trained_end_to_end_on_real_images(algorithm, cifar_images, test_data, tmp_path):
    encoder = ENCODERS.build(
        {
            "name": "timm",
            "model": "mobilenetv2_100",
            "weights_path": file_of(test_data, "mobilenetv2_imagenet_timm_fp16.safetensors"),
            "num_classes_of_weights": 1001,
            "model_options": {"pad_type": "same"},
            "input_size": 48,
            "mean": (127 / 255,) * 3,
            "std": (0.5,) * 3,
            "crop_fraction": 1.0,
        }
    )
    data = training_data(
        tmp_path,
        NUM_LABELS,
        cifar_images["train"][1],
        class_names=("airplane", "frog", "ship"),
        tile_rows=64,
        images={split: ArrayImages(images) for split, (images, _) in cifar_images.items()},
        encoder=encoder,
    )
    # Little weight: the head starts at random, and so do the first pseudo labels.
    unlabeled = {} if algorithm == "supervised" else {"uratio": 1, "ulb_loss_ratio": 0.1}
    trainer = TRAINERS.build(
        {
            "name": "finetune",
            "algorithm": {"name": algorithm, **unlabeled},
            "epochs": 1,
            "min_steps": 25,
            "train_batch_size": 8,
            "learning_rate": 5e-4,
        }
    )
    assert accuracy(trainer.fit(data), cifar_images["test"][1]) > 0.5
