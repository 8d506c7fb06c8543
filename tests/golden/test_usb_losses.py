"""Losses, gradients and states of the algorithms over five batches in a row, as USB's own classes give them.

``algorithms/usb.json`` names its source, ``algorithms/make_usb.py`` makes it.
"""

import json
from pathlib import Path

import pytest
import torch

from labelbench_ray.trainers.algorithms.adamatch import AdaMatch
from labelbench_ray.trainers.algorithms.base import Batch, loss_of_rows
from labelbench_ray.trainers.algorithms.dash import Dash
from labelbench_ray.trainers.algorithms.fixmatch import FixMatch
from labelbench_ray.trainers.algorithms.flexmatch import FlexMatch, flexmatch_thresholds
from labelbench_ray.trainers.algorithms.freematch import FreeMatch
from labelbench_ray.trainers.algorithms.pseudolabel import PseudoLabel
from labelbench_ray.trainers.algorithms.softmatch import SoftMatch
from labelbench_ray.trainers.algorithms.uda import UDA

GOLDEN = json.loads((Path(__file__).parent / "algorithms" / "usb.json").read_text())
INPUTS, NUM_CLASSES = GOLDEN["inputs"], 4
SAME = {
    "pseudolabel": PseudoLabel(p_cutoff=0.6),
    "fixmatch": FixMatch(p_cutoff=0.6),
    "flexmatch": FlexMatch(p_cutoff=0.7),
    "flexmatch_without_warm_up": FlexMatch(p_cutoff=0.8, threshold_warmup=False),
    "freematch": FreeMatch(ema_p=0.7, ent_loss_ratio=0.1),
    "freematch_clipped": FreeMatch(ema_p=0.0, ent_loss_ratio=0.0, clip_thresh=True),
    "softmatch": SoftMatch(ema_p=0.7),
    "softmatch_to_labeled": SoftMatch(ema_p=0.7, n_sigma=3.0, dist_uniform=False),
    "adamatch": AdaMatch(ema_p=0.7, p_cutoff=0.9),
    "dash": Dash(gamma=3.0, rho_min=0.2, warm_up_share=0.0, num_decays=len(INPUTS)),
    "uda": UDA(p_cutoff=0.6, temperature=1.0, ulb_warm_up=0),  # USB does not apply its temperature
    "uda_sharpened": UDA(p_cutoff=0.6, temperature=0.4, ulb_warm_up=0),
}


def run(case):
    """The unlabelled loss and its gradient at each step, and the last state."""
    algorithm, dash = SAME[case], case == "dash"
    state = algorithm.start(GOLDEN["num_rows"], GOLDEN["num_rows"], NUM_CLASSES, "cpu")
    if dash:
        state["labeled_loss"].fill_(1.0)  # what USB measures before its first step, given there
    told, steps = [], len(INPUTS) + dash
    for step, given in enumerate(INPUTS, start=int(dash)):
        weak, strong = torch.tensor(given["weak"]), torch.tensor(given["strong"])
        trained = (weak.clone() if algorithm.trained_view == "weak" else strong).requires_grad_()
        batch = Batch(
            torch.tensor(given["ids"]),
            weak,
            torch.tensor(given["labeled"]),
            torch.tensor(given["labels"]),
            step,
            steps,
        )
        targets = algorithm.targets(batch, state)
        loss = loss_of_rows(trained, targets).mean()
        if algorithm.has_batch_loss:
            loss = loss + algorithm.batch_loss(algorithm.strong_sums(trained, targets), state)
        loss = algorithm.unlabeled_weight(step, steps) * loss
        (gradient,) = torch.autograd.grad(loss, trained)
        told.append((loss.item(), gradient))
    return told, state


def test_every_golden_case_is_compared():
    assert set(SAME) == set(GOLDEN["cases"])


@pytest.mark.parametrize("case", SAME)
def test_losses_and_gradients_are_those_of_usb(case):
    told, _ = run(case)
    for (loss, gradient_UC), golden in zip(told, GOLDEN["cases"][case]["steps"], strict=True):
        assert loss == pytest.approx(golden["loss"], rel=1e-6, abs=1e-6)
        torch.testing.assert_close(gradient_UC, torch.tensor(golden["gradient"]), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("case", [case for case in SAME if not case.startswith("softmatch")])
def test_the_golden_batches_use_some_rows_and_mask_others(case):
    rows = torch.tensor([step["gradient"] for step in GOLDEN["cases"][case]["steps"]]).abs().amax(2).flatten()
    assert 0.2 < (rows > 0).float().mean() < 1.0


NAMES = {
    "freematch": {"threshold": "time_p", "mean_C": "p_model", "histogram_C": "label_hist"},
    "softmatch": {"mean": "prob_max_mu_t", "variance": "prob_max_var_t", "predicted_C": "p_model"},
    "softmatch_to_labeled": {"mean": "prob_max_mu_t", "variance": "prob_max_var_t", "wanted_C": "p_target"},
    "adamatch": {"predicted_C": "p_model", "wanted_C": "p_target"},
    "flexmatch": {"last_label_N": "selected_label"},
}
NAMES["freematch_clipped"], NAMES["flexmatch_without_warm_up"] = NAMES["freematch"], NAMES["flexmatch"]


@pytest.mark.parametrize("case", NAMES)
def test_states_are_those_of_usb(case):
    _, state = run(case)
    for ours, theirs in NAMES[case].items():
        golden = torch.tensor(GOLDEN["cases"][case]["state"][theirs])
        torch.testing.assert_close(state[ours], golden.to(state[ours].dtype), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("case", ["flexmatch", "flexmatch_without_warm_up"])
def test_thresholds_of_flexmatch_are_those_of_usb(case):
    _, state = run(case)
    beta_C = torch.tensor(GOLDEN["cases"][case]["state"]["classwise_acc"])
    algorithm = SAME[case]
    ours_C = flexmatch_thresholds(state["counts"], algorithm.p_cutoff, algorithm.threshold_warmup)
    torch.testing.assert_close(ours_C, algorithm.p_cutoff * beta_C / (2.0 - beta_C))
