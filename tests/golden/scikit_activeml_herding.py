"""Makes the list in test_scikit_activeml_herding.py with MaxHerding of scikit-activeml (`pip install scikit-activeml`).

Its kernel is exp(-gamma |x - y|^2) of rows of length one, so gamma 4 is radius 1/2.
"""

import numpy as np


def pool():
    """(rows, labels): five groups, twelve rows bought."""
    rng = np.random.default_rng(2024)
    group = rng.integers(5, size=400)
    rows = (1.5 * rng.normal(size=(5, 12))[group] + rng.normal(size=(400, 12))).astype(np.float32)
    bought = rng.choice(400, 12, replace=False)
    return rows, group, bought


if __name__ == "__main__":
    from skactiveml.pool import MaxHerding

    rows, group, bought = pool()
    labels = np.full(400, np.nan)
    labels[bought] = group[bought]
    asked = MaxHerding(random_state=0, metric_dict={"gamma": 4.0}).query(rows.astype(float), labels, batch_size=40)
    print(asked.tolist())
