import numpy as np
import pytest

from labelbench_ray.kernels import contenders
from labelbench_ray.kernels.contenders import Centres, Contenders
from labelbench_ray.kernels.distance_bounds import squared_distance


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(contenders, "BLOCK", 4)
    monkeypatch.setattr(contenders, "NEIGHBOURS", 3)


def contending(vectors, centres, most=None, first_id=100, bounds=1e9, threads=1):
    vectors, centres = np.array(vectors, np.float32), np.array(centres, np.float32)
    all_centres = Centres(len(centres) + 5, centres.mean(axis=0), "cpu")
    all_centres.add(centres)
    rows = Contenders(most or len(vectors), all_centres, threads)
    rows.fill(rows.add(np.arange(len(vectors)) + first_id, np.full(len(vectors), bounds)), vectors)
    return rows, all_centres


def nearest(vectors, centres):
    return np.array(
        [squared_distance(np.array(centres, np.float32), row).min() for row in np.array(vectors, np.float32)]
    )


def gaussian(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("num_centres", [1, 4, 11])
def test_settled_bounds_are_the_distances_that_count(num_centres, threads, monkeypatch):
    monkeypatch.setattr(contenders, "ROWS_AT_ONCE", 7)
    vectors, centres = gaussian(0, 30, 6), gaussian(1, num_centres, 6)
    rows, _ = contending(vectors, centres, threads=threads)
    everyone = np.arange(30)
    assert rows.behind(everyone).tolist() == everyone.tolist()
    rows.bring_up_to_date(everyone, -np.inf)
    assert not len(rows.behind(everyone))
    assert (rows.bounds >= nearest(vectors, centres)).all()
    rows.settle(rows.unsettled(everyone))
    assert not len(rows.unsettled(everyone))
    assert rows.bounds.tolist() == nearest(vectors, centres).tolist()


def test_centres_that_come_later_are_taken_into_account_too():
    vectors, centres, later = gaussian(0, 20, 3), gaussian(1, 6, 3), gaussian(2, 5, 3)
    rows, all_centres = contending(vectors, centres)
    some = np.arange(0, 20, 2)
    rows.bring_up_to_date(some, -np.inf)
    rows.settle(some[::2])
    all_centres.add(later)
    everyone = np.arange(20)
    rows.bring_up_to_date(rows.behind(everyone), -np.inf)
    rows.settle(rows.unsettled(everyone))
    assert rows.bounds.tolist() == nearest(vectors, np.concatenate([centres, later])).tolist()


def test_a_row_below_the_bar_is_left_alone_and_its_bound_still_holds():
    centres = np.array([[0.0], [1], [2], [3], [50], [51], [52], [53]])
    vectors = [[1.5], [49.0], [90.0]]  # near the first block, near the second, far from both
    rows, _ = contending(vectors, centres)
    rows.bring_up_to_date(np.arange(3), bar=20.0)
    assert rows.seen.tolist() == [4, 8, 8]
    assert (rows.bounds >= nearest(vectors, centres)).all()
    assert (rows.bounds < [20, 20, np.inf]).all()


def test_of_centres_at_almost_the_same_distance_the_nearest_counts():
    # Steps of float32 that no rough product tells apart, in every block.
    centres = 1 + np.arange(1, 12)[:, None] * np.full((11, 3), 2.0**-23)
    rows, _ = contending([[0.5, 0.5, 0.5], [1, 1, 1]], centres)
    rows.bring_up_to_date(np.arange(2), -np.inf)
    rows.settle(np.arange(2))
    assert rows.bounds.tolist() == nearest([[0.5, 0.5, 0.5], [1, 1, 1]], centres).tolist()


def test_the_largest_come_first_and_ties_by_id():
    rows, _ = contending(np.zeros((6, 1)), [[0.0]])
    rows.ids[:] = [5, 4, 3, 2, 1, 0]
    rows.bounds[:] = [1, 7, 1, 9, -np.inf, 1]
    assert rows.ids[rows.largest(3)].tolist() == [2, 4, 0]
    assert rows.ids[rows.largest(9)].tolist() == [2, 4, 0, 3, 5]  # the chosen one is gone


def test_kept_rows_know_what_they_knew():
    vectors, centres = gaussian(3, 25, 4), gaussian(4, 9, 4)
    rows, _ = contending(vectors, centres)
    rows.bring_up_to_date(np.arange(25), -np.inf)
    kept = np.array([1, 2, 7, 20, 24])
    rows.keep(kept)
    assert rows.num == 5
    assert rows.ids[:5].tolist() == (kept + 100).tolist()
    rows.settle(np.arange(5))
    assert rows.bounds[:5].tolist() == nearest(vectors[kept], centres).tolist()
    rows.fill(rows.add(np.array([7]), np.array([1e9])), vectors[:1])
    rows.bring_up_to_date(np.array([5]), -np.inf)
    rows.settle(np.array([5]))
    assert rows.bounds[5] == nearest(vectors[:1], centres)[0]


def test_the_order_of_centres_changes_no_distance():
    vectors, centres = gaussian(5, 20, 3), gaussian(6, 13, 3)
    all_centres = Centres(16, np.zeros(3, np.float32), "cpu")
    all_centres.add(centres, central=3)
    assert {row.tobytes() for row in all_centres.vectors(np.arange(13))} == {row.tobytes() for row in centres}
    rows = Contenders(20, all_centres, 1)
    rows.fill(rows.add(np.arange(20), np.full(20, 1e9)), vectors)
    rows.meet_popular_centres_first(np.arange(0, 20, 2))
    all_centres.add(centres[:2] + 1)
    rows.bring_up_to_date(np.arange(20), -np.inf)
    rows.settle(np.arange(20))
    assert rows.bounds.tolist() == nearest(vectors, np.concatenate([centres, centres[:2] + 1])).tolist()


def test_the_central_come_first_and_then_the_popular():
    centres = np.array([[5.0], [0.1], [6.0], [9.0], [-0.2], [7.0]], np.float32)
    all_centres = Centres(6, np.zeros(1, np.float32), "cpu")
    all_centres.add(centres, central=2)
    assert set(all_centres.vectors(np.arange(2))[:, 0].tolist()) == {np.float32(0.1), np.float32(-0.2)}
    rows = Contenders(3, all_centres, 1)
    rows.fill(rows.add(np.arange(3), np.full(3, 1e9)), np.array([[8.9], [9.1], [9.2]], np.float32))
    rows.meet_popular_centres_first(np.arange(3))
    assert set(all_centres.vectors(np.arange(3))[:, 0].tolist()) == {9, 7, 6}
    rows.bring_up_to_date(np.arange(3), bar=1.0)
    assert rows.seen.tolist() == [4, 4, 4]  # one block, though the nearest was added in the middle
