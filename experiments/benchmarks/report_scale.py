"""How long the report of many trials takes and how large its page is, measured on the real command.

Makes a ledger of trials with every measure that a round writes and the sets that they bought, then writes its report
with ``labelbench report`` in new processes. The scores follow made-up curves; nothing but their shape counts here.

    python experiments/benchmarks/report_scale.py --trials 1000 --times 3
"""

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from labelbench_ray.benchmark.results import COST, RowKey, bought_table, rows_table
from labelbench_ray.benchmark.state import Ledger

STRATEGIES = ("random", "badge", "confidence", "coreset", "entropy", "galaxy", "margin", "bald", "typiclust", "bait")
SEEDS, ROUNDS, LABELS, POOL, CLASSES = 10, 10, 100, 50_000, 10
METRICS = ("accuracy", "balanced_accuracy", "macro_f1", "worst_class_accuracy", "ece", "log_loss")
ANNOTATION = ("annotation_accuracy", "annotation_balanced_accuracy", "annotation_macro_f1")
COSTS = ("train_s", "evaluate_s", "select_s", "round_s", "peak_memory_gib", "annotation_rounds")


def main() -> None:
    """Make a ledger, write its report, print a line."""
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--trials", type=int, default=1000, help="Ten strategies and ten seeds make a comparison.")
    asked.add_argument("--times", type=int, default=3, help="Reports to write; medians are told.")
    asked.add_argument("--scratch", type=Path, help="Folder for the ledger, kept. Default: a temporary one.")
    given = asked.parse_args()
    with tempfile.TemporaryDirectory(prefix="report-") as folder:
        results = given.scratch or Path(folder)
        if not (results / "trials").exists():
            write_ledger(results, given.trials)
        walls, cpus = zip(*(timed_report(results) for _ in range(given.times)), strict=True)
        page = results / "report.html"
        print("trials  rounds  wall s  CPU s  page MiB")
        told = f"{given.trials:<6}  {given.trials * ROUNDS:6}  {statistics.median(walls):6.1f}"
        print(f"{told}  {statistics.median(cpus):5.1f}  {page.stat().st_size / 2**20:8.1f}")


def write_ledger(results: Path, trials: int) -> None:
    """Every comparison is another data set."""
    for number in range(trials):
        comparison, place = divmod(number, len(STRATEGIES) * SEEDS)
        strategy, seed = STRATEGIES[place // SEEDS], place % SEEDS
        write_trial(results, f"data_{comparison}", strategy, seed)


def write_trial(results: Path, dataset: str, strategy: str, seed: int) -> None:
    """One finished trial of ROUNDS rounds."""
    identity = {"dataset": {"name": dataset}, "strategy": {"name": strategy}, "seed": seed}
    trial = Ledger(results).trial(f"{dataset}-{strategy}-{seed}")
    rng = np.random.default_rng([seed, *strategy.encode(), *dataset.encode()])
    ids = rng.choice(POOL, LABELS * ROUNDS, replace=False)
    for index in range(ROUNDS):
        num_labeled = LABELS * (index + 1)
        key = RowKey(
            trial=trial.trial_id, kind="selection", dataset=dataset, encoder="clip", trainer="linear", model="linear",
            strategy=strategy, oracle="perfect", schedule=f"{LABELS}+{LABELS}x{ROUNDS - 1}", seed=seed, round=index,
            num_labeled=num_labeled, bought=f"{strategy}-{seed}-{index}", initial=f"{dataset}-{seed}",
            numeric_class="made up", cheats=False,
        )  # fmt: skip
        rows = rows_table(key, scores(rng, num_labeled))
        batches = [batch for batch in ((0, 1) if index == 0 else (index + 1,)) if batch < ROUNDS]
        cuts = [(batch, ids[LABELS * batch : LABELS * (batch + 1)]) for batch in batches]
        bought = bought_table(trial.trial_id, [(batch, part, part % CLASSES) for batch, part in cuts])
        trial.commit_round(index, rows, bought)
    trial.write_description({"experiment": "report_scale", "identity": identity, "seed": seed})
    trial.mark("done")


def scores(rng: np.random.Generator, num_labeled: int) -> dict[str, dict[str, float]]:
    """All that a round measures."""
    level = 0.9 - 0.5 * np.exp(-num_labeled / 400)
    model = {metric: float(level + rng.normal(0, 0.01)) for metric in METRICS}
    annotation = {metric: float(level + rng.normal(0, 0.01)) for metric in ANNOTATION}
    costs = {cost: float(rng.uniform(0.1, 2.0)) for cost in COSTS}
    return {"pool": {**model, **annotation}, "val": model, "test": model, COST: costs}


def timed_report(results: Path) -> tuple[float, float]:
    """Seconds of wall and of processors."""
    before, began = _cpu_s(), time.perf_counter()
    command = [sys.executable, "-m", "labelbench_ray.cli", "report", str(results)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began, _cpu_s() - before


def _cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
