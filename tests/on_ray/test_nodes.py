"""Grids on several nodes, which are processes here: spread over them, and as nodes die, are added, or not there yet."""

import contextlib
import time
from pathlib import Path

import psutil
import pytest
import yaml
from benchmark_parts import part
from runs import SMALL

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.timeout(290)]

LIMIT_S = 160


@pytest.fixture(scope="module")
def nodes():
    """Two nodes of one processor each, and a head without any."""
    with part("grid_nodes").started(2) as started:
        yield started
        everyone = part("grid_nodes").family(pid for node in started.living for pid in pids(node))
    assert [process for process in everyone if is_alive(process)] == []


@pytest.fixture(scope="module")
def quiet(tmp_path_factory):
    """Facts of the grid of these tests, from one process."""
    study = grid(tmp_path_factory.mktemp("quiet"))
    study.run("--executor", "in_process", limit_s=LIMIT_S)
    return part("grid_study").facts(study.results)


def grid(folder, **changes):
    """Twelve trials of four rounds, on as many nodes of one processor as there are, three at most."""
    study = part("grid_study").Study(folder=folder).write(12, rounds=4, **changes)
    spec = yaml.safe_load(study.file.read_text())
    study.file.write_text(yaml.safe_dump({**spec, "cluster": {"cpus": 1, "at_most": 3}}))
    return study


def test_a_grid_uses_a_node_that_is_added_and_goes_on_when_one_dies(tmp_path, nodes, quiet):
    study = grid(tmp_path, seconds=1.2)
    process = study.start("--address", nodes.address)
    try:
        first, second = nodes.living
        wait_until(lambda: works(first) and works(second) and num_rounds(study), process)
        added = nodes.add()
        wait_until(lambda: works(added), process)
        nodes.kill(second)
        process.wait(LIMIT_S)
    finally:
        part("grid_study").end(process)
    assert process.returncode == 0, said(study)
    assert part("grid_study").facts(study.results) == quiet


def test_trials_of_a_node_map_the_same_feature_files_and_none_go_through_the_object_store(tmp_path, nodes):
    study = part("grid_study").Study(folder=tmp_path)
    spec = {
        **SMALL,
        "encoder": {"name": "pixels", "size": 64, "grayscale": False},
        "trainer": {"name": "linear", "algorithm": "flexmatch", "min_steps": 10},
        "strategy": ["random", "confidence", "margin", "entropy"],
        "schedule": {"initial": 20, "labels_per_round": 15, "rounds": 2},
        "resources": {"cpus": 0.5},  # two to a node
    }
    study.file.write_text(yaml.safe_dump({**spec, "name": study.name}))
    mapped, stored = {}, []

    def look(_):
        for process in nodes.trial_processes():
            mapped.setdefault(process.pid, set()).update(files_mapped_by(process, tmp_path / "features"))
        stored.append(bytes_in_object_stores(nodes))

    study.run("--address", nodes.address, watch=look, limit_s=LIMIT_S)
    shards = list((tmp_path / "features").rglob("*.npy"))
    size = sum(file.stat().st_size for file in shards)
    readers = [files for files in mapped.values() if files]
    assert len(readers) == 4
    assert all(files == readers[0] <= {str(file) for file in shards} for files in readers)
    assert size > 50e6
    assert max(stored) < size / 20


def test_a_grid_starts_where_no_node_is_and_the_autoscaler_adds_them(tmp_path, quiet):
    study = grid(tmp_path, seconds=0.2)
    with part("grid_nodes").autoscaled(at_most=2) as address:
        study.run("--address", address, limit_s=LIMIT_S)
    assert part("grid_study").facts(study.results) == quiet


def test_a_grid_that_no_node_there_can_be_could_run_is_refused_with_the_numbers(tmp_path, nodes):
    study = grid(tmp_path)
    with pytest.raises(RuntimeError, match=r"exit status 3: .*needs 4 CPU.* has 1 CPU"):
        study.run("--address", nodes.address, "--set", "resources.cpus=4", limit_s=LIMIT_S)


def is_alive(process):
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def works(node):
    """Whether a process of the node runs a trial."""
    return any(part("grid_nodes").runs_trials(one) for one in part("grid_nodes").family(pids(node)))


def pids(node):
    return part("grid_nodes").pids_of(node)


def wait_until(there, process):
    give_up = time.monotonic() + 100
    while not there():
        assert time.monotonic() < give_up, "not in 100 s"
        assert process.poll() is None, f"the command ended with {process.returncode}"
        time.sleep(0.05)


def num_rounds(study):
    return len(list(study.results.glob("trials/*/rounds/*/rows.parquet")))


def said(study):
    return (study.folder / "run.err").read_text()


def files_mapped_by(process, folder):
    """Files below the folder that a process has mapped."""
    with contextlib.suppress(psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError, PermissionError):
        lines = Path(f"/proc/{process.pid}/maps").read_text().splitlines()
        return {line.split()[-1] for line in lines if str(folder) in line}
    return set()


def bytes_in_object_stores(nodes):
    """Of all nodes, as Ray counts them."""
    from ray._private.internal_api import get_memory_info_reply, get_state_from_address

    reply = get_memory_info_reply(get_state_from_address(nodes.address))
    return reply.store_stats.object_store_bytes_used
