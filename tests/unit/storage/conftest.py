import pytest
from object_store import CREDENTIALS, environment, new_bucket, s3_server

from labelbench_ray.storage.place import place_at


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """The address of a server, for this process and those that it starts."""
    with s3_server() as address:
        copies = str(tmp_path_factory.mktemp("copies"))
        with environment(AWS_ENDPOINT_URL=address, LABELBENCH_COPIES=copies, **CREDENTIALS):
            yield address


@pytest.fixture
def bucket(store):
    return new_bucket(store)


@pytest.fixture(params=["on disk", "in a store"])
def place(request, tmp_path):
    if request.param == "on disk":
        return place_at(tmp_path / "results" / "study")
    return place_at(request.getfixturevalue("bucket") + "/results/study")
