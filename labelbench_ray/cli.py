"""The command line: parses, calls the api, prints. Data goes to stdout, messages to stderr.

Exit codes: 0 ok, 1 some trials failed, 2 usage, 3 environment, 130 interrupted.
"""

import contextlib
import json
import os
import sys
import traceback
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import App, CycloptsError, Group, Parameter
from cyclopts.validators import Number

from labelbench_ray import __version__
from labelbench_ray.errors import LabelBenchError, LedgerError

app = App(
    name="labelbench",
    version=__version__,
    help="""Benchmark label-efficient learning: embed a pool once, then train, select, label and measure in rounds.

    `labelbench COMMAND --help` shows an example. `--debug` after a command shows where an error came from.
    """,
    help_format="markdown",
)
_STUDY = Group("Run a study", sort_key=1)
_RESULTS = Group("Look at results", sort_key=2)
_LOOK = Group("Look things up", sort_key=3)

File = Annotated[Path, Parameter(help="Experiment file (YAML).")]
Set = Annotated[
    list[str] | None,
    Parameter(name="--set", help="Override, as key=value; may be repeated.", negative="", consume_multiple=False),
]
Results = Annotated[Path | None, Parameter(help="Results folder. Default: results/NAME of the experiment.")]
Features = Annotated[Path, Parameter(help="Folder of stored embeddings, shared by all experiments.")]
Json = Annotated[bool, Parameter(name="--json", help="Print JSON for machines.", negative="")]
Executor = Annotated[Literal["ray", "in_process"], Parameter(help="Where trials run.")]
Address = Annotated[str | None, Parameter(help="Address of a running Ray cluster. Default: a local one, for this run.")]
NumCpus = Annotated[
    int | None, Parameter(help="Processors of the local cluster. Default: all.", validator=Number(gte=1))
]
DEFAULT_FEATURES = Path("features")


@app.command(group=_STUDY)
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

    experiment = _load(file, set_)
    with _stdout_kept_for_data():
        outcome = grid.run(
            experiment, results, features, executor=executor, address=address, num_cpus=num_cpus, tell=_tell
        )
    if json_:
        _print_json({**asdict(outcome), "failed": [list(pair) for pair in outcome.failed]})
    elif outcome.report:
        print("\n".join(summary_lines(outcome.results)))
        _tell(f"report: {outcome.report.html}")
    for name, reason in outcome.failed:
        _tell(f"failed: {name}: {reason}")
    if outcome.interrupted:
        return 130
    return 1 if outcome.failed else 0


