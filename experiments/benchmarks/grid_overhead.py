"""What a grid costs beside its work: time to its end, time per trial, the driver's memory, and doing nothing again."""

import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from grid_study import POLL_S, Settings, Study, finish_times, mean_slope
from measure import anonymous_bytes
from training_rows import Row

RAY_PROCESSES = {"raylet", "gcs_server"}

SMOKE_TRIALS, SMOKE_SECONDS = 40, 0.1


def rows(settings: Settings) -> list[Row]:
    """The grid with work, the same again, the grid without work, and the driver's memory.

    In a smoke run the first grid gives all figures: to start Ray for another one takes longer than it runs.
    """
    with_work = Study(folder=_fresh(settings.folder / "with_work"))
    memory = Memory(with_work)
    found = [_end(settings, with_work, memory), _resume(with_work)]
    if settings.smoke:
        return [*found, _per_trial(settings, with_work, SMOKE_TRIALS, SMOKE_SECONDS), memory.row(SMOKE_TRIALS, 1)]
    return [*found, _grid_without_work(settings), _grid_of_many_rounds(settings)]


def _end(settings: Settings, study: Study, memory: "Memory") -> Row:
    """From the command to the last trial's last row, against the work divided among the processors."""
    trials, seconds = (SMOKE_TRIALS, SMOKE_SECONDS) if settings.smoke else (settings.trials, settings.seconds)
    study.write(trials, seconds=seconds, busy=settings.busy, mlflow="auto")
    ran = study.run("--num-cpus", settings.cpus, watch=memory.look if settings.smoke else _do_not_look)
    finished = finish_times(study.results)
    assert len(finished) == trials, f"{len(finished)} of {trials} trials have rows"
    taken, ideal = finished[-1] - ran.began, trials * seconds / settings.cpus
    lost_s = _slot_seconds(finished, settings.cpus) - seconds
    return Row(
        key="grid_times_ideal",
        what=f"{trials:,} trials of {seconds:g} s on {settings.cpus} processors, MLflow beside: time to the last row, "
        "times the ideal",
        unit="",
        value=taken / ideal,
        wanted=None if settings.smoke else 1.5,
        details=f"{taken:.1f} s against {ideal:.1f} s; first row after {finished[0] - ran.began:.1f} s; then "
        f"{lost_s * 1000:.0f} ms beside each trial's work; the command ended {ran.wall_s - taken:.1f} s after the "
        f"last row; the work {'computes' if settings.busy else 'waits'}",
        more={"grid_end_s": taken, "grid_ideal_s": ideal, "grid_command_s": ran.wall_s, "grid_lost_ms": lost_s * 1000},
    )


def _resume(study: Study) -> Row:
    """The same command on a finished grid."""
    started: set[str] = set()

    def look(process: "subprocess.Popen[str]") -> None:
        started.update(RAY_PROCESSES & {child.name() for child in _children(process.pid)})

    ran = study.run(watch=look, log="resume")
    assert "nothing to do" in ran.err, ran.err
    trials = len(finish_times(study.results))
    return Row(
        key="grid_resume_s",
        what=f"the command again, all {trials:,} trials done",
        unit="s",
        value=ran.wall_s,
        wanted=5.0,
        details=f"Ray was {'started' if started else 'not started'}; looked at every {POLL_S:g} s",
        more={"grid_resume_started_ray": float(bool(started))},
    )


def _grid_without_work(settings: Settings) -> Row:
    """Trials that have nothing to do, without MLflow."""
    study = Study(folder=_fresh(settings.folder / "without_work")).write(settings.trials)
    study.run("--num-cpus", settings.cpus)
    return _per_trial(settings, study, settings.trials, 0.0)


def _per_trial(settings: Settings, study: Study, trials: int, seconds: float) -> Row:
    """The seconds that a processor gives to each trial beside its work."""
    finished = finish_times(study.results)
    assert len(finished) == trials, f"{len(finished)} of {trials} trials have rows"
    slot_s = _slot_seconds(finished, settings.cpus)
    return Row(
        key="grid_overhead_ms",
        what=f"a trial's overhead on its processor, {'MLflow beside' if settings.smoke else 'without MLflow'}",
        unit="ms",
        value=(slot_s - seconds) * 1000,
        wanted=None if settings.smoke else 20.0,
        details=f"{trials:,} trials of {seconds:g} s, the last three quarters of them; "
        f"{settings.cpus / slot_s:.0f} trials a second in all",
    )


def _grid_of_many_rounds(settings: Settings) -> Row:
    """Few trials, so that rounds are what there is much of."""
    trials, rounds = 4, 750
    study = Study(folder=_fresh(settings.folder / "memory"))
    memory = Memory(study)
    study.write(trials, rounds=rounds, rows=2 * rounds, mlflow="auto")
    study.run("--num-cpus", settings.cpus, watch=memory.look)
    return memory.row(trials, rounds, wanted=1.0)


@dataclass
class Memory:
    """Anonymous memory of a study's driver against the rounds that are done."""

    study: Study
    samples: list[tuple[int, float]] = field(default_factory=list)
    """(rounds, KiB)"""

    def look(self, process: "subprocess.Popen[str]") -> None:
        """Take a sample."""
        done = sum(1 for _ in self.study.results.glob("trials/*/rounds/[0-9]*[0-9]"))
        if kib := anonymous_bytes(process.pid) / 1024:
            self.samples.append((done, kib))

    def row(self, trials: int, rounds: int, wanted: float | None = None) -> Row:
        """The slope over the later half; after the last round come the report and what it imports."""
        whole = trials * rounds
        later = [(done, kib) for done, kib in self.samples if whole / 2 <= done < whole]
        assert later, "the rounds ended between two looks"
        least, most = (choose(kib for _, kib in later) / 1024 for choose in (min, max))
        at_most = max(kib for _, kib in self.samples) / 1024
        return Row(
            key="grid_driver_kib_per_round",
            what="growth of the driver's memory a round, KiB",
            unit="",
            value=mean_slope([done for done, _ in later], [kib for _, kib in later]),
            wanted=wanted,
            details=f"{trials} trials of {rounds:,} rounds, MLflow beside; {least:.0f} to {most:.0f} MiB over the "
            f"later half, {len(later)} samples; at most {at_most:.0f} MiB, with the report",
            more={"grid_driver_most_mib": at_most, "grid_driver_later_mib": most},
        )


def _slot_seconds(finished: list[float], cpus: int) -> float:
    """Seconds of one processor from a trial to the next, when all are long at work: of the last three quarters."""
    first = len(finished) // 4
    return cpus * (finished[-1] - finished[first]) / (len(finished) - 1 - first)


def _do_not_look(process: "subprocess.Popen[str]") -> None:
    """Looking takes processor time, of which the trials have need."""


def _children(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    return folder
