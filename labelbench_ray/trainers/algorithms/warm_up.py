"""A weight of the unlabelled loss that rises from 0, so that the first pseudo labels do little harm."""

from labelbench_ray.errors import SpecError

RAMP_SHARE = 0.4  # of the training, where no number of steps is given: USB's `unsup_warm_up`


def ramp(step: int, steps: int, warm_up: int | None) -> float:
    """0 at step 0, 1 after ``warm_up`` steps (None: after ``RAMP_SHARE`` of them), a straight line between."""
    length = RAMP_SHARE * steps if warm_up is None else warm_up
    return min(1.0, step / length) if length else 1.0


def check_warm_up(where: str, warm_up: int | None) -> None:
    """Raise SpecError for a number of steps below zero."""
    if warm_up is not None and warm_up < 0:
        raise SpecError(where, f"`ulb_warm_up` must not be negative, got {warm_up}")
