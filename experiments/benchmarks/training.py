"""Times training, embedding and whole rounds, each beside what it replaces, in one run on one machine.

python experiments/benchmarks/training.py --smoke --json results/training.json
python experiments/benchmarks/training.py --labelbench-src LABELBENCH --seeds 10

README.md beside this file says what is measured and how to read the table.
"""

import argparse
import importlib
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from command_line import INTERRUPTED, USAGE_ERROR, OneLineParser, command, count, prepare_processes
from table import write
from training_rows import Row, Settings
from training_table import SECTION, flat, markdown

MODULES = {
    "proxy": "training_proxy",
    "update": "training_state",
    "round": "training_round",
    "embedding": "training_embedding",
    "end_to_end": "training_end_to_end",
    "gpu": "training_gpu",
}
"""Groups of rows by the names that ``--rows`` takes, and who measures them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is asked for. Returns the exit status: 1 if a measurement failed."""
    try:
        told = parser().parse_args(arguments)
        return _run(told, sys.argv[1:] if arguments is None else arguments)
    except KeyboardInterrupt:
        print("training.py: interrupted; the JSON file has the groups that were finished", file=sys.stderr)
        return INTERRUPTED
    except OSError as error:
        print(f"training.py: {error}", file=sys.stderr)
        return USAGE_ERROR


def parser() -> argparse.ArgumentParser:
    """All flags."""
    made = OneLineParser(prog="training.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--smoke", action="store_true", help="the first row at its size, the others tiny: seconds")
    made.add_argument("--rows", nargs="+", choices=list(MODULES), default=list(MODULES), help="only these groups")
    made.add_argument("--labelbench-src", type=_checkout, metavar="DIR", help="checkout of LabelBench, commit 9e23393")
    made.add_argument("--features", type=_file, metavar="FILE.npz", help="real vectors in place of a mixture")
    made.add_argument("--repeats", type=count, metavar="R", help="turns of each contestant: 3, in the smoke run 1")
    made.add_argument("--seeds", type=count, default=1, metavar="S", help="paired seeds: as many turns at least")
    made.add_argument(
        "--pools", type=Path, metavar="DIR", default=Path(tempfile.gettempdir()) / "labelbench-pools", help="kept files"
    )
    made.add_argument("--json", type=Path, metavar="FILE", default=Path("results/training.json"), help="all figures")
    made.add_argument("--markdown", type=Path, metavar="FILE", help="the table, into a page's marked section")
    return made


def _run(told: argparse.Namespace, arguments: Sequence[str]) -> int:
    from measure import elsewhere

    for folder in (told.pools, told.json.parent):
        folder.mkdir(parents=True, exist_ok=True)
    prepare_processes(preload=["training_contestants"])
    settings = _settings(told)
    about = _about(told, arguments)
    print(f"{about['machine']['processor']}; Gflop/s on one thread: {about['machine']['gflops']}", file=sys.stderr)
    rows: list[Row] = []
    for group in told.rows:
        print(f"{group} ...", file=sys.stderr, flush=True)
        # The proxy's contestants have processes of their own, which only this one can start.
        rows += measured(group, settings) if group == "proxy" else elsewhere(measured, group, settings)
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


def _settings(told: argparse.Namespace) -> Settings:
    return Settings(
        smoke=told.smoke,
        repeats=told.repeats or (1 if told.smoke else 3),
        seeds=told.seeds,
        folder=told.pools,
        labelbench=told.labelbench_src,
        features=told.features,
    )


def _about(told: argparse.Namespace, arguments: Sequence[str]) -> dict[str, Any]:
    from labelbench import verified
    from machine import description
    from measure import elsewhere
    from training_published import BLOBS

    return {
        "command": command("training.py", arguments),
        "smoke": told.smoke,
        "machine": elsewhere(description),
        "labelbench": verified(told.labelbench_src, BLOBS) if told.labelbench_src else "",
    }


def _checkout(told: str) -> Path:
    if not Path(told).is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {told}")
    if not Path(told, "LabelBench", "trainer").is_dir():
        raise argparse.ArgumentTypeError(f"{told} is no checkout of LabelBench: it has no folder LabelBench/trainer")
    return Path(told)


def _file(told: str) -> Path:
    if not Path(told).is_file():
        raise argparse.ArgumentTypeError(f"there is no file {told}")
    return Path(told)


if __name__ == "__main__":
    sys.exit(main())
