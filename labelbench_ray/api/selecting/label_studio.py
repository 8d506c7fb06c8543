"""Label Studio's JSON: tasks to import, with what the model predicts, and annotations that were exported.

Field names are those of its documentation (https://labelstud.io/guide/task_format). A project for the tasks has a
control ``<Choices name="choice" toName="image">`` over ``<Image name="image" value="$image"/>``, or over
``<Text name="text" value="$id"/>`` where the pool has no images.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from labelbench_ray.api.selecting.choosing import Pick

CONTROL = "choice"
LOCAL_FILES = "/data/local-files/?d="
"""Where Label Studio serves files of its own disk, by their path below LOCAL_FILES_DOCUMENT_ROOT."""


def tasks(picks: "Sequence[Pick]", made_by: str, image_prefix: str | None) -> list[dict[str, Any]]:
    """A task for each row that was chosen, in order. ``image_prefix`` comes before an image's path; None: no images."""
    return [_task(pick, made_by, image_prefix) for pick in picks]


def _task(pick: "Pick", made_by: str, image_prefix: str | None) -> dict[str, Any]:
    data: dict[str, Any] = {"id": pick.id, "rank": pick.rank, "reason": pick.reason}
    if image_prefix is not None:
        data["image"] = image_prefix + quote(pick.id)
    if pick.predicted is None:
        return {"data": data}
    told = {
        "id": "predicted",
        "from_name": CONTROL,
        "to_name": "text" if image_prefix is None else "image",
        "type": "choices",
        "value": {"choices": [pick.predicted]},
    }
    return {"data": data, "predictions": [{"model_version": made_by, "score": pick.probability, "result": [told]}]}


def answers(exported: Any) -> Iterator[tuple[str, str, str]]:
    """(id, label, where) of every annotation; the label is empty where a task has none yet. Raises ValueError."""
    if not isinstance(exported, list):
        raise ValueError("it should be a list of tasks")
    for number, task in enumerate(exported):
        where = f"task {number}"
        if not isinstance(task, dict) or not isinstance(task.get("annotations"), list):
            raise ValueError(f"{where} has no `annotations`")
        if not isinstance(task.get("data"), dict) or "id" not in task["data"]:
            raise ValueError(f"{where} has no `data.id`")
        finished = [one for one in task["annotations"] if not one.get("was_cancelled")]
        labels = [label for one in finished for label in _chosen(one, where)]
        yield from ((str(task["data"]["id"]), label, where) for label in labels or [""])


def _chosen(annotation: dict[str, Any], where: str) -> list[str]:
    """The class that one annotator chose, if any."""
    results = [result for result in annotation.get("result", ()) if result.get("type") == "choices"]
    chosen = [choice for result in results for choice in result["value"]["choices"]]
    if len(chosen) > 1:
        raise ValueError(f"{where} has {len(chosen)} choices in one annotation, and one class is expected")
    return chosen
