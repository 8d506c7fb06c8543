"""Result files of LabelBench's own code (arXiv 2306.09910) as trials of a ledger, so that its curves stand beside ours.

Its folders say what was run, one pickle for each strategy and seed:

    cifar10/bs_1000/embed_clip_ViTB32/model_linear/trainer_flexmatch/margin_sampling_1234.pkl
    cifar10_eval/bs_1000/proxy_shallow/model_clip_ViTB32/trainer_flexmatch_eval_trainer_flexmatch/...

Pickles can run any code when they are read; these are read by ``plain_pickle``, which runs none.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from labelbench_ray.benchmark.plain_pickle import load_plain
from labelbench_ray.benchmark.results import COST, RowKey, bought_table, rows_table
from labelbench_ray.benchmark.state import Ledger
from labelbench_ray.errors import DataError
from labelbench_ray.fingerprint import its_bytes
from labelbench_ray.identity import digest
from labelbench_ray.storage.place import Where
from labelbench_ray.types import TrialKind

SOURCE = "LabelBench"
UNKNOWN_LABEL = -1
"""Files tell which rows were bought, not what was answered."""
READS_TRUTH = ("galaxy", "direct")
"""In noisy runs the published code of these read the true labels."""

_LABELS = "Num Labeled"
_METRICS = {
    "{} Accuracy": "accuracy",
    "Balanced {} Accuracy": "balanced_accuracy",
    "{} Macro F1": "macro_f1",
    "{} Loss": "log_loss",
    "Min Class {} Accuracy": "worst_class_accuracy",
}
_SPLITS = {"test": ("Test",), "val": ("Validation", "Val"), "pool": ("Pool", "Training")}
_RUNTIME = "_runtime"
_READ = (
    _LABELS,
    _RUNTIME,
    *(pattern.format(word) for pattern in _METRICS for words in _SPLITS.values() for word in words),
)
_PARTS = re.compile(
    r"(?:.*/)?(?P<dataset>[^/]+?)(?P<evaluated>_eval)?/bs_(?P<batch>\d{1,18})/(?P<how>embed|proxy)_(?P<encoder>[^/]+)"
    r"/model_(?P<model>[^/]+)/trainer_(?P<trainer>[^/]+)/(?P<strategy>[^/]+?)_(?P<seed>\d{1,18})\.pkl"
)
_NOISE = re.compile(r"(.+)_(random\w*|noise\w*)")


@dataclass(frozen=True, kw_only=True)
class PublishedRun:
    """One file: what its path says, its columns, and the rows it bought in order (none of evaluations)."""

    path: str
    content: str
    """Digest of the file."""
    kind: TrialKind
    dataset: str
    noise: str
    encoder: str
    trainer: str
    strategy: str
    seed: int
    batch_size: int
    selected_with: str
    """Of an evaluation, the head that selected; else empty."""
    columns: Mapping[str, Sequence[float]]
    """Of one length; NaN for what was not measured."""
    bought: Sequence[int]

    @property
    def folder(self) -> str:
        """Of the runs that are told apart by strategy and seed alone."""
        return self.path.rpartition("/")[0]

    @property
    def rounds(self) -> int:
        """How often the model was measured."""
        return len(self.columns[_LABELS])

    def trained_on(self, index: int) -> int:
        """Labels of a round as the file tells them."""
        return int(self.columns[_LABELS][index])

    def num_labeled(self, index: int) -> int:
        """Labels of a round as they were meant: some versions of BADGE bought one too many in each."""
        told, meant = self.trained_on(index), self.batch_size * (index + 1)
        return meant if 0 <= told - meant <= index else told

    def values(self, index: int) -> dict[str, dict[str, float]]:
        """``{split: {metric: value}}`` of a round, and the seconds that it took."""
        found: dict[str, dict[str, float]] = {split: {} for split in _SPLITS}
        for split, words in _SPLITS.items():
            for pattern, metric in _METRICS.items():
                for word in words:
                    value = self._value(pattern.format(word), index)
                    if not math.isnan(value):
                        found[split][metric] = value
        seconds = self._value(_RUNTIME, index) - (self._value(_RUNTIME, index - 1) if index else 0.0)
        if not math.isnan(seconds):
            found[COST] = {"round_s": seconds}
        return {split: metrics for split, metrics in found.items() if metrics}

    def _value(self, name: str, index: int) -> float:
        return self.columns[name][index] if name in self.columns else math.nan

    def set_digest(self, index: int) -> str:
        """Of the rows that a round trained on; of the path where the file does not tell them all."""
        ids = self.bought[: self.trained_on(index)]
        return digest(sorted(ids)) if len(ids) == self.trained_on(index) else digest([self.path, index])


def import_files(folder: Path, results: Where) -> int:
    """Write every result file below ``folder`` as a trial; returns how many. Those that are there already are kept.

    Raises DataError for a folder without such files, and for a file that is no plain result.
    """
    runs = list(read_runs(folder))
    if not runs:
        wanted = "DATASET/bs_N/embed_E/model_M/trainer_T/STRATEGY_SEED.pkl"
        raise DataError(SOURCE, f"no result file below {folder}; expected {wanted}")
    selections = {_place(run): run for run in runs if run.kind == "selection"}
    rounds: dict[str, int] = {}
    for run in runs:  # a run that ended early has the schedule of its neighbours
        rounds[run.folder] = max(rounds.get(run.folder, 0), run.rounds)
    for run in runs:
        _write(run, selections.get(_place(run)), rounds[run.folder], Ledger(results))
    return len(runs)


def read_runs(folder: Path) -> Iterator[PublishedRun]:
    """Every result file below a folder, in the order of paths. Raises DataError for one that is no plain result."""
    for file in sorted(folder.expanduser().rglob("*.pkl")):
        path = file.relative_to(folder.expanduser()).as_posix()
        if parts := _PARTS.fullmatch(path):
            yield _run(path, parts, file)


def _run(path: str, parts: "re.Match[str]", file: Path) -> PublishedRun:
    noisy = _NOISE.fullmatch(parts["dataset"])
    is_head = parts["how"] == "embed" and parts["encoder"] != "none"
    selecting, _, evaluated = parts["trainer"].replace("passive", "supervised").partition("_eval_trainer_")
    columns, bought = _read(file)
    return PublishedRun(
        path=path,
        content=its_bytes(file),
        kind="evaluation" if parts["evaluated"] else "selection",
        dataset=noisy[1] if noisy else parts["dataset"],
        noise=noisy[2] if noisy else "",
        encoder=parts["encoder"] if is_head else parts["model"],
        trainer=f"{parts['model'] if is_head else 'finetune'}({evaluated or selecting})",
        strategy=parts["strategy"].removesuffix(".json").removesuffix("_sampling"),
        seed=int(parts["seed"]),
        batch_size=int(parts["batch"]),
        selected_with=f"{parts['encoder']}({selecting})" if parts["evaluated"] else "",
        columns=columns,
        bought=bought,
    )


def _read(file: Path) -> tuple[dict[str, list[float]], list[int]]:
    """Columns of numbers and the ids that were bought, as far as they are told without a gap."""
    try:
        told = load_plain(file.read_bytes())
        columns, bought = told if isinstance(told, list | tuple) else (told, [])
        if _LABELS not in columns:
            raise DataError(
                SOURCE, f"{file} holds no columns with `{_LABELS}`, as LabelBench's fetch scripts write them"
            )
        read = {
            name: [math.nan if one is None else float(one) for one in columns[name]]
            for name in _READ
            if name in columns
        }
        labels = [int(one) for one in read[_LABELS]]  # raises for one that is not known
        until = bought.index(None) if None in bought else len(bought)
        ids = [int(one) for one in bought[:until]]
        np.array([*labels, *ids], np.int64)  # raises for one that a ledger cannot hold
    except DataError:
        raise
    except Exception as error:  # a spoilt pickle can raise anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(SOURCE, f"{file} is not read: {reason}") from None
    lengths = sorted({len(column) for column in read.values()})
    if lengths != [len(labels)] or not labels:
        raise DataError(SOURCE, f"{file} has columns of {lengths} rows; fetch the run again")
    if min([*labels, *ids]) < 0 or sorted(set(labels)) != labels:
        raise DataError(SOURCE, f"{file} tells of labels that do not grow, or of negative ids; fetch the run again")
    return read, ids


def _place(run: PublishedRun) -> tuple[Any, ...]:
    """What an evaluation has in common with the selection whose sets it scored."""
    return run.dataset, run.noise, run.encoder, run.batch_size, run.strategy, run.seed, run.selected_with or run.trainer


def _sets(run: PublishedRun, selected: PublishedRun | None) -> list[str]:
    """Digest of the set of each round: an evaluation's is the one that was bought when there were as many labels."""
    bought = (
        {selected.num_labeled(index): selected.set_digest(index) for index in range(selected.rounds)}
        if selected
        else {}
    )
    return [bought.get(run.num_labeled(index)) or run.set_digest(index) for index in range(run.rounds)]


