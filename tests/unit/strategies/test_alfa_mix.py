import numpy as np
import pytest
import torch
from pools import random_pool

from labelbench_ray.errors import SpecError
from labelbench_ray.kernels.clusters import nearest_to_centres
from labelbench_ray.seeding import stream
from labelbench_ray.strategies.alfa_mix import AlfaMix


def bought(pool, **how):
    strategy = AlfaMix()
    return strategy.select(pool.request(strategy.needs, **how), stream(0, "test")).tolist()


def candidates_as_published(pool, cap_step=0.03125):
    """The loop of the paper's code: a larger cap as long as no more rows flip than are to be bought."""
    weight = torch.from_numpy(pool.last_layer.weight_CD).double()
    for_sale = np.setdiff1d(np.arange(len(pool.probs_NC)), pool.ids_L)
    rows = torch.from_numpy(pool.embeddings_ND[for_sale]).double().requires_grad_()
    logits = rows @ weight.T
    before = logits.argmax(dim=1)
    (along,) = torch.autograd.grad(torch.nn.functional.cross_entropy(logits, before, reduction="sum"), rows)
    rows, labels = rows.detach(), pool.truth_N[pool.ids_L]
    flips, cap = torch.zeros(len(rows), dtype=torch.bool), 0.0
    while cap < 1 and flips.sum() <= pool.labels_to_buy:
        cap += cap_step
        for one in sorted(set(labels.tolist())):
            anchor = torch.from_numpy(pool.embeddings_ND[pool.ids_L[labels == one]]).double().mean(dim=0)
            apart = anchor - rows
            scale = cap / np.sqrt(rows.shape[1]) * apart.norm(dim=1) / along.norm(dim=1)
            alpha = scale[:, None] * along / apart
            mixed = alpha * anchor + (1 - alpha) * rows
            flips |= (mixed @ weight.T).argmax(dim=1) != before
    return for_sale[flips.numpy()]


@pytest.mark.parametrize("labels_to_buy", [5, 20, 60])
def test_clusters_the_candidates_of_the_published_loop(labels_to_buy):
    pool = random_pool(num_rows=400, num_classes=4, width=6, labels_to_buy=labels_to_buy, tile_rows=64)
    ids = candidates_as_published(pool)
    assert len(ids) > labels_to_buy
    vectors = pool.embeddings_ND[ids] / np.linalg.norm(pool.embeddings_ND[ids], axis=1, keepdims=True)
    expected = ids[nearest_to_centres(vectors, labels_to_buy, stream(0, "test"))].tolist()
    assert bought(pool, num_shards=3) == expected


def test_too_few_candidates_are_all_bought_and_others_drawn():
    pool = random_pool(num_rows=200, num_classes=3, labels_to_buy=175)
    ids = candidates_as_published(pool)
    assert 0 < len(ids) < 175
    found = bought(pool)
    assert set(found[: len(ids)]) == set(ids.tolist())
    assert len(set(found)) == 175


@pytest.mark.parametrize(("field", "value"), [("cap_step", 0.0), ("cap_step", 1.5), ("max_candidates", 0)])
def test_fields_out_of_range_are_refused(field, value):
    with pytest.raises(SpecError, match=f"alfa_mix: `{field}` must be .* got {value}"):
        AlfaMix(**{field: value})
