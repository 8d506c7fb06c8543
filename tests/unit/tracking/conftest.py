"""An MLflow database per test, copied from one made once: making one takes a second."""

import shutil
from pathlib import Path

import pytest

from labelbench_ray.tracking.connection import default_uri
from labelbench_ray.tracking.mlflow import create_database, talking_to


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory):
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    with talking_to("sqlite://"):
        create_database(path)
    return path


@pytest.fixture
def results(tmp_path, empty_database):
    """A results folder with an empty MLflow database."""
    folder = tmp_path / "results"
    folder.mkdir()
    shutil.copy(empty_database, folder / "mlflow.db")
    return folder


@pytest.fixture
def read_runs():
    """All runs of the study in a folder's database, by name."""

    def read(results: Path, experiment: str = "small study"):
        from mlflow import MlflowClient

        client = MlflowClient(default_uri(results))
        told = client.get_experiment_by_name(experiment)
        return {run.info.run_name: run for run in client.search_runs([told.experiment_id])}

    return read
