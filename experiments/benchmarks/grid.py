"""Measures the grid engine: what a trial costs beside its work, what a finished grid costs again, and what survives.

python experiments/benchmarks/grid.py --smoke --json results/grid.json
python experiments/benchmarks/grid.py --rows chaos --seed 1

README.md beside this file says what is measured and how to read the table.
"""

import argparse
import importlib
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from command_line import INTERRUPTED, USAGE_ERROR, OneLineParser, command, count, prepare_processes
from grid_study import Settings
from table import write
from training_rows import Row
from training_table import flat, markdown

SECTION = "grid"
"""Of the page that the table goes into."""

MODULES = {"overhead": "grid_overhead", "chaos": "grid_chaos"}
"""Groups of rows by the names that ``--rows`` takes, and who measures them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is asked for. Returns the exit status: 1 if a measurement failed."""
    try:
        told = parser().parse_args(arguments)
        return _run(told, sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:
        print("grid.py: interrupted; the JSON file has the groups that were finished", file=sys.stderr)
        return INTERRUPTED
    except OSError as error:
        print(f"grid.py: {error}", file=sys.stderr)
        return USAGE_ERROR


def parser() -> argparse.ArgumentParser:
    """All flags."""
    made = OneLineParser(prog="grid.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--smoke", action="store_true", help="tiny grids and one kill: under a minute")
    made.add_argument("--rows", nargs="+", choices=list(MODULES), default=list(MODULES), help="only these groups")
    made.add_argument("--trials", type=count, default=1000, metavar="N", help="of the overhead and the resume")
    made.add_argument("--seconds", type=float, default=0.5, metavar="S", help="work of each of them")
    made.add_argument("--busy", action="store_true", help="the work computes, in place of waiting as for a GPU")
    made.add_argument("--cpus", type=count, default=os.cpu_count() or 1, metavar="N", help="trials at a time")
    made.add_argument("--seed", type=int, default=0, help="of the chaos: who is killed, and when")
    made.add_argument("--short", action="store_true", help="the chaos that CI does, in about a minute")
    made.add_argument(
        "--folder", type=Path, metavar="DIR", default=Path(tempfile.gettempdir()) / "labelbench-grid", help="of studies"
    )
    made.add_argument("--json", type=Path, metavar="FILE", default=Path("results/grid.json"), help="all figures")
    made.add_argument("--markdown", type=Path, metavar="FILE", help="the table, into a page's marked section")
    return made


def _run(told: argparse.Namespace, arguments: Sequence[str]) -> int:
    for folder in (told.folder, told.json.parent):
        folder.mkdir(parents=True, exist_ok=True)
    prepare_processes(preload=[])
    settings = Settings(
        smoke=told.smoke,
        short=told.short,
        folder=told.folder.resolve(),
        trials=told.trials,
        seconds=told.seconds,
        busy=told.busy,
        cpus=told.cpus,
        seed=told.seed,
    )
    about = _about(told, arguments)
    rows: list[Row] = []
    for group in told.rows:
        print(f"{group} ...", file=sys.stderr, flush=True)
        rows += measured(group, settings)
        told.json.write_text(json.dumps(flat(about, rows), indent=1) + "\n")
    text = markdown(about, rows)
    print(text)
    if told.markdown:
        write(told.markdown, text, SECTION)
    return 1 if any(row.failed for row in rows) else 0


def measured(group: str, settings: Settings) -> list[Row]:
    """The rows of a group; an error is a row that tells it."""
    try:
        rows: list[Row] = importlib.import_module(MODULES[group]).rows(settings)
    except Exception as error:
        why = f"{type(error).__name__}: {error}".splitlines()[0]
        return [Row(key=group, what=f"the rows of {group}", unit="", failed=why)]
    return rows


def _about(told: argparse.Namespace, arguments: Sequence[str]) -> dict[str, Any]:
    from machine import description
    from measure import elsewhere

    return {
        "command": command("grid.py", arguments),
        "smoke": told.smoke,
        "machine": elsewhere(description),
        "labelbench": "",
    }


if __name__ == "__main__":
    sys.exit(main())
