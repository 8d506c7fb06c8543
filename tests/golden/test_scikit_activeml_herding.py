"""max_herding buys the list of scikit-activeml 1.0.1 (scikit_activeml_herding.py made it)."""

import numpy as np
from pools import random_pool
from scikit_activeml_herding import pool

from labelbench_ray.seeding import stream
from labelbench_ray.strategies.max_herding import MaxHerding
from labelbench_ray.strategies.select import select

# fmt: off
ASKED = [
    366, 266, 20, 197, 299, 280, 190, 380, 185, 261, 95, 381, 99, 128, 364, 234, 242, 230, 168, 298,
    45, 339, 83, 186, 117, 359, 37, 216, 383, 206, 126, 327, 130, 363, 329, 307, 0, 382, 388, 323,
]
# fmt: on


def test_the_list_is_that_of_scikit_activeml():
    rows, group, bought = pool()
    asked = random_pool(num_rows=400, labels_to_buy=40).changed(
        embeddings_ND=rows, ids_L=bought.astype(np.int64), truth_N=group
    )
    ids = select(MaxHerding(radius=0.5), asked.request(MaxHerding.needs), stream(0, "test"))
    assert ids.tolist() == ASKED
