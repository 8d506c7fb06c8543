"""One trial as a job that any process can run: open what it reads, hold its folder, run it, leave a clear state."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from labelbench_ray.benchmark.loop import MakeSpread, RoundDone, run_evaluation, run_trial
from labelbench_ray.benchmark.provenance import describe_trial
from labelbench_ray.benchmark.state import Ledger
from labelbench_ray.config import EvaluationTrial, Resources, Selection, Trial
from labelbench_ray.errors import LabelBenchError
from labelbench_ray.execution.inputs import open_inputs
from labelbench_ray.execution.progress import Event
from labelbench_ray.types import Launch


@dataclass(frozen=True, kw_only=True)
class TrialJob:
    """A trial and where it works. Small and picklable: data is opened by the process that runs it."""

    trial: Trial | EvaluationTrial
    experiment: str
    results: Path
    features: Path
    selection: Selection
    resources: Resources

    @property
    def name(self) -> str:
        """How people call it: ``badge seed 2``, or ``finetune of badge@100 seed 2``."""
        labels = self.trial.labels()
        if isinstance(self.trial, EvaluationTrial):
            return f"{labels['trainer']} of {labels['strategy']}@{len(self.trial.ids_L)} seed {self.trial.seed}"
        return f"{labels['strategy']} seed {self.trial.seed}"

    @property
    def num_rounds(self) -> int:
        """Rounds in all."""
        return self.trial.schedule.rounds if isinstance(self.trial, Trial) else 1


def run_job(job: TrialJob, launch: Launch, make_spread: MakeSpread) -> Iterator[RoundDone]:
    """Run what the ledger lacks of a job, yielding each round once it is on disk.

    Any error is written to the trial's state before it is raised again; nothing finished is lost.
    """
    import torch

    torch.set_num_threads(1)  # set, not inherited: a sum's order, and so its last bit, may depend on it
    ledger = Ledger(job.results).trial(job.trial.id)
    with ledger.lock():
        if ledger.status().state == "done":
            return
        try:
            ledger.write_description(describe_trial(job.trial, job.experiment, job.resources.kind))
            ledger.mark("running")
            inputs = open_inputs(job, launch, make_spread)
            if isinstance(job.trial, Trial):
                yield from run_trial(job.trial, inputs, ledger)
            else:
                yield from run_evaluation(job.trial, inputs, ledger)
        except LabelBenchError as error:
            ledger.mark("failed", str(error))
            raise
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            ledger.mark("interrupted")
            raise
        except Exception as error:
            ledger.mark("failed", f"{type(error).__name__}: {error}")
            raise
        ledger.mark("done")


def round_event(job: TrialJob, done: RoundDone) -> Event:
    """The event of a finished round."""
    return Event(
        trial=job.trial.id,
        name=job.name,
        what="round",
        round=done.round,
        num_labeled=done.num_labeled,
        test_accuracy=done.values["test"].get("accuracy"),
        costs=dict(done.costs),
    )
