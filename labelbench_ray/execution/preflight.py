"""Can this grid ever be scheduled, and how much of it at a time? Worked out before anything starts, without Ray.

A *unit* is what one trial occupies while it runs: a list of bundles, each of which must fit on one node. A node is a
mapping of resource names to amounts. Ray waits for ever for what no node can hold, so such a grid is refused here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from labelbench_ray.config import NodeType, Resources, Selection
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

MOST_AT_A_TIME = 10_000
GPU, MEMORY = "GPU", "memory"
SPARE = 1e-9  # sums of fractions are not exact


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
    own = resources.bundle if kind == "selection" else resources.share_of("evaluate").bundle
    spread = kind == "selection" and selection.through == "actors"
    actors = (resources.share_of("select").bundle,) * selection.num_actors if spread else ()
    if group := group_size(trainer):
        return Unit("coordinated", {}, (resources.share_of("train").bundle,) * group + actors)
    return Unit("sharded", own, actors) if actors else Unit("inline", own)


def embed_unit(resources: Resources) -> Unit:
    """The unit of one embedding actor."""
    return Unit("inline", {"CPU": 1.0, "GPU": 1.0} if resources.kind == "cuda" else {"CPU": 1.0})


def group_size(trainer: Any) -> int:
    """Workers of the largest group that a round of a trial starts through Ray Train; 0 where no round starts one."""
    launching = [one for one in trainers_of(trainer) if getattr(one, "through", "inline") == "ray_train"]
    return max((int(getattr(one, "num_workers", 1)) for one in launching), default=0)


def nodes_there_can_be(nodes: Sequence[Node], cluster: Sequence[NodeType]) -> list[Node]:
    """The nodes there are, and those that an autoscaler may still add.

    A node that runs counts as of a type where its processors and GPUs are the type's.
    """
    found = list(nodes)
    for kind in cluster:
        whole = kind.bundle
        running = sum(all(node.get(name, 0.0) == whole.get(name, 0.0) for name in ("CPU", "GPU")) for node in nodes)
        found += [whole] * max(0, kind.at_most - running)
    return found


def pack(units: Sequence[Unit], nodes: Sequence[Node]) -> bool:
    """Whether the units fit on the nodes at the same time (first fit, the largest bundle of a unit first)."""
    free = [_Free(node) for node in nodes]
    return all(_place(unit, free) for unit in units)


def concurrency(unit: Unit, nodes: Sequence[Node], limit: int | None = None) -> int:
    """How many such trials run at a time on these nodes: at least 1 if one fits, at most ``limit``."""
    free, count = [_Free(node) for node in nodes], 0
    while count < (limit or MOST_AT_A_TIME) and _place(unit, free):
        count += 1
    return count


def check_schedulable(unit: Unit, nodes: Sequence[Node]) -> None:
    """Raises UnschedulableError, naming the resource, when one trial could never run even alone."""
    if pack([unit], nodes):
        return
    for bundle in unit.bundles:
        if not pack([Unit("inline", bundle)], nodes):
            raise UnschedulableError(
                f"one {'worker' if bundle in unit.workers else 'trial'} needs {in_words(bundle)}",
                f"the largest node there can be has {in_words(_largest(nodes, bundle))}",
                "lower `resources`, use larger nodes, or say in `cluster` which an autoscaler may add",
            )
    raise UnschedulableError(
        f"one trial needs {len(unit.bundles)} bundles at a time ({in_words(_total(unit.bundles))})",
        f"the {len(nodes)} node(s) there can be have {in_words(_total(nodes))} together",
        "lower `selection.actors` or `trainer.num_workers`, or add nodes",
    )


def in_words(amounts: Bundle) -> str:
    """Amounts for people, memory in GiB."""
    told = [f"{n / 2**30:.3g} GiB memory" if name == MEMORY else f"{n:g} {name}" for name, n in amounts.items()]
    return ", ".join(told) or "nothing"


def _place(unit: Unit, free: Sequence["_Free"]) -> bool:
    """Take what the unit needs from the nodes; whether there was enough."""
    return all(any(node.take(bundle) for node in free) for bundle in sorted(unit.bundles, key=_size, reverse=True))


class _Free:
    """What is left of a node. A fraction of a GPU is of one GPU: two halves of different ones do not make it."""

    def __init__(self, node: Node) -> None:
        self._amounts = {name: amount for name, amount in node.items() if name != GPU}
        self._gpus = [1.0] * int(node.get(GPU, 0.0))

    def take(self, bundle: Bundle) -> bool:
        """Take the bundle, if there is enough."""
        plain = {name: amount for name, amount in bundle.items() if name != GPU}
        if any(self._amounts.get(name, 0.0) + SPARE < amount for name, amount in plain.items()):
            return False
        wanted = bundle.get(GPU, 0.0)
        share, count = (wanted, 1) if 0.0 < wanted < 1.0 else (1.0, int(wanted))
        having = [index for index, left in enumerate(self._gpus) if left + SPARE >= share][:count]
        if len(having) < count:
            return False
        for index in having:
            self._gpus[index] -= share
        for name, amount in plain.items():
            self._amounts[name] -= amount
        return True


def _size(bundle: Bundle) -> float:
    return sum(amount for name, amount in bundle.items() if name != MEMORY)


def _largest(nodes: Sequence[Node], bundle: Bundle) -> Node:
    """The node that comes nearest to holding the bundle, as far as the bundle asks; the larger one of two."""
    shown = [{name: node.get(name, 0.0) for name in bundle} for node in nodes]

    def nearness(node: Node) -> tuple[float, float]:
        return sum(min(1.0, node[name] / bundle[name]) for name in bundle), _size(node)

    nearest = max(shown, key=nearness, default=None)
    return nearest or dict.fromkeys(bundle, 0.0)


def _total(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    names = [name for name in ("CPU", "GPU") if any(name in part for part in parts)]
    return {name: sum(part.get(name, 0.0) for part in parts) for name in names}
