"""Models of finished evaluations as versions of a registered model.

``mlflow.pytorch.log_model`` takes 15 s and pickles code. Here a version is the safetensors that the trainer saved, the
trial's description, and a file that tells MLflow the signature and, for a head on features, who reads them
(`labelbench_ray.tracking.pyfunc`). A model trained end to end is kept in the same way, and has to be loaded by hand:
its encoder cannot be built from the description alone where its weights came from a file.
"""

import contextlib
import json
import platform
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from labelbench_ray.benchmark.provenance import versions
from labelbench_ray.benchmark.state import MODEL
from labelbench_ray.tracking import pyfunc
from labelbench_ray.tracking.mlflow.runs import Shown, Told

_DATA = "data"
_REQUIRED = ("labelbench_ray", "torch", "numpy")


def has_model(told: Told) -> bool:
    """Whether a trial is done and kept its model, as evaluations do."""
    return told.status.state == "done" and MODEL in told.trial.place.folders()


def register(client: Any, uri: str, name: str, shown: Shown, told: Told) -> None:
    """Add a trial's model to the registered model ``name``, once."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    _make_registered_model(client, name)
    if client.search_model_versions(f"name='{name}' and run_id='{shown.run_id}'"):
        return
    with tempfile.TemporaryDirectory() as draft:
        write_model(Path(draft), told, shown.run_id)
        get_artifact_repository(shown.artifacts, tracking_uri=uri).log_artifacts(draft, "model")
    tags = {"labelbench.trial": told.trial.trial_id, **told.description.get("labels", {})}
    client.create_model_version(name, f"{shown.artifacts}/model", run_id=shown.run_id, tags=tags)


def _make_registered_model(client: Any, name: str) -> None:
    from mlflow.exceptions import MlflowException

    with contextlib.suppress(MlflowException):  # it is there; if anything else is wrong, adding a version says so
        client.create_registered_model(name, description="Models of evaluations by labelbench_ray")


def write_model(folder: Path, told: Told, run_id: str) -> None:
    """Write what a version of a registered model holds."""
    from mlflow.models import Model

    data = folder / _DATA
    shutil.copytree(told.trial.place.fetch(MODEL), data)
    (data / "trial.json").write_text(json.dumps(told.description, indent=2))
    known = versions()
    (folder / "requirements.txt").write_text("".join(f"{package}=={known[package]}\n" for package in _REQUIRED))
    is_head = (data / pyfunc.HEAD_FILE).exists()
    model = Model("model", run_id, signature=_signature_of_head(data) if is_head else _signature_of_images())
    if is_head:
        python = platform.python_version()
        model.add_flavor("python_function", loader_module=pyfunc.__name__, data=_DATA, python_version=python)
    else:
        model.add_flavor("labelbench_ray", data=_DATA)
    model.save(folder / "MLmodel")


def _signature_of_head(data: Path) -> Any:
    """(N, D) stored features to (N, C) class probabilities."""
    head = pyfunc.read_head(data)
    return _signature(np.float32, (-1, len(head.mean_D)), (-1, head.num_classes))


def _signature_of_images() -> Any:
    """(N, 3, H, W) images, resized and cut out as the encoder wants them, to (N, C) class probabilities."""
    return _signature(np.uint8, (-1, 3, -1, -1), (-1, -1))


def _signature(dtype: type, inputs: tuple[int, ...], outputs: tuple[int, ...]) -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    rows, probabilities = TensorSpec(np.dtype(dtype), inputs), TensorSpec(np.dtype(np.float32), outputs)
    return ModelSignature(Schema([rows]), Schema([probabilities]))
