"""Can this grid ever be scheduled, and how much of it at a time? Worked out before anything starts, without Ray.

A *unit* is what one trial occupies while it runs: a list of bundles, each of which must fit on one node. A node is a
mapping of resource names to amounts. Ray waits for ever for what no node can hold, so such a grid is refused here.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from labelbench_ray.config import Resources, Selection
from labelbench_ray.errors import UnschedulableError
from labelbench_ray.trainers.blend import trainers_of
from labelbench_ray.types import TrialKind

Bundle = Mapping[str, float]
Node = Mapping[str, float]

Layout = Literal["inline", "sharded", "coordinated"]
"""inline: everything in the trial's process. sharded: selection workers in the trial's own placement group.
coordinated: the trial holds no CPU and launches a group of training workers (a trial that held one could wait for its
own CPU for ever). A blend starts its group in the rounds that need it; in the others the trial's process trains on the
CPUs that were counted for the group, which is not there then."""


@dataclass(frozen=True)
class Unit:
    """What one trial needs at the same time."""

    layout: Layout
    trial: Bundle
    workers: tuple[Bundle, ...] = ()

    @property
    def bundles(self) -> list[Bundle]:
        """All bundles, the trial's first; a coordinator's own is empty."""
        return [bundle for bundle in (self.trial, *self.workers) if bundle]


def unit_of(trainer: Any, kind: TrialKind, selection: Selection, resources: Resources) -> Unit:
    """The unit of one trial with this trainer."""
    worker: dict[str, float] = {"CPU": resources.train_worker_cpus}
    own: dict[str, float] = {"CPU": resources.cpus}
    if resources.gpus:
        worker["GPU"] = own["GPU"] = resources.gpus
    actor: dict[str, float] = {"CPU": selection.cpus_per_actor}
    actors = (actor,) * selection.num_actors if kind == "selection" and selection.through == "actors" else ()
    if group := group_size(trainer):
        return Unit("coordinated", {}, (worker,) * group + actors)
    return Unit("sharded", own, actors) if actors else Unit("inline", own)


def embed_unit(resources: Resources) -> Unit:
    """The unit of one embedding actor."""
    return Unit("inline", {"CPU": 1.0, "GPU": 1.0} if resources.kind == "cuda" else {"CPU": 1.0})


def group_size(trainer: Any) -> int:
    """Workers of the largest group that a round of a trial starts through Ray Train; 0 where no round starts one."""
    launching = [one for one in trainers_of(trainer) if getattr(one, "through", "inline") == "ray_train"]
    return max((int(getattr(one, "num_workers", 1)) for one in launching), default=0)


def pack(units: Iterable[Unit], nodes: Sequence[Node]) -> bool:
    """Whether the units fit on the nodes at the same time (first fit, largest bundle first)."""
    free = [dict(node) for node in nodes]
    bundles = sorted((bundle for unit in units for bundle in unit.bundles), key=lambda b: -sum(b.values()))
    for bundle in bundles:
        for node in free:
            if all(node.get(name, 0.0) + 1e-9 >= amount for name, amount in bundle.items()):
                for name, amount in bundle.items():
                    node[name] -= amount
                break
        else:
            return False
    return True


def concurrency(unit: Unit, nodes: Sequence[Node], limit: int | None = None) -> int:
    """How many such trials run at a time on these nodes: at least 1 if one fits, at most ``limit``."""
    most = limit or 10_000
    count = 0
    while count < most and pack([unit] * (count + 1), nodes):
        count += 1
    return count


def check_schedulable(unit: Unit, nodes: Sequence[Node]) -> None:
    """Raises UnschedulableError, naming the resource, when one trial could never run even alone."""
    if pack([unit], nodes):
        return
    for bundle in unit.bundles:
        if not pack([Unit("inline", bundle)], nodes):
            raise UnschedulableError(
                f"one {'worker' if bundle in unit.workers else 'trial'} needs {_told(bundle)}",
                f"the largest node has {_told(_largest(nodes, bundle))}",
                "lower `resources` or `selection.cpus_per_actor`, or use larger nodes",
            )
    raise UnschedulableError(
        f"one trial needs {len(unit.bundles)} bundles at a time ({_told(_total(unit.bundles))})",
        f"the {len(nodes)} node(s) together have {_told(_total(nodes))}",
        "lower `selection.actors` or `trainer.num_workers`, or add nodes",
    )


def _largest(nodes: Sequence[Node], bundle: Bundle) -> Node:
    shown = [{name: node.get(name, 0.0) for name in bundle} for node in nodes]
    return max(shown, key=lambda node: sum(node.values()), default=dict.fromkeys(bundle, 0.0))


def _total(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    names = [name for name in ("CPU", "GPU") if any(name in part for part in parts)]
    return {name: sum(part.get(name, 0.0) for part in parts) for name in names}


def _told(amounts: Mapping[str, float]) -> str:
    return ", ".join(f"{amount:g} {name}" for name, amount in amounts.items()) or "nothing"
