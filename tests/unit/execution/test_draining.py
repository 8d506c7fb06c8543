"""Which nodes drain, as asked of a Ray that is told what to answer."""

from types import SimpleNamespace

import pytest
from ray.exceptions import RpcError

from labelbench_ray.execution.on_ray import draining


class Head:
    """Answers what it is told to, or not at all, and counts how often it was asked."""

    def __init__(self, answer):
        self.answer, self.asked = answer, 0

    def get_draining_nodes(self, timeout):
        self.asked += 1
        if self.answer is None:
            raise RpcError("Deadline Exceeded")
        return dict.fromkeys(self.answer, 0)


@pytest.fixture
def asking(monkeypatch):
    """Makes a ``Draining`` of a trial on nodes a and b that asks this head."""

    def make(head, every_s=0.0):
        context = SimpleNamespace(gcs_address="", get_node_id=lambda: "a")
        group = SimpleNamespace(
            get_current_placement_group=lambda: "group",
            placement_group_table=lambda group: {"bundles_to_node_id": {0: "a", 1: "b"}},
        )
        made = SimpleNamespace(GcsClient=lambda address: head)
        fake = SimpleNamespace(_raylet=made, get_runtime_context=lambda: context, util=group)
        monkeypatch.setattr(draining, "ray", fake)
        return draining.Draining(every_s)

    return make


@pytest.mark.parametrize(("drain", "reaches"), [([], False), (["a"], True), (["c", "b"], True), (["c"], False)])
def test_a_trial_is_reached_on_its_own_node_and_on_those_of_its_group(asking, drain, reaches):
    assert asking(Head(drain)).reaches_this_trial() == reaches


def test_ray_is_asked_now_and_then_only(asking):
    head = Head(["a"])
    asked = asking(head, every_s=1000.0)
    assert [asked.nodes() for _ in range(5)] == [{"a"}] * 5
    assert head.asked == 1


def test_where_ray_does_not_answer_what_was_known_holds(asking):
    head = Head(["a"])
    asked = asking(head)
    assert asked.nodes() == {"a"}
    head.answer = None
    assert asked.nodes() == {"a"}
    assert head.asked == 2
