"""How the process of a slot ended, from what Ray says."""

import pytest
from ray.exceptions import ActorDiedError, OutOfMemoryError

from labelbench_ray.execution.on_ray.sweep import ending_of_process


def died(told, preempted=False):
    error = ActorDiedError()
    error.error_msg = told
    error._preempted = preempted
    return error


@pytest.mark.parametrize(
    ("error", "ended"),
    [
        (None, "process died"),
        (died("The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR"), "process died"),
        (died("The actor died because its node has died. Node Id: 1f"), "node lost"),
        (died("The actor died because its node has died. Node Id: 1f", preempted=True), "preempted"),
        (OutOfMemoryError("Task was killed due to the node running low on memory."), "out of memory"),
        (died("1 worker(s) were killed due to the node running low on memory."), "out of memory"),
    ],
    ids=str,
)
def test_an_error_of_ray_says_who_did_it(error, ended):
    assert ending_of_process(error, noticed=False).ended == ended


@pytest.mark.parametrize("told", ["its worker process has died", "The actor died because its node has died"])
def test_on_a_node_with_a_notice_every_end_but_for_want_of_memory_is_the_notice_s(told):
    assert ending_of_process(died(told), noticed=True).ended == "preempted"
    assert ending_of_process(OutOfMemoryError("the node running low on memory"), noticed=True).ended == "out of memory"
