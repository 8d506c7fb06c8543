"""``python -m labelbench_ray.cli``."""

from labelbench_ray.cli import main

main()
