"""How much may go wrong before a trial, or a grid, is given up. None of it changes a number."""

from pydantic import Field

from labelbench_ray.config.parts import Part


class Limits(Part):
    """What the machine did is tried again, as often as this; what the user did would happen again, and is not.

    Counts are of one kind in a row, since the trial last finished a round. A trial that was interrupted or preempted is
    tried again without limit. The n-th repetition waits ``wait_s * 2**(n - 1)`` seconds, at most ``longest_wait_s``,
    times a factor from 0.5 to 1.5 that depends on the trial and on n, so that trials that ended together do not come
    back together. Meanwhile its process runs other trials.
    """

    process_died: int = Field(3, ge=0)
    """How often a trial is tried again whose process died while its machine lived."""
    node_lost: int = Field(10, ge=0)
    """The same for a node that died or fell silent, without notice."""
    worker_lost: int = Field(3, ge=0)
    """The same for an actor of a selection or a group of training workers that died."""
    out_of_memory: int = Field(10, ge=0)
    """The same for a device or a node without enough memory. Each time, trainers on images halve the images of a pass
    and accumulate gradients; the batch stays as it is."""
    full_disk: int = Field(6, ge=0)
    storage_lost: int = Field(6, ge=0)
    """The same for a disk, or a server of files, that did not answer while features, data or results were read or
    written (EIO, ESTALE, ...)."""
    wait_s: float = Field(2.0, gt=0)
    longest_wait_s: float = Field(300.0, gt=0)
    max_failed_trials: int | None = Field(None, ge=0)
    """When more trials of a run have failed, no new one starts. All are tried when absent."""
    stop_within_s: float = Field(600.0, gt=0)
    """How long after a first Ctrl-C or SIGTERM, or `labelbench stop`, running trials may take to finish their round.
    Then they are stopped in the middle of it."""
