"""Ray for the length of a block, where Ray does not come up."""

import pytest
import ray

from labelbench_ray.errors import PlatformError
from labelbench_ray.execution.on_ray.session import session


@pytest.mark.parametrize("raised", [Exception("The node timed out during startup"), ConnectionError("refused")])
def test_a_ray_that_does_not_start_is_one_line_about_the_machine(raised, monkeypatch):
    def init(**_):
        raise raised

    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(PlatformError, match=str(raised)), session():
        raise AssertionError