@app.command(group=_STUDY)
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

    prepared = planning.plan(_load(file, set_), results, features)
    if json_:
        _print_json(_plan_data(prepared))
        return 0
    _table(
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
        _tell(f"warning: {warning}")
    return 0


@app.command(group=_STUDY)
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

    experiment = _load(file, set_)
    with _stdout_kept_for_data():
        tasks = grid.embed(experiment, features, executor=executor, address=address, num_cpus=num_cpus, tell=_tell)
    views = sum(len(task.keys) for task in tasks)
    print(f"{views} views embedded into {features}" if tasks else f"nothing to do: all views are in {features}")
    return 0


@app.command(group=_STUDY)
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

    experiment = _load(file, set_)
    with _stdout_kept_for_data():
        outcome = tuning.tune(
            experiment, results, features, fraction=fraction, configurations=configurations, seed=seed, out=out,
            executor=executor, address=address, num_cpus=num_cpus, tell=_tell,
        )  # fmt: skip
    if json_:
        _print_json(_tuned_data(outcome))
    else:
        _print_tuned(outcome)
    for name, reason in outcome.failed:
        _tell(f"failed: {name}: {reason}")
    if outcome.interrupted:
        return 130
    return 1 if outcome.num_problems else 0


@app.command(group=_RESULTS)
def status(results: Annotated[Path, Parameter(help="Results folder.")], *, json_: Json = False) -> int:
    """Print the state of every trial of a results folder, also while another process runs it.

    Example: `labelbench status results/quickstart`
    """
    from labelbench_ray.benchmark.state import Ledger

    ledger = Ledger(results)
    if not (results / "trials").is_dir():
        raise LedgerError(str(results), "no trials here", "give the folder that `labelbench run` wrote")
    rows = [(trial.trial_id, trial.description(), trial.status()) for trial in ledger.trials()]
    if json_:
        _print_json(
            [
                {"trial": name, "kind": told.get("kind"), "labels": told.get("labels", {}), **asdict(state)}
                for name, told, state in rows
            ]
        )
        return 0
    _table(
        ["trial", "kind", "trainer", "strategy", "seed", "rounds", "state", "error"],
        [
            [
                name,
                told.get("kind"),
                *(told.get("labels", {}).get(part) for part in ("trainer", "strategy")),
                told.get("seed"),
                state.finished_rounds,
                state.state,
                state.error,
            ]
            for name, told, state in rows
        ],
    )
    return 0


@app.command(group=_RESULTS)
def report(
    results: Annotated[Path, Parameter(help="Results folder.")],
    *,
    out: Annotated[Path | None, Parameter(help="Folder for the report. Default: the results folder.")] = None,
    json_: Json = False,
) -> int:
    """Write the report: one self-contained HTML page, CSV tables and a figure.

    Example: `labelbench report results/quickstart`
    """
    from labelbench_ray.api import grid

    files = grid.report(results, out)
    if json_:
        _print_json(asdict(files))
    else:
        print("\n".join(str(path) for path in asdict(files).values()))
    return 0


@app.command(group=_RESULTS)
def sync(file: File, *, set_: Set = None, results: Results = None) -> int:
    """Bring MLflow up to date with the results folder. Doing it twice changes nothing.

    Example: `labelbench sync experiments/quickstart.yaml --set tracking.mlflow=http://localhost:5000`
    """
    from labelbench_ray.api import grid

    print(f"{grid.sync(_load(file, set_), results)} trials are in MLflow")
    return 0


@app.command(group=_RESULTS)
def ui(
    where: Annotated[str, Parameter(help="Results folder, or the address of an MLflow server.")],
    *,
    host: Annotated[str, Parameter(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, Parameter(help="Port to listen on.")] = 5000,
) -> int:
    """Serve a results folder's MLflow pages until Ctrl-C, and print where to look.

    Example: `labelbench ui results/quickstart`
    """
    from labelbench_ray.tracking.ui import serve_ui

    serve_ui(where, host=host, port=port)
    return 0


@app.command(name="list", group=_LOOK)
def list_(
    kind: Annotated[str | None, Parameter(help="dataset, encoder, trainer, ...")] = None, *, json_: Json = False
) -> int:
    """Print the names of all data sets, encoders, trainers, algorithms, strategies, oracles, presets and metrics.

    Example: `labelbench list strategy`
    """
    from labelbench_ray.api import catalogue

    found = catalogue.list_names(kind)
    if json_:
        _print_json(found)
    elif kind:
        print("\n".join(found[kind]))
    else:
        for each, names in found.items():
            print(f"{each}: {', '.join(names)}")
    return 0


@app.command(group=_LOOK)
def show(
    kind: Annotated[str, Parameter(help="dataset, encoder, trainer, ...")],
    name: Annotated[str, Parameter(help="A name from `labelbench list KIND`.")],
    *,
    json_: Json = False,
) -> int:
    """Print what a thing is, its parameters and their defaults.

    Example: `labelbench show strategy galaxy`
    """
    from labelbench_ray.api import catalogue

    told = catalogue.show(kind, name)
    if json_:
        _print_json(told)
        return 0
    print(f"{kind} {name}\n\n{told.pop('description', '')}\n")
    parameters = told.pop("parameters", [])
    if parameters:
        _table(["parameter", "type", "default"], [[one["name"], one["type"], one["default"]] for one in parameters])
    for key, value in told.items():
        if isinstance(value, dict):
            print(_yaml({key: value}))
        elif key not in {"kind", "name"}:
            print(f"{key}: {', '.join(value) or 'nothing' if isinstance(value, list) else value}")
    return 0


@app.command(group=_LOOK)
def validate(
    kind: Annotated[str, Parameter(help="experiment, or a kind from `labelbench list`.")],
    target: Annotated[str, Parameter(help="Path of an experiment file, or a name.")],
) -> int:
    """Check that an experiment file is right and its data is there, or that a plug-in can be built.

    Example: `labelbench validate experiment experiments/quickstart.yaml`
    """
    from labelbench_ray.api import catalogue

    told = catalogue.validate(kind, target)
    if told.get("required"):
        print(f"{kind} {told['name']} is there; it needs {', '.join(told['required'])}: check it in an experiment file")
    else:
        print(f"{kind} {told['name']} is valid" + (f": {told['trials']} trials" if "trials" in told else ""))
    return 0


@app.command(group=_LOOK)
def doctor(*, json_: Json = False) -> int:
    """Check that this machine is ready: matching packages, leftovers of crashed clusters, disk, GPU.

    Example: `labelbench doctor`
    """
    from labelbench_ray.api.doctor import doctor as examine

    checks = examine()
    if json_:
        _print_json([asdict(check) for check in checks])
    else:
        _table(["check", "verdict", ""], [[check.name, check.verdict, check.told] for check in checks])
    return 3 if any(check.verdict == "problem" for check in checks) else 0


def main(arguments: list[str] | None = None) -> None:
    """Entry point: user errors end in one line and their exit code; ``--debug`` shows the trace."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    try:
        code = app(words, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        code = 2
    except LabelBenchError as error:
        if debug:
            traceback.print_exc()
        print(f"error: {error}", file=sys.stderr)
        code = error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        code = 130
    except BrokenPipeError:
        sys.stderr.close()
        code = 0
    raise SystemExit(code if isinstance(code, int) else 0)


@contextlib.contextmanager
def _stdout_kept_for_data() -> Iterator[None]:
    """Whatever Ray's own processes and native code print goes to stderr, so that ``--json`` stays JSON."""
    sys.stdout.flush()
    kept = os.dup(1)
    try:
        os.dup2(2, 1)
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def _load(file: Path, overrides: list[str] | None) -> Any:
    from labelbench_ray.config import Experiment

    return Experiment.load(file, overrides or [])


def _print_tuned(outcome: Any, num_shown: int = 5) -> None:
    shown = outcome.ranking[:num_shown]
    _table(
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
        _table(
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


def _table(head: list[str], rows: list[list[Any]]) -> None:
    cells = [head, *[["" if cell is None else str(cell) for cell in row] for row in rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    for row in cells:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _tell(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def _yaml(data: dict[str, Any]) -> str:
    import yaml

    return str(yaml.safe_dump(data, sort_keys=False)).rstrip()


def _print_json(data: Any) -> None:
    print(json.dumps(data, indent=1, default=str))


if __name__ == "__main__":
    main()
