"""Two training workers in processes of their own, joined by gloo: what Ray Train would start, in seconds."""

import contextlib
import multiprocessing
import pickle
import traceback
from dataclasses import dataclass
from pathlib import Path

from labelbench_ray.trainers.launch import InlineContext

START_S = 60
WORK_S = 120


@dataclass
class GroupContext(InlineContext):
    """A rank; the first one keeps the checkpoints, which all read."""

    def report(self, metrics, checkpoint=None):
        import torch

        super().report(metrics, checkpoint)
        torch.distributed.barrier()


class PairOfWorkers:
    """Satisfies ``types.Launch`` for two workers."""

    def __init__(self, folder):
        methods = multiprocessing.get_context("forkserver")
        methods.set_forkserver_preload(["labelbench_ray.trainers.end_to_end", "torchvision"])  # imported once for both
        self._pipes, self._processes = [], []
        for rank in range(2):
            mine, theirs = methods.Pipe()
            process = methods.Process(target=_serve, args=(theirs, rank, str(folder / "store")), daemon=True)
            process.start()
            self._pipes.append(mine)
            self._processes.append(process)
        for pipe in self._pipes:
            assert pipe.poll(START_S), "a worker did not start"
            pipe.recv()

    def __call__(self, work, arguments, *, num_workers, through, work_dir):
        assert num_workers == 2
        for pipe in self._pipes:
            pipe.send(pickle.dumps((work, arguments, work_dir)))
        failures = []
        for pipe in self._pipes:
            assert pipe.poll(WORK_S), "a worker hangs"
            failures.append(pipe.recv())
        for failure in filter(None, failures):
            raise failure

    def close(self):
        for process in self._processes:
            process.kill()
            process.join()


@contextlib.contextmanager
def pair_of_workers(folder):
    pair = PairOfWorkers(folder)
    try:
        yield pair
    finally:
        pair.close()


def _serve(pipe, rank, store):
    import torch

    torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    pipe.send("ready")
    while True:
        work, arguments, work_dir = pickle.loads(pipe.recv())
        context = GroupContext(Path(work_dir) / "checkpoints", arguments.device, rank, 2)
        try:
            work(context, arguments)
            pipe.send(None)
        except Exception as error:
            traceback.print_exc()
            pipe.send(error)
