"""What one search of `labelbench tune` is, and its address by content."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from labelbench_ray.config.experiment import Experiment
from labelbench_ray.config.parts import FEATURE_RECIPE, FeatureSpec
from labelbench_ray.config.search import Space, check_space, default_space, with_values
from labelbench_ray.config.trial import label
from labelbench_ray.datasets.base import Dataset
from labelbench_ray.encoders.base import Encoder
from labelbench_ray.errors import SpecError
from labelbench_ray.identity import describe, digest
from labelbench_ray.oracles.base import NoiseModel
from labelbench_ray.trainers.base import Trainer

REDUCTION = 3
"""Of the configurations that were measured at a length, the best one in this many goes on to the next length."""
SHARES = (1 / 9, 1 / 3, 1.0)
"""Lengths at which a configuration is measured, in shares of its whole training: each ``REDUCTION`` times the last."""
LENGTHS = ("epochs", "min_steps", "warmup_steps", "freeze_epochs")
"""Fields that say how long a training, or a part of it, takes."""


@dataclass(frozen=True, kw_only=True)
class Tuning:
    """A search for the fields of a trainer on one data set, seen through one encoder."""

    dataset: Dataset
    encoder: Encoder
    trainer: Trainer
    """The fields that are not searched."""
    oracle: NoiseModel
    features: FeatureSpec
    tile_rows: int
    space: Space
    fraction: float
    """Share of the pool that is labelled, drawn at random."""
    seed: int

    @classmethod
    def of(cls, experiment: Experiment, fraction: float, seed: int) -> "Tuning":
        """The search that an experiment file stands for. Raises SpecError where it leaves open what to tune."""
        if not 0.0 < fraction <= 1.0:
            raise SpecError("--fraction", f"should lie in (0, 1], got {fraction:g}")
        if seed < 0:
            raise SpecError("--seed", f"must not be negative, got {seed}")
        dataset = _only("dataset", experiment.dataset)
        trainer = _only("trainer", experiment.trainer)
        if not hasattr(trainer, "epochs"):
            raise SpecError(f"trainer {trainer.name}", "has no `epochs` to compare at; tune the trainers it is made of")
        space: Space = experiment.search or default_space(trainer)
        check_space(space, trainer)
        return cls(
            dataset=dataset,
            encoder=_only("encoder", experiment.encoder_for(dataset)),
            trainer=trainer,
            oracle=_only("oracle", experiment.oracle),
            features=experiment.features,
            tile_rows=experiment.selection.tile_rows,
            space=space,
            fraction=fraction,
            seed=seed,
        )

    def identity(self) -> dict[str, Any]:
        """All that can change a number of the search."""
        return {
            "dataset": describe(self.dataset),
            "encoder": describe(self.encoder),
            "trainer": describe(self.trainer),
            "oracle": describe(self.oracle),
            "features": self.features.model_dump(),
            "recipe": FEATURE_RECIPE,
            "tile_rows": self.tile_rows,
            "space": describe(self.space),
            "lengths": [REDUCTION, *SHARES],
            "fraction": self.fraction,
            "seed": self.seed,
        }

    @functools.cached_property
    def id(self) -> str:
        """Content address. How many configurations are tried is not part of it: more go on where fewer ended."""
        return digest(self.identity())

    def labels(self) -> dict[str, str]:
        """Readable names of its parts."""
        return {"dataset": label(self.dataset), "encoder": label(self.encoder), "trainer": label(self.trainer)}

    def trainer_of(self, values: Mapping[str, Any], rung: int) -> Trainer:
        """The trainer of a configuration at length ``SHARES[rung]``: the same training, all of it shorter."""
        whole: Trainer = with_values(self.trainer, values)
        shorter = {field: _share(getattr(whole, field), SHARES[rung]) for field in LENGTHS if hasattr(whole, field)}
        return whole if rung == len(SHARES) - 1 else with_values(whole, shorter)


def _share(length: int | None, share: float) -> int | None:
    return max(1, round(length * share)) if length else length


def _only(part: str, found: tuple[Any, ...]) -> Any:
    if len(found) > 1:
        told = f"a search is for one, and the file has {len(found)} ({', '.join(label(one) for one in found)})"
        raise SpecError(part, f"{told}; choose it with --set {part}=...")
    return found[0]
