"""Commands for results that others should trust: publish, verify, leaderboard."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from labelbench_ray.cli.app import (
    DEFAULT_FEATURES,
    RESULTS,
    Executor,
    Features,
    File,
    Folder,
    Json,
    Set,
    app,
    print_json,
    tell,
)


@app.command(group=RESULTS)
def publish(
    results: Folder,
    file: File,
    bundle: Annotated[Path, Parameter(help="Folder to write.")],
    *,
    signed_off_by: Annotated[str, Parameter(help="Who answers for these numbers: a name, and where to ask.")],
    json_: Json = False,
) -> int:
    """Write finished results as a bundle that others can check: all rows, the experiment file, digests of both.

    Example: `labelbench publish results/quickstart experiments/quickstart.yaml quickstart-bundle --signed-off-by Ada`
    """
    from labelbench_ray.api import publishing

    manifest = publishing.publish(results, file, bundle, signed_off_by)
    if json_:
        print_json(manifest)
    else:
        print(f"{bundle}: {manifest['trials']} trials, signed off by {manifest['signed_off_by']}")
        print(f"others check it with `labelbench verify {bundle}`, and with --rerun by running trials again")
    return 0


@app.command(group=RESULTS)
def verify(
    bundle: Annotated[Path, Parameter(help="Folder that `labelbench publish` wrote.")],
    *,
    rerun: Annotated[
        bool,
        Parameter(help="Also run its trials again and compare; --set says which, and where data lie.", negative=""),
    ] = False,
    set_: Set = None,
    features: Features = DEFAULT_FEATURES,
    executor: Executor = "ray",
    json_: Json = False,
) -> int:
    """Check that a bundle's files are those signed off and its rows whole, and by --rerun that trials give them again.

    Ends with 0 if so, 1 if not.

    Example: `labelbench verify quickstart-bundle --rerun --set seeds=1`
    """
    from labelbench_ray.api import publishing
    from labelbench_ray.errors import SpecError
    from labelbench_ray.reporting.measures import one_line

    if set_ and not rerun:
        raise SpecError("--set", "changes what is run again; add --rerun")
    found = publishing.verify(
        bundle, rerun=(set_ or []) if rerun else None, features=features, executor=executor, tell=tell
    )
    if json_:
        print_json(
            {"manifest": found.manifest, "problems": found.problems, "rerun": found.rerun and asdict(found.rerun)}
        )
        return 0 if found.is_fine else 1
    name, who, when = (one_line(found.manifest[key]) for key in ("name", "signed_off_by", "signed_off_at"))
    print(f"{name}: {found.manifest['trials']} trials, signed off by {who} at {when}")
    for problem in found.problems:
        print(f"problem: {one_line(problem)}")
    if not found.problems:
        print("files are those that were signed off, and rows are whole")
    if found.rerun:
        print(found.rerun.verdict)
        for trial, what in found.rerun.different.items():
            print(f"different: trial {trial}: {what}")
    return 0 if found.is_fine else 1


@app.command(group=RESULTS)
def leaderboard(
    bundles: Annotated[list[Path], Parameter(help="Folders that `labelbench publish` wrote.", negative="")],
    *,
    out: Annotated[Path | None, Parameter(help="File to write: .md for tables, .csv for their numbers.")] = None,
    json_: Json = False,
) -> int:
    """Rank the strategies of bundles, those of several groups too, in one table a benchmark; all are checked first.

    A benchmark is everything that can change a number but the strategy and the seed. A star marks differences whose
    exact sign-flip test, corrected by Holm over the benchmark's strategies, has p below 0.05.

    Example: `labelbench leaderboard quickstart-bundle their-bundle --out leaderboard.md`
    """
    from labelbench_ray.api import publishing

    board = publishing.leaderboard(bundles, out)
    if json_:
        print_json(json.loads(board.standings().to_json(orient="records")))
    else:
        print(board.as_text())
    return 0
