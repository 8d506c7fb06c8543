"""Result files of LabelBench's own code (arXiv 2306.09910) as trials of a ledger, so that its curves stand beside ours.

Its folders say what was run, one pickle for each strategy and seed:

    cifar10/bs_1000/embed_clip_ViTB32/model_linear/trainer_flexmatch/margin_sampling_1234.pkl
    cifar10_eval/bs_1000/proxy_shallow/model_clip_ViTB32/trainer_flexmatch_eval_trainer_flexmatch/...

Pickles can run any code when they are read, so nothing but plain numbers, texts, lists and NumPy arrays is let in.
"""

import io
import pickle
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from labelbench_ray.benchmark.results import COST, RowKey, bought_table, rows_table
from labelbench_ray.benchmark.state import Ledger
from labelbench_ray.errors import DataError
from labelbench_ray.identity import digest
from labelbench_ray.storage.place import Where
from labelbench_ray.types import TrialKind

SOURCE = "LabelBench"
UNKNOWN_LABEL = -1
"""Files tell which rows were bought, not what was answered."""
READS_TRUTH = ("galaxy", "direct")
"""In noisy runs the published code of these read the true labels."""

_METRICS = {
    "{} Accuracy": "accuracy",
    "Balanced {} Accuracy": "balanced_accuracy",
    "{} Macro F1": "macro_f1",
    "{} Loss": "log_loss",
    "Min Class {} Accuracy": "worst_class_accuracy",
}
_SPLITS = {"test": ("Test",), "val": ("Validation", "Val"), "pool": ("Pool", "Training")}
_PARTS = re.compile(
    r"(?P<dataset>.+?)(?P<evaluated>_eval)?/bs_(?P<batch>\d+)/(?P<how>embed|proxy)_(?P<encoder>[^/]+)"
    r"/model_(?P<model>[^/]+)/trainer_(?P<trainer>[^/]+)/(?P<strategy>[^/]+?)_(?P<seed>\d+)\.pkl$"
)
_NOISE = re.compile(r"(.+)_(random\w*|noise\w*)$")


@dataclass(frozen=True, kw_only=True)
class PublishedRun:
    """One file: what its path says, its columns, and the rows it bought in order (none of evaluations)."""

    path: str
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
    columns: Mapping[str, Sequence[Any]]
    bought: Sequence[Any]

    @property
    def rounds(self) -> int:
        """How often the model was measured."""
        return len(self.columns["Num Labeled"])

    def num_labeled(self, index: int) -> int:
        """Labels of a round as they were meant: some versions of BADGE bought one too many in each."""
        told, meant = int(self.columns["Num Labeled"][index]), self.batch_size * (index + 1)
        return meant if 0 <= told - meant <= index else told

    def values(self, index: int) -> dict[str, dict[str, float]]:
        """``{split: {metric: value}}`` of a round, and the seconds that it took."""
        found: dict[str, dict[str, float]] = {
            split: {
                metric: float(column[index])
                for pattern, metric in _METRICS.items()
                for word in words
                if (column := self.columns.get(pattern.format(word))) is not None and column[index] is not None
            }
            for split, words in _SPLITS.items()
        }
        runtimes = [0.0, *self.columns.get("_runtime", [])]
        if len(runtimes) > index + 1:
            found[COST] = {"round_s": float(runtimes[index + 1]) - float(runtimes[index])}
        return {split: metrics for split, metrics in found.items() if metrics}

    def set_digest(self, index: int) -> str:
        """Of the rows that a round trained on; of the path where the file does not tell them all."""
        ids = self.bought[: int(self.columns["Num Labeled"][index])]
        known = [int(one) for one in ids if one is not None]
        whole = len(known) == int(self.columns["Num Labeled"][index])
        return digest(sorted(known)) if whole else digest([self.path, index])


