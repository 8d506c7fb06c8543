"""Training in smaller passes: what a device that ran out of memory is given the next time, with the batch as it was."""

from dataclasses import replace

from labelbench_ray.trainers.base import Trainer
from labelbench_ray.trainers.blend import Blend, trainers_of
from labelbench_ray.trainers.end_to_end_fields import EndToEndFields


def images_of_a_pass(trainer: Trainer) -> int | None:
    """Images that a worker puts through the model at a time, the most of any part of a blend.

    None for trainers that have no such passes.
    """
    passes = [one.images_of_a_pass for one in trainers_of(trainer) if isinstance(one, EndToEndFields)]
    return max(passes, default=None)


def with_passes_of(trainer: Trainer, micro_batch_size: int | None) -> Trainer:
    """The trainer with passes of at most this many images; itself for None, and where it has no such passes."""
    if micro_batch_size is None:
        return trainer
    if isinstance(trainer, Blend):
        proxy, full = (with_passes_of(part, micro_batch_size) for part in (trainer.proxy, trainer.full))
        return replace(trainer, proxy=proxy, full=full)
    if isinstance(trainer, EndToEndFields) and trainer.images_of_a_pass > micro_batch_size:
        return replace(trainer, micro_batch_size=micro_batch_size)
    return trainer
