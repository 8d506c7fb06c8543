"""Which strategy, where none is named: coverage while labels are few, uncertainty once there are many."""

from collections.abc import Collection
from typing import NamedTuple

FEW_PER_CLASS = 10
"""Labels per class below which labels are few.

Hacohen, Dekel and Weinshall, "Active Learning on a Budget: Opposite Strategies Suit High and Low Budgets" (ICML 2022)
show that typical, spread-out examples help most while labels are few, uncertain ones when they are many, and that where
the one turns into the other depends on data and features. They name no number; this one is ours.
"""

COVERING = ("typiclust", "coreset", "random")
"""For few labels, the first that there is: all work without a model."""

UNCERTAIN = "margin"


class Advice(NamedTuple):
    """A strategy and why."""

    strategy: str
    why: str


def advice(num_labels: int, num_classes: int, known: Collection[str]) -> Advice:
    """The strategy for so many labels, of those ``known``."""
    finding = "Hacohen et al. 2022"
    if num_labels == 0:
        return Advice(_covering(known), f"there is no label yet, so cover the pool first ({finding})")
    per_class = num_labels / max(1, num_classes)
    counted = f"{num_labels:,} labels of {num_classes:,} classes are {per_class:.1f} per class"
    if num_classes < 2 or per_class < FEW_PER_CLASS:
        return Advice(_covering(known), f"{counted}, under {FEW_PER_CLASS}: few, so cover the pool first ({finding})")
    return Advice(UNCERTAIN, f"{counted}, {FEW_PER_CLASS} or more: enough to ask where the model is unsure ({finding})")


def _covering(known: Collection[str]) -> str:
    return next(name for name in COVERING if name in known)
