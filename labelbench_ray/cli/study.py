"""Commands that do a study: plan, run, embed, tune."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from cyclopts.validators import Number

from labelbench_ray.cli.app import (
    DEFAULT_FEATURES,
    STUDY,
    Address,
    Executor,
    Features,
    File,
    Json,
    NumCpus,
    Results,
    Set,
    app,
    load,
    print_json,
    stdout_kept_for_data,
    table,
    tell,
)


@app.command(group=STUDY)
def run(
    file: File,
    *,
    set_: Set = None,
    results: Results = None,
    features: Features = DEFAULT_FEATURES,
    executor: Executor = "ray",
    address: Address = None,
    num_cpus: NumCpus = None,
    json_: Json = False,
) -> int:
    """Run what is left of a grid, then write its report. Run it again to go on after a stop.

    Example: `labelbench run experiments/quickstart.yaml --set seeds=5`
    """
    from labelbench_ray.api import grid
    from labelbench_ray.reporting.write import summary_lines

    experiment = load(file, set_)
    with stdout_kept_for_data():
        outcome = grid.run(
            experiment, results, features, executor=executor, address=address, num_cpus=num_cpus, tell=tell
        )
    if json_:
        print_json({**asdict(outcome), "failed": [list(pair) for pair in outcome.failed]})
    elif outcome.report:
        print("\n".join(summary_lines(outcome.results)))
        tell(f"report: {outcome.report.html}")
    for name, reason in outcome.failed:
        tell(f"failed: {name}: {reason}")
    if outcome.interrupted:
        return 130
    return 1 if outcome.failed else 0


@app.command(group=STUDY)
def plan(
    file: File,
    *,
    set_: Set = None,
    results: Results = None,
    features: Features = DEFAULT_FEATURES,
    json_: Json = False,
) -> int:
    """Print the grid, what is done already, what must be embedded and what it needs to be scheduled. Starts nothing.

    Example: `labelbench plan experiments/quickstart.yaml`
    """
    from labelbench_ray.api import planning
    from labelbench_ray.strategies.select import binary_size

    prepared = planning.plan(load(file, set_), results, features)
    if json_:
        print_json(_plan_data(prepared))
        return 0
    table(
        ["trial", "dataset", "encoder", "trainer", "strategy", "seed", "rounds", "state"],
        [
            [
                planned.trial.id,
                *(planned.trial.labels()[part] for part in ("dataset", "encoder", "trainer", "strategy")),
                planned.trial.seed,
                f"{planned.status.finished_rounds}/{planned.trial.schedule.rounds}",
                planned.status.state or "to do",
            ]
            for planned in prepared.trials
        ],
    )
    print(f"\n{len(prepared.trials)} trials, {prepared.num_done} done, results in {prepared.results}")
    for task in prepared.embed_tasks:
        views = ", ".join(sorted({key.view.kind for key in task.keys}))
        print(f"to embed: {task.num_rows} rows of {task.keys[0].split} in {len(task.keys)} views ({views})")
    for told in prepared.blends:
        print(told)
    if prepared.experiment.evaluate:
        _print_evaluations(prepared)
    for stage, unit, count in prepared.units:
        needs = " + ".join(
            ", ".join(f"{amount:g} {name}" for name, amount in bundle.items()) for bundle in unit.bundles
        )
        print(f"to schedule: {stage}: {count} x {unit.layout}, each with {needs}")
    allowed = prepared.experiment.selection.memory_gib
    for strategy, least in prepared.selections.items():
        print(f"to select: {strategy} needs at least {binary_size(least)}, may keep {allowed:g} GiB")
    for warning in prepared.warnings:
        tell(f"warning: {warning}")
    return 0


@app.command(group=STUDY)
def embed(
    file: File,
    *,
    set_: Set = None,
    features: Features = DEFAULT_FEATURES,
    executor: Executor = "ray",
    address: Address = None,
    num_cpus: NumCpus = None,
) -> int:
    """Embed every view that a grid reads, without running it. Goes on where an earlier embedding stopped.

    Example: `labelbench embed experiments/quickstart.yaml`
    """
    from labelbench_ray.api import grid

    experiment = load(file, set_)
    with stdout_kept_for_data():
        tasks = grid.embed(experiment, features, executor=executor, address=address, num_cpus=num_cpus, tell=tell)
    views = sum(len(task.keys) for task in tasks)
    print(f"{views} views embedded into {features}" if tasks else f"nothing to do: all views are in {features}")
    return 0


@app.command(group=STUDY)
def tune(
    file: File,
    *,
    set_: Set = None,
    configurations: Annotated[
        int, Parameter(help="How many to try. More go on where fewer ended.", validator=Number(gte=1))
    ] = 32,
    fraction: Annotated[float, Parameter(help="Share of the pool that is labelled, at random.")] = 0.1,
    seed: Annotated[int, Parameter(help="Of the labelled share, the draws and the trainings.")] = 0,
    out: Annotated[Path | None, Parameter(help="Preset file. Default: tuned.yaml in the results folder.")] = None,
    results: Results = None,
    features: Features = DEFAULT_FEATURES,
    executor: Executor = "ray",
    address: Address = None,
    num_cpus: NumCpus = None,
    json_: Json = False,
) -> int:
    """Search the trainer's hyper-parameters by the validation metric and write the best as a preset.

    What is searched is `search` in the file, or has a default. The test split is never read. Poor configurations are
    stopped early. Run it again to go on after a stop. One at a time (`--set resources.max_concurrent=1`), a seed always
    draws the same; several at a time, draws depend on which end first.

    Example: `labelbench tune experiments/quickstart.yaml --configurations 16`
    """
    from labelbench_ray.api import tuning

    experiment = load(file, set_)
    with stdout_kept_for_data():
        outcome = tuning.tune(
            experiment, results, features, fraction=fraction, configurations=configurations, seed=seed, out=out,
            executor=executor, address=address, num_cpus=num_cpus, tell=tell,
        )  # fmt: skip
    if json_:
        print_json(_tuned_data(outcome))
    else:
        _print_tuned(outcome)
    for name, reason in outcome.failed:
        tell(f"failed: {name}: {reason}")
    if outcome.interrupted:
        return 130
    return 1 if outcome.num_problems else 0


def _print_tuned(outcome: Any, num_shown: int = 5) -> None:
    shown = outcome.ranking[:num_shown]
    table(
        ["configuration", "trained", f"validation {outcome.metric}", *(shown[0].values if shown else [])],
        [
            [one.configuration, f"{one.share:.0%}", f"{one.value:.4f}", *map(_short, one.values.values())]
            for one in shown
        ],
    )
    counts = [f"{outcome.count('finished')} trained in full", f"{outcome.count('stopped')} stopped early"]
    print(f"\n{', '.join(counts)}, {len(outcome.failed)} failed; all measurements in {outcome.results}")
    if outcome.preset:
        print(f"best: `trainer: {{preset: {outcome.preset}}}`")


def _short(value: Any) -> Any:
    return f"{value:.3g}" if isinstance(value, float) else value


def _tuned_data(outcome: Any) -> dict[str, Any]:
    return {**asdict(outcome), "failed": [list(pair) for pair in outcome.failed]}


def _print_evaluations(prepared: Any) -> None:
    if prepared.evaluations:
        print()
        table(
            ["evaluation", "trainer", "set bought by", "labels", "seed", "state"],
            [
                [
                    planned.trial.id,
                    *(planned.trial.labels()[part] for part in ("trainer", "strategy")),
                    len(planned.trial.ids_L),
                    planned.trial.seed,
                    planned.status.state or "to do",
                ]
                for planned in prepared.evaluations
            ],
        )
    told = f"{len(prepared.evaluations)} evaluations of finished trials, {prepared.num_evaluated} done"
    print(f"{told}; at most {prepared.num_evaluations_to_come} more when the other trials are done")


def _plan_data(prepared: Any) -> dict[str, Any]:
    return {
        "experiment": prepared.experiment.name,
        "results": str(prepared.results),
        "trials": [
            {
                "trial": planned.trial.id,
                **planned.trial.labels(),
                "seed": planned.trial.seed,
                "rounds": planned.trial.schedule.rounds,
                "finished_rounds": planned.status.finished_rounds,
                "state": planned.status.state,
                "models": planned.models,
            }
            for planned in prepared.trials
        ],
        "to_embed": [
            {"split": key.split, "view": key.view.kind, "index": key.view.index, "rows": task.num_rows}
            for task in prepared.embed_tasks
            for key in task.keys
        ],
        "to_schedule": [
            {"stage": stage, "layout": unit.layout, "count": count, "bundles": [dict(one) for one in unit.bundles]}
            for stage, unit, count in prepared.units
        ],
        "to_select": [
            {"strategy": strategy, "least_memory_bytes": least} for strategy, least in prepared.selections.items()
        ],
        "evaluations": {
            "known": len(prepared.evaluations),
            "done": prepared.num_evaluated,
            "to_come_at_most": prepared.num_evaluations_to_come,
            "trials": [
                {
                    "trial": planned.trial.id,
                    **planned.trial.labels(),
                    "seed": planned.trial.seed,
                    "num_labeled": len(planned.trial.ids_L),
                    "state": planned.status.state,
                }
                for planned in prepared.evaluations
            ],
        },
        "warnings": prepared.warnings,
    }
