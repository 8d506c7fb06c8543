"""Errors that come back from other processes of a cluster are the ones that were raised there."""

import inspect

import pytest

from labelbench_ray import errors

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_cluster"), pytest.mark.timeout(120)]


def test_every_error_comes_back_from_a_task_as_itself():
    import ray

    ours = [one for _, one in inspect.getmembers(errors, inspect.isclass) if issubclass(one, errors.LabelBenchError)]
    told = [one("a", "b\nc", "d", "e", "f") for one in ours]

    @ray.remote(num_cpus=0.1, max_retries=0)
    def give(error):
        return error

    @ray.remote(num_cpus=0.1, max_retries=0)
    def fail(error):
        raise error

    back = ray.get([give.remote(error) for error in told])
    assert [(type(one), one.args, str(one)) for one in back] == [(type(one), one.args, str(one)) for one in told]
    for error, task in [(error, fail.remote(error)) for error in told]:
        with pytest.raises(type(error)) as raised:
            ray.get(task)
        assert raised.value.cause.args == error.args
        assert str(raised.value.cause) == str(error)
