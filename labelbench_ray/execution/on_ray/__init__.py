"""The only place where Ray is imported."""

from labelbench_ray.execution.on_ray.environment import set_environment

set_environment()  # before any module below imports ray, which reads some of it once
