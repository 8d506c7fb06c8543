"""How the workers of a training share a batch: each has a slice of rows, and sums over all make it whole again."""

import torch

from labelbench_ray.types import Ids, TrainContext


class Ranks:
    """What one worker knows of the others. With one worker every sum is what it was."""

    def __init__(self, context: TrainContext) -> None:
        self.rank, self.size = context.rank, context.world_size

    def slice(self, ids_B: Ids) -> tuple[Ids, float]:
        """This rank's part of a batch, and 1; or one row that counts 0, where there are fewer rows than ranks."""
        first, last = self._borders(len(ids_B))
        return (ids_B[first:last], 1.0) if last > first else (ids_B[:1], 0.0)

    def own(self, rows: torch.Tensor) -> torch.Tensor:
        """What ``slice`` takes, of something that has a row for each of the whole batch."""
        first, last = self._borders(len(rows))
        return rows[first:last] if last > first else rows[:1]

    def whole(self, mine: torch.Tensor, count: int) -> torch.Tensor:
        """Rows of all ranks, without gradients: each is zero but on one rank, so their sum is exact."""
        first, last = self._borders(count)
        rows = torch.zeros((count, *mine.shape[1:]), device=mine.device)
        rows[first:last] = mine.detach()[: last - first].float()
        return self.add_up(rows)

    def summed(self, sums: torch.Tensor) -> torch.Tensor:
        """The sum over ranks, with the gradient of this rank's part times their number.

        A loss of this sum belongs to all ranks and is divided by their number in each one's part of the loss.
        """
        return self.add_up(sums.detach().clone()) + self.size * (sums - sums.detach())

    def add_up(self, values: torch.Tensor) -> torch.Tensor:
        """Replace the values by their sum over ranks, and return them. Every rank must call it."""
        if self.size > 1:
            torch.distributed.all_reduce(values)
        return values

    def _borders(self, count: int) -> tuple[int, int]:
        return count * self.rank // self.size, count * (self.rank + 1) // self.size