def import_files(folder: Path, results: Where) -> int:
    """Write every result file below ``folder`` as a trial; returns how many. Those that are there already are kept.

    Raises DataError for a folder without such files, and for a file that is no plain result.
    """
    runs = list(read_runs(folder))
    if not runs:
        wanted = "DATASET/bs_N/embed_E/model_M/trainer_T/STRATEGY_SEED.pkl"
        raise DataError(SOURCE, f"no result file below {folder}; expected {wanted}")
    selections = {_place(run): run for run in runs if run.kind == "selection"}
    for run in runs:
        _write(run, selections.get(_place(run)) if run.kind == "evaluation" else run, Ledger(results))
    return len(runs)


def read_runs(folder: Path) -> Iterator[PublishedRun]:
    """Every result file below a folder, in the order of their paths."""
    for file in sorted(folder.expanduser().rglob("*.pkl")):
        path = file.relative_to(folder.expanduser()).as_posix()
        parts = _PARTS.match(path)
        if not parts:
            continue
        told = _plain(file)
        columns, bought = told if isinstance(told, list | tuple) and len(told) == 2 else (told, [])
        _check(path, columns, bought)
        yield _run(path, parts, columns, bought)


def _run(
    path: str, parts: "re.Match[str]", columns: Mapping[str, Sequence[Any]], bought: Sequence[Any]
) -> PublishedRun:
    noisy = _NOISE.match(parts["dataset"])
    is_head = parts["how"] == "embed" and parts["encoder"] != "none"
    selecting, _, evaluated = parts["trainer"].replace("passive", "supervised").partition("_eval_trainer_")
    return PublishedRun(
        path=path,
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


def _place(run: PublishedRun) -> tuple[Any, ...]:
    """What an evaluation has in common with the selection whose sets it scored."""
    return run.dataset, run.noise, run.batch_size, run.strategy, run.seed, run.selected_with or run.trainer


def _write(run: PublishedRun, selected: PublishedRun | None, ledger: Ledger) -> None:
    identity = {"source": SOURCE, "path": run.path}
    trial = ledger.trial(digest([identity, {name: list(column) for name, column in sorted(run.columns.items())}]))
    if trial.status().state == "done":
        return
    sets = [(selected or run).set_digest(index) for index in range(run.rounds)]
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
                schedule=f"{run.batch_size}+{run.batch_size}x{run.rounds - 1}",
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
    first, last = (int(run.columns["Num Labeled"][at]) if at >= 0 else 0 for at in (index - 1, index))
    ids = np.array([one for one in run.bought[first:last] if one is not None], np.int64)
    return bought_table(trial, [(index, ids, np.full(len(ids), UNKNOWN_LABEL))])


class _PlainUnpickler(pickle.Unpickler):
    """Lets in what NumPy needs for an array or a number, and nothing that can do anything."""

    _ALLOWED = frozenset(
        (f"numpy.{core}.{module}", name)
        for core in ("core", "_core")
        for module, name in (("multiarray", "_reconstruct"), ("multiarray", "scalar"))
    ) | {("numpy", "ndarray"), ("numpy", "dtype")}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in self._ALLOWED:
            raise pickle.UnpicklingError(f"it names {module}.{name}, which is no plain number, text, list or array")
        return super().find_class(module, name)


def _plain(file: Path) -> Any:
    try:
        return _PlainUnpickler(io.BytesIO(file.read_bytes())).load()
    except Exception as error:  # a spoilt pickle can raise anything
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(SOURCE, f"{file} is not read: {reason}") from None


def _check(path: str, columns: Any, bought: Any) -> None:
    """Raises DataError unless there are columns of one length, of labels and of a score."""
    if not isinstance(columns, Mapping) or not isinstance(bought, list) or "Num Labeled" not in columns:
        raise DataError(SOURCE, f"{path} holds no columns with `Num Labeled`, as LabelBench's fetch scripts write them")
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1 or not lengths["Num Labeled"]:
        raise DataError(SOURCE, f"{path} has columns of {sorted(set(lengths.values()))} rows; fetch the run again")
