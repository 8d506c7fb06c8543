"""What a grid costs beside its work: time to its end, time per trial, the driver's memory, and doing nothing again."""

import shutil
import subprocess
from pathlib import Path

import psutil
from grid_study import POLL_S, Settings, Study, finish_times, mean_slope
from measure import anonymous_bytes
from training_rows import Row

RAY_PROCESSES = {"raylet", "gcs_server"}


def rows(settings: Settings) -> list[Row]:
    """The grid with work, the same again, the grid without work, and the driver's memory."""
    with_work = Study(folder=_fresh(settings.folder / "with_work"))
    return [_end(settings, with_work), _resume(with_work), _per_trial(settings), _memory(settings)]


def _end(settings: Settings, study: Study) -> Row:
    """From the command to the last trial's last row, against the work divided among the processors."""
    trials, seconds = (40, 0.25) if settings.smoke else (settings.trials, settings.seconds)
    study.write(trials, seconds=seconds, busy=settings.busy, mlflow="auto")
    ran = study.run("--num-cpus", settings.cpus)
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


def _per_trial(settings: Settings) -> Row:
    """Trials that have nothing to do, without MLflow: the seconds that a processor gives to each."""
    study, trials = Study(folder=_fresh(settings.folder / "without_work")), 60 if settings.smoke else settings.trials
    ran = study.write(trials).run("--num-cpus", settings.cpus)
    finished = finish_times(study.results)
    assert len(finished) == trials, f"{len(finished)} of {trials} trials have rows"
    overhead_s = _slot_seconds(finished, settings.cpus)
    return Row(
        key="grid_overhead_ms",
        what="a trial's overhead on its processor, without MLflow",
        unit="ms",
        value=overhead_s * 1000,
        wanted=20.0,
        details=f"{trials:,} trials without work, the last three quarters of them; "
        f"{settings.cpus / overhead_s:.0f} trials a second in all; first row after {finished[0] - ran.began:.1f} s",
        more={"grid_first_row_s": finished[0] - ran.began},
    )


def _memory(settings: Settings) -> Row:
    """Anonymous memory of the driver against the rounds that are done, over the later half of them."""
    trials, rounds = (2, 40) if settings.smoke else (4, 750)
    study, samples = Study(folder=_fresh(settings.folder / "memory")), list[tuple[int, int]]()

    def look(process: "subprocess.Popen[str]") -> None:
        done = sum(1 for _ in study.results.glob("trials/*/rounds/[0-9]*[0-9]"))
        samples.append((done, anonymous_bytes(process.pid)))

    study.write(trials, rounds=rounds, rows=2 * rounds, mlflow="auto").run("--num-cpus", settings.cpus, watch=look)
    whole = trials * rounds  # after the last round come the report and what it imports
    later = [(done, size) for done, size in samples if whole / 2 <= done < whole and size]
    slope = mean_slope([done for done, _ in later], [size / 1024 for _, size in later])
    return Row(
        key="grid_driver_kib_per_round",
        what="growth of the driver's memory a round, KiB",
        unit="",
        value=slope,
        wanted=None if settings.smoke else 1.0,
        details=f"{trials} trials of {rounds:,} rounds, MLflow beside; {len(later)} samples over the later half; at "
        f"most {max(size for _, size in samples) / 2**20:.0f} MiB",
        more={"grid_driver_most_mib": max(size for _, size in samples) / 2**20},
    )


def _slot_seconds(finished: list[float], cpus: int) -> float:
    """Seconds of one processor from a trial to the next, when all are long at work: of the last three quarters."""
    first = len(finished) // 4
    return cpus * (finished[-1] - finished[first]) / (len(finished) - 1 - first)


def _children(pid: int) -> list[psutil.Process]:
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    return folder
