"""The trainings that are timed: FlexMatch with a linear head on stored features, 20 epochs of the bought labels."""

from dataclasses import dataclass
from typing import Literal

Contestant = Literal["float32", "bfloat16", "loop", "labelbench"]
"""The library in two dtypes, a loop over items of a data loader, and LabelBench's own trainer."""

EPOCHS = 20
TRAIN_BATCH_SIZE = 128
URATIO = 5
P_CUTOFF = 0.95
RESTART_STEPS = 500
"""As LabelBench's configurations for FlexMatch with a linear head on CLIP features set them, for every data set."""


@dataclass(frozen=True, kw_only=True)
class ProxyCase:
    """One training on one pool."""

    key: str
    """What its keys in the JSON file begin with."""
    classes: int
    labels: int
    learning_rate: float
    weight_decay: float
    wanted: dict[Contestant, float]
    """How many times faster than the baseline each dtype should be."""
    rows: int = 50_000
    held_out: int = 10_000
    width: int = 512


# Adam's learning rate and weight decay: configurations of cifar10 and cifar100.
CASES = (
    ProxyCase(
        key="proxy",
        classes=10,
        labels=1000,
        learning_rate=3e-3,
        weight_decay=1e-4,
        wanted={"float32": 38.0, "bfloat16": 55.0},
    ),
    ProxyCase(
        key="proxy_10000",
        classes=10,
        labels=10_000,
        learning_rate=3e-3,
        weight_decay=1e-4,
        wanted={"float32": 22.0},
    ),
    ProxyCase(
        key="proxy_k100",
        classes=100,
        labels=10_000,
        learning_rate=1e-3,
        weight_decay=3e-4,
        wanted={"float32": 15.0, "bfloat16": 31.0},
    ),
)
