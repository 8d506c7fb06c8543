"""A search for good hyper-parameters: Optuna draws configurations, successive halving stops the poor ones early.

Every configuration is first trained at a fraction of its length. If it is among the best so far at that length it is
trained anew at the next one, up to its whole length (asynchronous successive halving: Li et al., 2020, "A System for
Massively Parallel Hyperparameter Tuning"). Training anew costs half as much again at most, and every learning rate
schedule runs to its end, as it would in a study of that length.

The ledger holds every measurement. A search is rebuilt from it by telling Optuna all that was measured, in order, and
each draw has a random stream of its own number: run one at a time, a search that was stopped draws what it would have
drawn. With several at a time, draws depend on which end first.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from labelbench_ray.benchmark.provenance import numeric_class
from labelbench_ray.config.search import Dimension
from labelbench_ray.config.tuning import REDUCTION, SHARES
from labelbench_ray.errors import LabelBenchError, PlatformError, TrainingError
from labelbench_ray.execution.progress import Event, Watch
from labelbench_ray.execution.tuning_ledger import Measurement, TuningLedger, Verdict
from labelbench_ray.execution.tuning_measure import Bench, Measured, TuningJob
from labelbench_ray.metrics.cards import METRICS
from labelbench_ray.seeding import stream

LAST_RUNG = len(SHARES) - 1


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """Values of the searched fields, to be measured from a rung on."""

    number: int
    values: dict[str, Any]
    rung: int


class Search:
    """What has been measured, what is measured next, and what is stopped. Lives in the driver alone."""

    def __init__(self, job: TuningJob, ledger: TuningLedger, num_configurations: int) -> None:
        optuna = _optuna()
        self._tuning, self._metric, self._ledger, self._wanted = job.tuning, job.metric, ledger, num_configurations
        self._numeric_class = numeric_class(job.device)
        self._sign = 1.0 if METRICS[job.metric].higher_is_better else -1.0
        self._study = optuna.create_study(direction="maximize")
        self._drawn: dict[int, tuple[Any, dict[str, Any]]] = {}
        self._scores_at: list[list[float]] = [[] for _ in SHARES]
        self.measurements: list[Measurement] = []
        self.problems: dict[int, str] = {}
        for measurement in ledger.measurements():
            self._recall(measurement)
        self._to_go_on = self._unfinished()

    @property
    def ranking(self) -> list[Measurement]:
        """The last value of every configuration: those trained longest first, the best of them first.

        Of equal values the one drawn first.
        """
        last = {one.configuration: one for one in self.measurements if one.value is not None}
        return sorted(last.values(), key=lambda one: (-one.rung, -self._score(one), one.configuration))

    @property
    def best(self) -> Measurement | None:
        """The best configuration that was trained at its whole length."""
        return next((one for one in self.ranking if one.verdict == "finished"), None)

    @property
    def ended(self) -> list[Measurement]:
        """The last measurement of every configuration of which nothing is left to do."""
        return [one for one in self.measurements if one.verdict != "goes on"]

    @property
    def other_classes(self) -> list[str]:
        """Kinds of machine, other than this one, whose measurements the search goes on from."""
        return sorted({one.numeric_class for one in self.measurements} - {self._numeric_class})

    @property
    def num_left(self) -> int:
        """Configurations that are still to be measured to their end."""
        return max(0, self._wanted - len(self.ended))

    @property
    def num_lengths_left(self) -> int:
        """How many lengths these would be measured at if none were stopped."""
        half_done = sum(one.rung for one in self._to_go_on)
        return self.num_left * len(SHARES) - half_done

    def next(self) -> Configuration | None:
        """What to measure next: first what an earlier run left half done; None when all have been handed out."""
        if self._to_go_on:
            return self._to_go_on.pop(0)
        number = next(number for number in range(len(self._drawn) + 1) if number not in self._drawn)
        return self._draw(number) if number < self._wanted else None

    def took(self, number: int, rung: int, measured: Measured) -> bool:
        """Note a measurement; whether the configuration goes on to its next rung."""
        score, others = self._sign * measured.value, self._scores_at[rung]
        verdict: Verdict = "finished"
        if rung < LAST_RUNG:
            verdict = "goes on" if is_among_best(score, others, REDUCTION) else "stopped"
        self._note(number, rung, verdict, measured.value, measured.seconds)
        return verdict == "goes on"

    def failed(self, number: int, rung: int, error: str, *, lasting: bool) -> None:
        """Note that a configuration could not be trained.

        ``lasting``: it is so with these values, which is a result as any other. What else went wrong (a process that
        died, a fault in the code) is kept in ``problems`` alone, so that another run tries again.
        """
        if lasting:
            self._note(number, rung, "failed", error=error)
        else:
            self.problems[number] = error

    def knows(self, number: int, rung: int) -> bool:
        """Whether this was measured: a process that was started again measures what it had measured before."""
        return any((one.configuration, one.rung) == (number, rung) for one in self.measurements)

    def _note(
        self,
        number: int,
        rung: int,
        verdict: Verdict,
        value: float | None = None,
        seconds: float = 0.0,
        error: str = "",
    ) -> None:
        measurement = Measurement(
            configuration=number,
            values=self._drawn[number][1],
            rung=rung,
            share=SHARES[rung],
            metric=self._metric,
            value=value,
            verdict=verdict,
            error=error,
            seconds=seconds,
            numeric_class=self._numeric_class,
        )
        self._ledger.add(measurement)
        self._count(measurement)

    def _count(self, measurement: Measurement) -> None:
        """Tell Optuna; it takes what was stopped or failed as worse than what got further."""
        optuna = _optuna()
        self.measurements.append(measurement)
        trial, rung = self._drawn[measurement.configuration][0], measurement.rung
        trial.report(self._score(measurement), step=rung)
        if measurement.value is not None:
            self._scores_at[rung].append(self._score(measurement))
        if measurement.verdict == "finished":
            self._study.tell(trial, self._score(measurement))
        elif measurement.verdict != "goes on":
            self._study.tell(trial, state=optuna.trial.TrialState.PRUNED)

    def _score(self, measurement: Measurement) -> float:
        return float("nan") if measurement.value is None else self._sign * measurement.value

    def _draw(self, number: int) -> Configuration:
        optuna = _optuna()
        seed = int(stream(self._tuning.seed, "tune", "draw", number).integers(2**32))
        self._study.sampler = optuna.samplers.TPESampler(seed=seed)
        return self._ask(number)

    def _recall(self, measurement: Measurement) -> None:
        if measurement.configuration not in self._drawn:
            self._study.enqueue_trial(_as_indices(self._tuning.space, measurement.values))
            self._ask(measurement.configuration)
        self._count(measurement)

    def _ask(self, number: int) -> Configuration:
        space = self._tuning.space
        trial = self._study.ask({field: _distribution(told) for field, told in space.items()})
        values = {
            field: told.values[trial.params[field]] if told.kind == "choice" else trial.params[field]
            for field, told in space.items()
        }
        self._drawn[number] = trial, values
        return Configuration(number=number, values=values, rung=0)

    def _unfinished(self) -> list[Configuration]:
        last = {one.configuration: one for one in self.measurements}
        return [
            Configuration(number=number, values=one.values, rung=one.rung + 1)
            for number, one in sorted(last.items())
            if one.verdict == "goes on"
        ]


def is_among_best(score: float, others: list[float], reduction: int) -> bool:
    """Whether a score is among the best one in ``reduction`` of itself and the others; one at least is.

    Of equal scores the earlier ones count as better.
    """
    places = max(1, (len(others) + 1) // reduction)
    return sum(other >= score for other in others) < places


def run_here(search: Search, bench: Bench, watch: Watch) -> None:
    """Measure everything in this process, one configuration after another."""
    while (configuration := search.next()) is not None:
        number = configuration.number
        for rung in range(configuration.rung, len(SHARES)):
            try:
                measured = bench.measure(number, configuration.values, rung)
            except Exception as error:
                search.failed(number, rung, reason(error), lasting=isinstance(error, TrainingError))
                watch(failed_event(number, reason(error)))
                break
            goes_on = search.took(number, rung, measured)
            for event in measured_events(number, rung, measured.value, goes_on):
                watch(event)
            if not goes_on:
                break


def reason(error: Exception) -> str:
    """What to tell of an error: our own say it themselves."""
    return str(error) if isinstance(error, LabelBenchError) else f"{type(error).__name__}: {error}"


def measured_events(number: int, rung: int, value: float, goes_on: bool) -> list[Event]:
    """A measurement, and what a configuration that ends leaves out, so that a search ends at its full count."""
    name = f"configuration {number}"
    rounds = 1 if goes_on else len(SHARES) - rung
    told = Event(trial=str(number), name=name, what="round", note=f"{name} at {SHARES[rung]:.0%}: {value:.1%}")
    return [told] * rounds + ([] if goes_on else [Event(trial=str(number), name=name, what="done")])


def failed_event(number: int, error: str) -> Event:
    """A configuration that could not be trained."""
    return Event(trial=str(number), name=f"configuration {number}", what="failed", error=error)


def _distribution(dimension: Dimension) -> Any:
    distributions = _optuna().distributions
    if dimension.kind == "choice":  # by place: Optuna takes no lists and mappings as choices
        return distributions.CategoricalDistribution(range(len(dimension.values)))
    low, high = dimension.values
    if dimension.kind == "integers":
        return distributions.IntDistribution(low, high)
    return distributions.FloatDistribution(low, high, log=dimension.kind == "log_uniform")


def _as_indices(space: Mapping[str, Dimension], values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        field: told.values.index(values[field]) if told.kind == "choice" else values[field]
        for field, told in space.items()
    }


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise PlatformError("optuna is not installed", "run `pip install 'labelbench_ray[tune]'`") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna
