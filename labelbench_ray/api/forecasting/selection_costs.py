"""What selecting with each model of a grid would take, in hours and money (the form of LabelBench's table 2).

Table 2 of LabelBench (Zhang et al., arXiv 2306.09910) sets the cost of retraining end to end in every round beside that
of a proxy on frozen features. Here the rows are the trainers of the grid, those that only evaluate, and each proxy
followed by one training of the model that evaluates what it bought last. The figures are those of one trial.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

from labelbench_ray.api.forecasting.figures import Figure, total
from labelbench_ray.api.forecasting.planned_rounds import PlannedRounds
from labelbench_ray.api.forecasting.prices import Cost, Machine, cost_of
from labelbench_ray.api.planning import Plan
from labelbench_ray.config import Experiment, Trial, label
from labelbench_ray.execution.preflight import GPU, Unit, unit_of
from labelbench_ray.trainers.base import Trainer
from labelbench_ray.types import TrialKind


@dataclass(frozen=True, kw_only=True)
class SelectionCost:
    """One trial that selects with one model: all of its rounds."""

    dataset: str
    encoder: str
    selecting_with: str
    num_labeled: int
    """Labels that are bought, by the end."""
    num_trainings: int
    figure: Figure
    """Mean over the grid's strategies."""
    cpu_hours: float
    gpu_hours: float
    compute: Cost | None
    """None where no machine of the price table holds it, or nothing is known."""
    labels: float | None
    """Price of the labels; None where nobody gave one."""

    @property
    def total(self) -> Cost | None:
        """Computing and labels; None where one of them is unknown."""
        if self.compute is None or self.labels is None:
            return None
        return Cost(self.compute.low + self.labels, self.compute.high + self.labels)


@dataclass(frozen=True)
class _Model:
    """A model, and what a trial with it occupies."""

    encoder: Any
    trainer: Trainer
    unit: Unit
    name: str


@dataclass(frozen=True)
class _Selection:
    """A model that selects; then, perhaps, one training of another on all that was bought."""

    model: _Model
    scored_by: _Model | None = None

    @property
    def name(self) -> str:
        return self.model.name + (f", then {self.scored_by.name} once" if self.scored_by else "")


def selection_costs(
    plan: Plan, rounds: PlannedRounds, machine: Machine | None, label_price: float | None
) -> list[SelectionCost]:
    """A row for each model and each data set, encoder and schedule; none for a grid of a single model."""
    strategies: dict[tuple[str, ...], dict[str, Trial]] = {}
    for trial in rounds.alike(one.trial for one in plan.trials):
        told = trial.labels()
        point = tuple(told[name] for name in ("dataset", "encoder", "schedule"))
        strategies.setdefault(point, {}).setdefault(told["strategy"], trial)
    found = [
        _row(selection, list(of_strategy.values()), rounds, machine, label_price)
        for of_strategy in strategies.values()
        for selection in _selections(plan.experiment, next(iter(of_strategy.values())))
    ]
    return found if len({one.selecting_with for one in found}) > 1 else []


def _selections(experiment: Experiment, trial: Trial) -> list[_Selection]:
    selectors = [_model(experiment, trial, trainer, trial.encoder, "selection") for trainer in experiment.trainer]
    scorers = {
        model.name: model
        for one in experiment.evaluate
        for model in [_model(experiment, trial, one.trainer, one.encoder or trial.encoder, "evaluation")]
    }
    followed = [
        _Selection(selector, scorer)
        for selector, scorer in product(selectors, scorers.values())
        if scorer.name != selector.name
    ]
    others = [scorer for name, scorer in scorers.items() if name not in {one.name for one in selectors}]
    return [*map(_Selection, selectors), *followed, *map(_Selection, others)]


def _model(experiment: Experiment, trial: Trial, trainer: Trainer, encoder: Any, kind: TrialKind) -> _Model:
    """Named by its trainer, and by its encoder where that is not the grid's."""
    own, other = label(trial.encoder), label(encoder)
    name = label(trainer) if own == other else f"{label(trainer)} on {other}"
    return _Model(encoder, trainer, unit_of(trainer, kind, experiment.selection, experiment.resources), name)


def _row(
    selection: _Selection,
    trials: Sequence[Trial],
    rounds: PlannedRounds,
    machine: Machine | None,
    label_price: float | None,
) -> SelectionCost:
    model, scorer = selection.model, selection.scored_by
    keys = [rounds.keys(trial, model.trainer, model.encoder) for trial in trials]
    each = [total(rounds.history.round(key, trainer).all for key, trainer in of_trial) for of_trial in keys]
    parts = [(_mean(each), model.unit)]
    bought = keys[0][-1][0].num_labeled
    if scorer:
        parts.append((rounds.of_training(trials[0], scorer.encoder, scorer.trainer, bought), scorer.unit))
    figure = total(part for part, _ in parts)
    return SelectionCost(
        dataset=label(trials[0].dataset),
        encoder=label(trials[0].encoder),
        selecting_with=selection.name,
        num_labeled=bought,
        num_trainings=len(keys[0]) + bool(scorer),
        figure=figure,
        cpu_hours=_held(parts, "CPU"),
        gpu_hours=_held(parts, GPU),
        compute=_compute(parts, machine) if figure.known else None,
        labels=None if label_price is None else label_price * bought,
    )


def _mean(figures: Sequence[Figure]) -> Figure:
    whole = total(figures)
    return Figure(whole.seconds / len(figures), whole.origins)


def _held(parts: Sequence[tuple[Figure, Unit]], resource: str) -> float:
    return sum(figure.seconds * bundle.get(resource, 0.0) for figure, unit in parts for bundle in unit.bundles) / 3600


def _compute(parts: Sequence[tuple[Figure, Unit]], machine: Machine | None) -> Cost | None:
    if machine is None:
        return None
    hours = [machine.hours(unit, figure.seconds) for figure, unit in parts]
    known = [one for one in hours if one is not None]
    return cost_of(machine, sum(known)) if len(known) == len(hours) else None
