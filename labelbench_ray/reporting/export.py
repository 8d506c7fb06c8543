"""A ledger's rows in one file: to publish beside a paper, to read elsewhere, to report on without the folder."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labelbench_ray.benchmark.results import ROW_SCHEMA, check_schema
from labelbench_ray.benchmark.state import TrialStatus
from labelbench_ray.errors import LedgerError, NoResultsError, SpecError
from labelbench_ray.identity import digest
from labelbench_ray.registry import did_you_mean
from labelbench_ray.reporting.comparisons import Evidence, TrialRecord, read_evidence
from labelbench_ray.reporting.measures import SCORED_SPLITS, listed
from labelbench_ray.storage.place import Where

if TYPE_CHECKING:
    import pandas as pd

SUFFIX = ".parquet"
"""Of the files that a report can be made from: the others have no room for what a trial is."""
IDENTITY, STATE = "identity", "state"
"""Columns of such a file after the ledger's: what the trial's id is the digest of, as JSON, without any path; and
whether the trial was done."""


def is_export(results: Where) -> bool:
    """Whether a report should be made from a file rather than from a results folder."""
    return isinstance(results, str | Path) and str(results).endswith(SUFFIX)


def write_export(results: Where, file: Path, measures: Sequence[str] = ()) -> int:
    """Write all rows, or those of ``measures`` such as ``test/accuracy``; returns how many.

    Raises SpecError for a suffix or a measure that is not known, LedgerError or NoResultsError as a report does.
    """
    if file.suffix not in _WRITERS or ":" in file.parts[0]:
        raise SpecError("FILE", f"must be a local file that ends in {', '.join(_WRITERS)}, got {file}")
    evidence = read_export(Path(str(results))) if is_export(results) else read_evidence(results)
    rows = _only(evidence.rows, measures)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        _WRITERS[file.suffix](rows, evidence, file)
    except OSError as error:
        what = f"cannot be written ({error.strerror or error})"
        raise LedgerError(str(file), what, "free space, or choose another file") from None
    return len(rows)


def read_export(file: Path) -> Evidence:
    """What a report needs. Raises NoResultsError when there is no such file, LedgerError when it was not exported."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not file.is_file():
        raise NoResultsError(str(file), "there is no such file", "")
    try:
        table = pq.read_table(file)
        told = table.select(["trial", IDENTITY, STATE]).to_pandas().drop_duplicates("trial")
    except (KeyError, OSError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise LedgerError(str(file), f"is no exported file ({reason})", "write it with `labelbench export`") from None
    rows = check_schema(table, ROW_SCHEMA, str(file)).to_pandas()
    lacking = [name for name in rows if name != "value" and rows[name].isna().any()]
    if lacking:
        raise LedgerError(str(file), f"has rows without {listed(lacking)}", "export it again")
    if not rows["split"].isin(SCORED_SPLITS).any():
        raise LedgerError(str(file), "holds no score", "export it again with a measure such as test/accuracy")
    rounds = rows.groupby("trial")["round"].nunique()
    try:
        identities = [_identity(text) for text in told[IDENTITY]]
    except (TypeError, ValueError) as error:
        raise LedgerError(str(file), f"has an identity that is not JSON ({error})", "export it again") from None
    states = zip(told["trial"], told[STATE], identities, strict=True)
    trials = (
        TrialRecord(trial, TrialStatus(state, int(rounds[trial])), {"identity": identity})
        for trial, state, identity in states
    )
    return Evidence(rows, tuple(trials))


def _identity(text: str) -> Any:
    """Raises ValueError for what is not JSON, as NaN is not."""
    identity = json.loads(text)
    digest(identity)
    return identity


def _only(rows: "pd.DataFrame", measures: Sequence[str]) -> "pd.DataFrame":
    named = rows["split"] + "/" + rows["metric"]
    known = sorted(named.unique())
    for measure in measures:
        if measure not in known:
            told = f"nothing was measured as {measure!r}.{did_you_mean(measure, known)} There are {', '.join(known)}"
            raise SpecError("--measure", told)
    return rows[named.isin(measures)] if measures else rows


def _write_parquet(rows: "pd.DataFrame", evidence: Evidence, file: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    identities = {record.trial: json.dumps(record.identity, sort_keys=True) for record in evidence.trials}
    states = {record.trial: record.status.state for record in evidence.trials}
    table = pa.Table.from_pandas(rows, schema=ROW_SCHEMA, preserve_index=False).replace_schema_metadata(
        ROW_SCHEMA.metadata
    )
    for name, of_trial in ((IDENTITY, identities), (STATE, states)):
        table = table.append_column(name, pa.array(rows["trial"].map(of_trial), pa.string()))
    pq.write_table(table, file, compression="zstd")


def _write_csv(rows: "pd.DataFrame", evidence: Evidence, file: Path) -> None:
    rows.to_csv(file, index=False)


def _write_json(rows: "pd.DataFrame", evidence: Evidence, file: Path) -> None:
    rows.to_json(file, orient="records", lines=True, double_precision=15)


_WRITERS: dict[str, Callable[["pd.DataFrame", Evidence, Path], None]] = {
    SUFFIX: _write_parquet,
    ".csv": _write_csv,
    ".jsonl": _write_json,
}
