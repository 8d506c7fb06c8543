"""The training benchmark's report: a flat object for programs, and a table for people."""

from collections.abc import Mapping, Sequence
from typing import Any

from table import heading, rounded, table
from training_rows import Row

SECTION = "training"
"""Of the page that the table goes into."""


def flat(about: Mapping[str, Any], rows: Sequence[Row]) -> dict[str, Any]:
    """Every figure by its key, why others have none, and where all of it was measured."""
    told: dict[str, Any] = {row.key: row.value for row in rows}
    told |= {f"{row.key}_wanted": row.wanted for row in rows if row.wanted is not None}
    told |= {f"{row.key}_skipped": row.skipped for row in rows if row.skipped}
    told |= {f"{row.key}_failed": row.failed for row in rows if row.failed}
    for row in rows:
        told |= row.more
    machine = about["machine"]
    told |= {name: about[name] for name in ("command", "labelbench", "smoke")}
    told |= {name: machine[name] for name in ("date", "processor", "cores", "memory_gib")}
    told |= {f"version_{name}": number for name, number in machine["versions"].items()}
    return told | {f"gflops_{name.replace(' ', '_')}": rate for name, rate in machine["gflops"].items()}


def markdown(about: Mapping[str, Any], rows: Sequence[Row]) -> str:
    """Where it was measured, and a line for each figure."""
    lines = table(
        ["what", "measured", "wanted", "reached", "details"],
        [
            [row.what, _value(row), _wanted(row), _reached(row), row.details or row.skipped or row.failed]
            for row in rows
        ],
    )
    return "\n".join([heading(about), "", *lines]) + "\n"


def _value(row: Row) -> str:
    if row.value is None:
        return "failed" if row.failed else "skipped"
    return _with_unit(row.value, row.unit)


def _wanted(row: Row) -> str:
    if row.wanted is None:
        return "–"
    least = "at least" if row.more_is_better else "at most"
    return f"{least} {_with_unit(row.wanted, row.unit)}"


def _reached(row: Row) -> str:
    return {None: "–", True: "yes", False: "no"}[row.reached]


def _with_unit(value: float, unit: str) -> str:
    told = f"{value:.3f}" if unit == "share" else rounded(value)
    return told + {"x": "x", "s": " s", "ms": " ms"}.get(unit, "")
