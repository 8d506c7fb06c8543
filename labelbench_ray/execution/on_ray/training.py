"""Training groups through Ray Train: the same training function as inline, one worker per rank.

A group is found again by its folder: no time and no random part is in its name, so that a trial that was killed goes on
from the group's last checkpoint. The caller must hold no CPU that the workers need (see preflight.py, "coordinated").
"""

import logging
import pickle
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import ray.train
import ray.train.torch
from ray.train import Checkpoint, CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

from labelbench_ray.errors import GroupLostError, LabelBenchError
from labelbench_ray.trainers.launch import launch_inline
from labelbench_ray.types import TrainContext

RESTARTS = 3
"""How often a group whose worker died starts again from its last checkpoint."""
ERROR_FILE = "error.pickle"

Work = Callable[[TrainContext, Any], None]


@dataclass
class RayTrainContext:
    """A rank of a Ray Train group. Satisfies ``types.TrainContext``."""

    rank: int
    world_size: int
    device: str

    def report(self, metrics: Mapping[str, float], checkpoint: Path | None = None) -> None:
        """Tell Ray Train; it copies the checkpoint before this returns. Every rank must call it equally often."""
        kept = None if checkpoint is None else Checkpoint.from_directory(str(checkpoint))
        ray.train.report(dict(metrics), checkpoint=kept)

    def checkpoint(self) -> Path | None:
        """The last checkpoint, where Ray Train keeps it (under the work folder, which all nodes share)."""
        kept = ray.train.get_checkpoint()
        return None if kept is None else Path(kept.path)


def launch_on_ray(
    work: Work,
    arguments: Any,
    *,
    num_workers: int,
    through: Literal["inline", "ray_train"],
    work_dir: Path,
    worker: Mapping[str, float] | None = None,
    restarts: int = RESTARTS,
) -> None:
    """Run the work inline or on a group of Ray Train workers, and wait. Satisfies ``types.Launch``.

    ``worker`` is what each worker holds, by Ray's names of resources; one CPU, and one GPU where ``arguments.device``
    is ``cuda``, when None. A worker that dies is replaced: all ranks start again from the last checkpoint,
    ``restarts`` times at most. Raises the project's error that a worker raised, or GroupLostError saying how the
    group ended.
    """
    if through == "inline":
        launch_inline(work, arguments, num_workers=num_workers, through=through, work_dir=work_dir)
        return
    on_gpu = arguments.device != "cpu"
    resources = dict(worker) if worker else {"CPU": 1.0} | ({"GPU": 1.0} if on_gpu else {})
    error_file = work_dir / ERROR_FILE
    error_file.unlink(missing_ok=True)
    trainer = TorchTrainer(
        _run_rank,
        train_loop_config={"work": work, "arguments": arguments, "error_file": error_file},
        scaling_config=ScalingConfig(num_workers=num_workers, use_gpu=on_gpu, resources_per_worker=resources),
        run_config=RunConfig(
            name=work_dir.name,
            storage_path=str(work_dir / "ray_train"),
            failure_config=FailureConfig(max_failures=restarts, controller_failure_limit=1),
            checkpoint_config=CheckpointConfig(num_to_keep=1),
        ),
        torch_config=TorchConfig(backend="gloo" if arguments.device == "cpu" else "nccl"),
    )
    failure = _fit(trainer)
    if error_file.is_file():
        raise pickle.loads(error_file.read_bytes())
    if failure is not None:
        raise GroupLostError(
            arguments.name, f"the training group failed ({failure})", "look at the workers' logs"
        ) from None


def _fit(trainer: TorchTrainer) -> str | None:
    """Run the group; how it failed in a few words, or None."""
    from ray.train import ControllerError, TrainingFailedError, WorkerGroupError

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray's own, about options that are set on purpose
        logging.getLogger("ray.train").setLevel(logging.ERROR)
        try:
            trainer.fit()
        except WorkerGroupError as error:
            return "; ".join(f"worker {rank}: {_brief(cause)}" for rank, cause in error.worker_failures.items())
        except ControllerError as error:
            return _brief(error.controller_failure)
        except TrainingFailedError as error:
            return _brief(error)
    return None


def _brief(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[-1].strip() if lines else 'no message'}"[:300]


def _run_rank(config: dict[str, Any]) -> None:
    """What each worker runs.

    An error of ours would be the same on every try. It is left in a file and ends the group: at once where there is one
    worker; with more, others may wait for this rank, so it raises, and after the restart all ranks see the file.
    """
    error_file: Path = config["error_file"]
    if error_file.is_file():
        return
    context = ray.train.get_context()
    rank, world_size = context.get_world_rank(), context.get_world_size()
    try:
        config["work"](RayTrainContext(rank, world_size, str(ray.train.torch.get_device())), config["arguments"])
    except LabelBenchError as error:
        draft = error_file.with_suffix(f".{rank}")
        draft.write_bytes(pickle.dumps(error))
        draft.replace(error_file)
        if world_size > 1:
            raise
