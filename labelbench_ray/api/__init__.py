"""Everything the command line does, as functions."""

from labelbench_ray.api.catalogue import KINDS, list_names, show, validate
from labelbench_ray.api.doctor import Check, doctor
from labelbench_ray.api.grid import Plan, PlannedTrial, RunOutcome, default_results, embed, plan, report, run, sync

__all__ = [
    "KINDS",
    "Check",
    "Plan",
    "PlannedTrial",
    "RunOutcome",
    "default_results",
    "doctor",
    "embed",
    "list_names",
    "plan",
    "report",
    "run",
    "show",
    "sync",
    "validate",
]
