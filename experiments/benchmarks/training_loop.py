"""The plain way to write FlexMatch on features: items of a data set, two data loaders, autograd, counts over the pool.

It stands in for LabelBench's trainer where no checkout is at hand, and does the same work: every epoch standardises the
views it is given, every item is read alone, and every step counts the pseudo labels of the whole pool, class by class.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset, Subset
from training_cases import P_CUTOFF, RESTART_STEPS, TRAIN_BATCH_SIZE, URATIO, ProxyCase
from training_contestants import Asked, Classify
from training_pools import ProxyPool


class FeatureDataset(Dataset[tuple[Any, ...]]):
    """An item is both views of a row, its label and its number."""

    def __init__(self, weak_ND: NDArray[Any], strong_ND: NDArray[Any], labels_N: NDArray[np.int64]) -> None:
        self._weak_ND, self._strong_ND, self._labels_N = weak_ND, strong_ND, labels_N

    def __len__(self) -> int:
        """N."""
        return len(self._labels_N)

    def __getitem__(self, item: int) -> tuple[Any, ...]:
        """One row."""
        return self._weak_ND[item], self._strong_ND[item], self._labels_N[item], item


def looping(case: ProxyCase, pool: ProxyPool) -> Callable[[Asked], Classify]:
    """The loop on a pool; what it reads is in memory, in float32, before the clock starts."""
    weak_ND, strong_ND, test = (pool.read(name).astype(np.float32) for name in ("train", "strong", "test"))
    labels_N = pool.read("train_labels")
    mean_D, scale_D = weak_ND.mean(axis=0), weak_ND.std(axis=0) + 1e-6

    def dataset_of_an_epoch() -> FeatureDataset:
        return FeatureDataset((weak_ND - mean_D) / scale_D, (strong_ND - mean_D) / scale_D, labels_N)

    def train(asked: Asked) -> Classify:
        head = _flexmatch(case, dataset_of_an_epoch, labels_N, weak_ND.shape[1], asked)
        return lambda: head(torch.from_numpy((test - mean_D) / scale_D)).argmax(dim=1).numpy()

    return train


def _flexmatch(
    case: ProxyCase,
    dataset_of_an_epoch: Callable[[], FeatureDataset],
    labels_N: NDArray[np.int64],
    width: int,
    asked: Asked,
) -> torch.nn.Module:
    torch.manual_seed(asked.seed)
    num_classes = int(labels_N.max()) + 1
    head = torch.nn.Linear(width, num_classes)
    optimizer = torch.optim.Adam(head.parameters(), lr=case.learning_rate, weight_decay=case.weight_decay)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, RESTART_STEPS, 2)
    ids_U = np.setdiff1d(np.arange(len(labels_N)), asked.ids_L)
    last_label_N = torch.full((len(labels_N),), -1)
    for _ in range(asked.epochs):
        dataset = dataset_of_an_epoch()
        unlabeled = _forever(_loader(dataset, ids_U, TRAIN_BATCH_SIZE * URATIO))
        for rows, _, labels, _ in _loader(dataset, asked.ids_L, TRAIN_BATCH_SIZE):
            weak, strong, _, numbers = next(unlabeled)
            logits = head(torch.cat([rows, strong]))
            with torch.no_grad():
                certainty, pseudo_labels = head(weak).softmax(dim=1).max(dim=1)
                used = certainty >= _thresholds(last_label_N[ids_U], num_classes)[pseudo_labels]
            sure = certainty >= P_CUTOFF
            last_label_N[numbers[sure]] = pseudo_labels[sure]
            unlabeled_loss = (cross_entropy(logits[len(rows) :], pseudo_labels, reduction="none") * used).mean()
            loss = cross_entropy(logits[: len(rows)], labels) + unlabeled_loss
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            scheduler.step()
    return head


def _thresholds(last_label_U: torch.Tensor, num_classes: int) -> torch.Tensor:
    """(C,) thresholds, from the last sure pseudo label of every unlabelled row (-1: none)."""
    counts = torch.stack([(last_label_U == number).sum() for number in range(-1, num_classes)])
    learnt = counts[1:] / counts.max()
    return P_CUTOFF * learnt / (2 - learnt)


def _loader(dataset: FeatureDataset, ids: NDArray[np.int64], batch_size: int) -> DataLoader[tuple[Any, ...]]:
    whole_batches = len(ids) >= batch_size
    return DataLoader(Subset(dataset, ids.tolist()), batch_size, shuffle=True, drop_last=whole_batches)


def _forever(loader: DataLoader[tuple[Any, ...]]) -> Iterator[tuple[Any, ...]]:
    while True:
        yield from loader
