import pytest

from labelbench_ray.benchmark.attempts import Attempt
from labelbench_ray.benchmark.retries import outlook, times_out_of_memory, wait_s
from labelbench_ray.config import Limits

LIMITS = Limits(process_died=2, worker_lost=1, wait_s=2.0, longest_wait_s=10.0)


def tried(*ends, run="now"):
    """Attempts that ended so; a `+` after the end: it had finished a round."""
    made, rounds = [], 0
    for number, ended in enumerate(ends):
        after = rounds + ended.endswith("+")
        made.append(
            Attempt(
                number=number, run=run, host="h", pid=1, began=100.0, rounds=rounds, ended=ended.rstrip("+"),
                ended_at=200.0, rounds_at_end=after, message="why", final=ended == "user error",
            )
        )  # fmt: skip
        rounds = after
    return made


@pytest.mark.parametrize("ends", [(), ("interrupted",), ("preempted",) * 20, ("done",), ("worker lost", "preempted")])
def test_what_is_not_a_failure_is_tried_again_at_once_and_without_limit(ends):
    assert outlook("t", tried(*ends), "now", LIMITS).what == "free"


def test_what_the_machine_did_waits_longer_each_time_and_is_given_up_after_the_limit():
    first, second = (outlook("t", tried(*["process died"] * n), "now", LIMITS) for n in (1, 2))
    assert (first.what, second.what) == ("waiting", "waiting")
    assert first.not_before == 200.0 + wait_s("t", 1, LIMITS)
    assert second.not_before == 200.0 + wait_s("t", 2, LIMITS)
    third = outlook("t", tried(*["process died"] * 3), "now", LIMITS)
    assert (third.what, third.reason) == ("given up", "its process died 3 times; why")


def test_what_the_user_did_is_never_tried_again():
    assert outlook("t", tried("user error"), "now", LIMITS)[::2] == ("given up", "why")


def test_each_kind_has_its_own_count():
    mixed = tried("process died", "worker lost", "process died")
    assert outlook("t", mixed, "now", LIMITS).what == "waiting"
    assert outlook("t", tried("worker lost", "process died", "worker lost"), "now", LIMITS).what == "given up"


def test_a_finished_round_starts_the_count_anew():
    died = "process died"
    assert outlook("t", tried(died, died, f"{died}+"), "now", LIMITS).what == "waiting"
    assert outlook("t", tried(died, died, f"{died}+", died), "now", LIMITS).what == "waiting"
    assert outlook("t", tried(f"{died}+", died, died), "now", LIMITS).what == "given up"


def test_what_another_run_tried_does_not_count():
    assert outlook("t", tried("user error", run="before"), "now", LIMITS).what == "free"


def test_waits_double_up_to_the_longest_with_a_factor_of_the_trial_s_own():
    waits = [wait_s("t", n, LIMITS) for n in range(1, 8)]
    assert waits == [wait_s("t", n, LIMITS) for n in range(1, 8)], "no chance"
    for n, wait in enumerate(waits, start=1):
        middle = min(10.0, 2.0 * 2 ** (n - 1))
        assert 0.5 * middle <= wait < 1.5 * middle
    assert len({round(wait_s(f"trial {n}", 1, LIMITS), 6) for n in range(20)}) == 20


def test_memory_that_did_not_do_is_counted_over_all_runs():
    both = [*tried("out of memory", run="before"), *tried("out of memory", "process died")]
    assert times_out_of_memory(both) == 2
