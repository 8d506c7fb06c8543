import numpy as np
import pytest

from labelbench_ray.kernels.keyed_draws import keyed_uniforms, philox


# Published test vectors of philox4x32-10: Random123, file kat_vectors.
@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ([0, 0, 0, 0], [0, 0], [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]),
        ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
        ),
    ],
)
def test_words_are_the_published_ones(counter, key, expected):
    words = philox(tuple(np.array([word], np.uint64) for word in counter), tuple(np.uint64(word) for word in key))
    assert [int(word[0]) for word in words] == expected


def test_a_row_depends_on_seed_name_and_id_alone():
    ids = np.array([7, 3, 2**40, 0])
    whole = keyed_uniforms(1, "weak-0", ids, 6)
    assert whole.shape == (4, 6)
    for place in range(4):
        assert np.array_equal(keyed_uniforms(1, "weak-0", ids[place : place + 1], 6)[0], whole[place])
    assert np.array_equal(keyed_uniforms(1, "weak-0", ids, 2), whole[:, :2])
    for other in (keyed_uniforms(2, "weak-0", ids, 6), keyed_uniforms(1, "weak-1", ids, 6)):
        assert not np.isin(other, whole).any()
    assert len(np.unique(whole)) == whole.size


def test_numbers_are_uniform_and_independent_between_neighbours():
    draws = keyed_uniforms(0, "strong-0", np.arange(20_000), 8)
    assert 0 <= draws.min() < 1e-4
    assert 1 - 1e-4 < draws.max() < 1
    counts = np.stack([np.histogram(column, bins=20, range=(0, 1))[0] for column in draws.T])
    chi_square = ((counts - 1000) ** 2 / 1000).sum(axis=1)
    assert chi_square.max() < 45  # 19 degrees of freedom: one in a thousand exceeds 43.8
    assert abs(np.corrcoef(np.concatenate([draws[1:], draws[:-1]], axis=1).T) - np.eye(16)).max() < 0.04
