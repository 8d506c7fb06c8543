import torch

from labelbench_ray.encoders.weights import mismatch, weights_digest


def test_mismatch_names_the_first_keys_of_each_sort():
    expected = {key: torch.zeros(2) for key in "abcdef"}
    found = {"f": torch.zeros(3), "z": torch.zeros(1)}
    assert mismatch(expected, found) == (
        "missing a, b, c and 2 more; unexpected z; of another shape f (3,) instead of (2,)"
    )
    assert mismatch(expected, expected) == ""


def test_the_digest_tells_values_names_and_types_apart():
    def digest(name="weight", value=1.0, dtype=torch.float32):
        module = torch.nn.Module()
        module.register_buffer(name, torch.full((3,), value, dtype=dtype))
        return weights_digest(module)

    assert digest() == digest()
    assert len({digest(), digest(name="other"), digest(value=2.0), digest(dtype=torch.bfloat16)}) == 4
    assert weights_digest(torch.nn.Flatten()) == weights_digest(torch.nn.Identity())
