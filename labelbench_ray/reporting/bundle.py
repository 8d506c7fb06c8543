"""A study's results as a folder that others can check: all rows, the file that asked for them, and digests of both.

    BUNDLE/bundle.json       who signed off what, when, with which versions, and the SHA-256 of the other files
    BUNDLE/rows.parquet      what ``labelbench export`` writes
    BUNDLE/experiment.yaml   the experiment file, comments and all

A trial's id is the digest of everything that can change its numbers, so that rows cannot pass for those of another
trial unseen; whether they are the rows of this one, running it again tells.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

from labelbench_ray.benchmark.results import COST
from labelbench_ray.errors import LedgerError, NoBundleError, SpecError
from labelbench_ray.identity import digest
from labelbench_ray.reporting.comparisons import Evidence, TrialRecord, read_evidence
from labelbench_ray.reporting.export import read_export, write_export
from labelbench_ray.reporting.measures import count, listed
from labelbench_ray.storage.place import Where

if TYPE_CHECKING:
    import pandas as pd

MANIFEST, ROWS, EXPERIMENT = "bundle.json", "rows.parquet", "experiment.yaml"
FORMAT = 1
_TOLD = {"name": str, "signed_off_by": str, "signed_off_at": str, "trials": int, "sha256": dict}
ROUNDING = 1e-3
"""Between kinds of machine the same trial may differ; scores further apart than this are told as another result."""


@dataclass(frozen=True)
class Rerun:
    """Trials of a bundle that were run again."""

    equal: tuple[str, ...]
    """Trials with the very same rows, costs aside, and the same sets bought."""
    close: Mapping[str, float]
    """Trials of another numeric class with the same sets, and how far apart their scores are at most."""
    different: Mapping[str, str]
    """Trials that are not the same, and the first thing that differs."""

    @property
    def verdict(self) -> str:
        """One sentence."""
        number = len(self.equal) + len(self.close) + len(self.different)
        parts = [f"{len(self.equal)} equal in every number"]
        if self.close:
            parts.append(f"{len(self.close)} equal but for rounding (at most {max(self.close.values()):.1g})")
        if self.different:
            parts.append(f"{len(self.different)} different")
        return f"{count(number, 'trial')} run again: {listed(parts)}"


def write_bundle(results: Where, experiment: Path, bundle: Path, signed_off_by: str) -> dict[str, Any]:
    """Write a bundle of finished results; returns what its manifest says.

    Raises SpecError for a folder that holds something else or an empty signature, LedgerError for trials not done.
    """
    if not signed_off_by.strip():
        raise SpecError("--signed-off-by", "is empty; write who answers for these numbers")
    if bundle.exists() and (not bundle.is_dir() or any(bundle.iterdir())):
        raise SpecError("BUNDLE", f"{bundle} is there already; choose another folder, or remove it")
    evidence = read_evidence(results)
    _check_is_of(experiment, evidence)
    undone = [record.trial for record in evidence.trials if record.status.state != "done"]
    if undone:
        told = f"{count(len(undone), 'trial')} of {len(evidence.trials)} not done, such as {undone[0]}"
        raise LedgerError(str(results), told, "run the grid to its end first, or choose a folder of its own")
    bundle.mkdir(parents=True, exist_ok=True)
    write_export(results, bundle / ROWS)
    shutil.copyfile(experiment, bundle / EXPERIMENT)
    manifest = {
        "format": FORMAT,
        "name": experiment.stem,
        "signed_off_by": signed_off_by.strip(),
        "signed_off_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "trials": len(evidence.trials),
        "numeric_classes": sorted(evidence.rows["numeric_class"].unique()),
        "versions": _versions(evidence),
        "sha256": {name: _sha256(bundle / name) for name in (ROWS, EXPERIMENT)},
    }
    (bundle / MANIFEST).write_text(json.dumps(manifest, indent=2, sort_keys=True) + "\n")
    return manifest


def _check_is_of(experiment: Path, evidence: Evidence) -> None:
    """Raises SpecError unless the file is the one that the trials were run from, by its name, and of use elsewhere."""
    import yaml

    try:
        told = yaml.safe_load(experiment.read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise SpecError(str(experiment), f"cannot be read ({error}); give the experiment file") from None
    if path := next(_paths_of_machine(told), ""):
        advice = "nobody else has it: write ${NAME} and set NAME in the environment; the trials stay the same"
        raise SpecError(str(experiment), f"names {path}, a path of this machine; {advice}")
    name = told.get("name") if isinstance(told, dict) else None
    ran = sorted({str(record.description.get("experiment")) for record in evidence.trials if record.description})
    if ran and name not in ran:
        raise SpecError(str(experiment), f"is of {name!r}, but the trials were run by {listed(ran)}; give that file")


def _paths_of_machine(told: Any) -> Iterator[str]:
    """Absolute paths among the values of a file."""
    if isinstance(told, str) and (told.startswith("~") or any(kind(told).is_absolute() for kind in _PATHS)):
        yield told
    elif isinstance(told, Mapping | list):
        for value in told.values() if isinstance(told, Mapping) else told:
            yield from _paths_of_machine(value)


_PATHS = (PurePosixPath, PureWindowsPath)


def read_manifest(bundle: Path) -> dict[str, Any]:
    """Raises NoBundleError for a folder that is no bundle, LedgerError for one of another version or shape."""
    try:
        manifest = json.loads((bundle / MANIFEST).read_text())
    except (FileNotFoundError, NotADirectoryError):
        raise NoBundleError(str(bundle), f"there is no {MANIFEST}") from None
    except ValueError as error:
        raise LedgerError(f"{bundle}/{MANIFEST}", f"is not JSON ({error})", "get the bundle again") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        found = manifest.get("format") if isinstance(manifest, dict) else None
        raise LedgerError(f"{bundle}/{MANIFEST}", f"is of format {found}", f"this version reads format {FORMAT}")
    wrong = [name for name, kind in _TOLD.items() if not isinstance(manifest.get(name), kind)]
    if wrong:
        raise LedgerError(f"{bundle}/{MANIFEST}", f"does not tell {listed(wrong)}", "get the bundle again")
    return manifest


def check_bundle(bundle: Path) -> list[str]:
    """What is wrong with a bundle, a line each; none where its files are those that were signed off, and whole."""
    manifest = read_manifest(bundle)
    wrong = []
    for name, expected in sorted(manifest["sha256"].items()):
        if name not in (ROWS, EXPERIMENT):
            wrong.append(f"{name!r} is no file of a bundle")
        elif not (bundle / name).is_file():
            wrong.append(f"{name} is missing")
        elif _sha256(bundle / name) != expected:
            wrong.append(f"{name} is not the file that was signed off")
    if {ROWS, EXPERIMENT} - set(manifest["sha256"]):
        wrong.append("not every file has a digest")
    return wrong or _check_rows(read_export(bundle / ROWS), manifest["trials"])


def _check_rows(evidence: Evidence, num_trials: int) -> list[str]:
    wrong = []
    if len(evidence.trials) != num_trials:
        wrong.append(f"rows of {count(len(evidence.trials), 'trial')}, not of {num_trials}")
    last = evidence.rows.groupby("trial")["round"].max()
    for record in evidence.trials:
        if digest(record.identity) != record.trial:
            wrong.append(f"trial {record.trial} is not what its identity says")
        elif not last[record.trial] + 1 == record.status.finished_rounds == _asked_rounds(record):
            wrong.append(f"trial {record.trial} lacks a round")
    return wrong


def _asked_rounds(record: TrialRecord) -> Any:
    schedule = record.identity.get("schedule")
    return schedule.get("rounds") if isinstance(schedule, Mapping) else 1  # an evaluation


def compare_rerun(bundle: Path, results: Where) -> Rerun:
    """Trials that both have, compared: rows but costs, and digests of the sets that were bought.

    Raises LedgerError where they have none in common.
    """
    theirs, ours = (_by_trial(one.rows) for one in (read_export(bundle / ROWS), read_evidence(results)))
    common = sorted(theirs.keys() & ours.keys())
    if not common:
        told = "none of the trials that were run again is in the bundle"
        raise LedgerError(
            str(bundle), told, "give the data that it was made with, and change nothing but which trials run"
        )
    equal, close, different = [], {}, {}
    for trial in common:
        apart, what = _apart(theirs[trial], ours[trial])
        if what:
            different[trial] = what
        elif apart == 0:
            equal.append(trial)
        else:
            close[trial] = apart
    return Rerun(tuple(equal), close, different)


_KEYS = ["round", "split", "metric"]


def _by_trial(rows: "pd.DataFrame") -> "dict[str, pd.DataFrame]":
    scores = rows[rows["split"] != COST].set_index(_KEYS).sort_index()
    return {str(trial): part for trial, part in scores.groupby("trial")}


def _apart(theirs: "pd.DataFrame", ours: "pd.DataFrame") -> tuple[float, str]:
    """The largest difference of a score, and what is not the same at all: rows, sets, or scores on equal machines."""
    if not theirs.index.equals(ours.index):
        return 0.0, "other rounds or metrics"
    if (other := theirs["bought"] != ours["bought"]).any():
        return 0.0, f"another set from round {theirs.index[other][0][0]} on"
    unknown = theirs["value"].isna() & ours["value"].isna()
    gaps = (theirs["value"] - ours["value"]).abs().fillna(float("inf")).mask(unknown, 0.0)
    one_kind = set(theirs["numeric_class"]) == set(ours["numeric_class"])
    if gaps.max() > (0.0 if one_kind else ROUNDING):
        where = gaps.idxmax()
        return float(gaps.max()), f"{where[1]} {where[2]} of round {where[0]} by {gaps.max():.3g}"
    return float(gaps.max()), ""


def _versions(evidence: Evidence) -> dict[str, str]:
    found: dict[str, set[str]] = {}
    for record in evidence.trials:
        versions = record.description.get("versions")
        for name, version in (versions if isinstance(versions, Mapping) else {}).items():
            found.setdefault(str(name), set()).add(str(version))
    return {name: " or ".join(sorted(versions)) for name, versions in sorted(found.items())}


def _sha256(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()