def _write(run: PublishedRun, selected: PublishedRun | None, rounds: int, ledger: Ledger) -> None:
    trial = ledger.trial(digest({"source": SOURCE, "path": run.path, "content": run.content}))
    if trial.status().state == "done":
        return
    sets = _sets(run, selected)
    with trial.lock():
        for index in range(trial.finished_rounds(), run.rounds):
            key = RowKey(
                trial=trial.trial_id,
                kind=run.kind,
                dataset=run.dataset,
                encoder=run.encoder,
                trainer=run.trainer,
                model=run.trainer,
                strategy=run.strategy,
                oracle=f"noise({run.noise})" if run.noise else "perfect",
                schedule=f"{run.batch_size}+{run.batch_size}x{rounds - 1}",
                seed=run.seed,
                round=index,
                num_labeled=run.num_labeled(index),
                bought=sets[index],
                initial=sets[0],
                numeric_class=SOURCE,
                cheats=bool(run.noise) and run.strategy in READS_TRUTH,
            )
            trial.commit_round(index, rows_table(key, run.values(index)), _bought_in(run, trial.trial_id, index))
        trial.write_description({"experiment": SOURCE, "kind": run.kind, "seed": run.seed, "path": run.path})
        trial.mark("done")


def _bought_in(run: PublishedRun, trial: str, index: int) -> Any:
    ids = np.array(run.bought[run.trained_on(index - 1) if index else 0 : run.trained_on(index)], np.int64)
    return bought_table(trial, [(index, ids, np.full(len(ids), UNKNOWN_LABEL))])
