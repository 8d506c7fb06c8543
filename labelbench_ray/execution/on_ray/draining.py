"""Nodes that will be taken away, as Ray is told: by an autoscaler, a spot instance's notice, or `ray drain-node`.

A SIGTERM to `ray start --block`, the first thing that a pod of Kubernetes hears of its end, is such a notice too. A
node that drains is given nothing new. What runs on it runs on, until the node is taken away at the notice's deadline.
"""

import contextlib
import time
from typing import Any

import ray
from ray.exceptions import RaySystemError, RpcError

LOOK_EVERY_S = 2.0
"""Ray is asked this often at most; its answer takes about a millisecond. Notices come half a minute ahead, or more."""
PATIENCE_S = 1.0
"""With Ray's answer."""


class Draining:
    """Which nodes drain. Knows of no more where Ray does not answer: whoever asks has better things to do than fail."""

    def __init__(self, every_s: float = LOOK_EVERY_S) -> None:
        # Ray has no public function for it. This is what Ray Serve asks, and unlike what Ray Train asks it has a limit.
        self._gcs = ray._raylet.GcsClient(address=ray.get_runtime_context().gcs_address)
        self._every_s = every_s
        self._next_look = 0.0
        self._known: frozenset[str] = frozenset()

    def nodes(self) -> frozenset[str]:
        """Ids of those that are there still, as of a moment ago."""
        if time.monotonic() >= self._next_look:
            with contextlib.suppress(RpcError, RaySystemError):
                self._known = frozenset(self._gcs.get_draining_nodes(timeout=PATIENCE_S))
            self._next_look = time.monotonic() + self._every_s
        return self._known

    def reaches_this_trial(self) -> bool:
        """Whether this process, or a part of the placement group that it is in, is on a node that drains."""
        draining = self.nodes()
        return bool(draining) and not draining.isdisjoint(_nodes_of_this_trial())


def this_node() -> str:
    """Id of the node of this process."""
    return str(ray.get_runtime_context().get_node_id())


def _nodes_of_this_trial() -> set[str]:
    group = ray.util.get_current_placement_group()
    table: dict[str, Any] = {} if group is None else ray.util.placement_group_table(group)
    return {this_node(), *table.get("bundles_to_node_id", {}).values()}
