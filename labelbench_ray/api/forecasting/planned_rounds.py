"""The rounds that a trial or an evaluation still has before it, as keys by which their cost is looked up."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from labelbench_ray.api.forecasting.figures import Figure, History, RoundKey, total
from labelbench_ray.benchmark.history import MeasuredRound
from labelbench_ray.config import EvaluationTrial, Trial, label
from labelbench_ray.identity import describe, digest
from labelbench_ray.trainers.base import Trainer
from labelbench_ray.trainers.blend import trainer_at, trainers_of


@dataclass
class PlannedRounds:
    """Looks planned rounds up in a history. Trials that differ in the seed alone are worked out once."""

    history: History
    _digests: dict[int, str] = field(default_factory=dict)
    _sizes: dict[int, int] = field(default_factory=dict)
    _labels: dict[int, str] = field(default_factory=dict)
    _kept: list[Any] = field(default_factory=list)
    """What the ids above are of: an id is given anew when its owner is gone."""
    _figures: dict[tuple[Any, ...], list[Figure]] = field(default_factory=dict)
    _seen: dict[tuple[str, ...], list[MeasuredRound]] = field(default_factory=dict)

    def of_trial(self, trial: Trial, finished_rounds: int = 0) -> Figure:
        """All rounds that are left of a trial."""
        point = self.point(trial)
        if point not in self._figures:
            keys = self.keys(trial, trial.trainer)
            self._figures[point] = [self.history.round(key, trainer).all for key, trainer in keys]
        return total(self._figures[point][finished_rounds:])

    def point(self, trial: Trial) -> tuple[str, ...]:
        """Its point of the grid, of which seeds are trials. Oracles take no time and are left out."""
        parts = (trial.encoder, trial.trainer, trial.strategy)
        return (self._digest(trial.dataset), *map(self._label, parts), trial.schedule.label)

    def alike(self, trials: Iterable[Trial]) -> list[Trial]:
        """The first trial of each point."""
        found: dict[tuple[str, ...], Trial] = {}
        for trial in trials:
            found.setdefault(self.point(trial), trial)
        return list(found.values())

    def of_evaluation(self, trial: EvaluationTrial) -> Figure:
        """The one training of an evaluation of a bought set."""
        return self.of_training(trial.selected_by, trial.encoder, trial.trainer, len(trial.ids_L))

    def of_training(self, trial: Trial, encoder: Any, trainer: Trainer, num_labeled: int) -> Figure:
        """One training on so many labels that a trial bought."""
        rows = self.num_rows(trial.dataset)
        key = RoundKey(
            self._digest(trial.dataset), self._label(encoder), self._label(trainer), "", min(num_labeled, rows), None
        )
        found = self.history.round(key, trainer)
        return found.train + found.evaluate

    def keys(self, trial: Trial, trainer: Trainer, encoder: Any = None) -> list[tuple[RoundKey, Trainer]]:
        """Every round of a trial, if this trainer selected; the pool may end before the schedule."""
        rows, schedule = self.num_rows(trial.dataset), trial.schedule
        budgets = [budget for budget in schedule.budgets() if budget - schedule.labels_per_round < rows]
        found = []
        for index, budget in enumerate(budgets):
            model = trainer_at(trainer, index)
            key = RoundKey(
                dataset=self._digest(trial.dataset),
                encoder=self._label(encoder or trial.encoder),
                model=self._label(model),
                strategy=self._label(trial.strategy),
                num_labeled=min(budget, rows),
                labels_to_buy=schedule.labels_per_round if index + 1 < len(budgets) else None,
            )
            found.append((key, model))
        return found

    def seen(self, trial: Trial, trainer: Trainer, encoder: Any) -> list[MeasuredRound]:
        """Measured rounds of the same data set and encoder with this model, or a part of this blend."""
        models = {self._label(part) for part in trainers_of(trainer)}
        point = (self._digest(trial.dataset), self._label(encoder), *sorted(models))
        if point not in self._seen:
            every = [one for source in self.history.sources for one in source.rounds]
            fits = [one for one in every if (one.dataset, one.encoder) == point[:2] and one.model in models]
            self._seen[point] = fits
        return self._seen[point]

    def num_rows(self, dataset: Any) -> int:
        """N of the pool."""
        if id(dataset) not in self._sizes:
            self._kept.append(dataset)
            self._sizes[id(dataset)] = dataset.open().card.num_examples["train"]
        return self._sizes[id(dataset)]

    def _digest(self, dataset: Any) -> str:
        if id(dataset) not in self._digests:
            self._kept.append(dataset)
            self._digests[id(dataset)] = digest(describe(dataset))
        return self._digests[id(dataset)]

    def _label(self, part: Any) -> str:
        if id(part) not in self._labels:
            self._kept.append(part)
            self._labels[id(part)] = label(part)
        return self._labels[id(part)]
