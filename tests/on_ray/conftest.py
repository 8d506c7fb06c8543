"""One Ray for the whole test run: starting it takes seconds."""

from collections.abc import Iterator

import pytest


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """A local cluster of two CPUs, shut down whatever happens."""
    from labelbench_ray.execution.on_ray.session import session

    with session(num_cpus=2):
        yield
