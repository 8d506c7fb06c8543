import pytest

from labelbench_ray.storage.place import place_at


@pytest.fixture(params=["on disk", "in a store"])
def place(request, tmp_path):
    if request.param == "on disk":
        return place_at(tmp_path / "results" / "study")
    return place_at(request.getfixturevalue("bucket") + "/results/study")
