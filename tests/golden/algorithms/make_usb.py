"""Writes usb.json: what USB's own classes make of a few batches in a row.

    python tests/golden/algorithms/make_usb.py FOLDER

FOLDER holds a copy of github.com/microsoft/Semi-supervised-learning at the commit below. USB's package imports data
sets and loggers at once, so its modules are loaded one by one; the base class of its algorithms, which trains and logs,
is replaced by ``StandIn``. Everything is computed in float64.
"""

import contextlib
import json
import sys
import types
from pathlib import Path

import numpy as np
import torch

SOURCE = "microsoft/Semi-supervised-learning, commit 1ef4cbebcc0b368158315aeb425053858cf6c845"
NUM_ROWS, NUM_CLASSES, STEPS, UNLABELED, LABELED = 9, 4, 5, 6, 3

CASES = {
    "pseudolabel": {"p_cutoff": 0.6},
    "fixmatch": {"p_cutoff": 0.6},
    "flexmatch": {"p_cutoff": 0.7, "thresh_warmup": True},
    "flexmatch_without_warm_up": {"p_cutoff": 0.8, "thresh_warmup": False},
    "freematch": {"ema_p": 0.7, "ent_loss_ratio": 0.1, "clip_thresh": False},
    "freematch_clipped": {"ema_p": 0.0, "ent_loss_ratio": 0.0, "clip_thresh": True},
    "softmatch": {"ema_p": 0.7, "n_sigma": 2, "dist_uniform": True},
    "softmatch_to_labeled": {"ema_p": 0.7, "n_sigma": 3, "dist_uniform": False},
    "adamatch": {"ema_p": 0.7, "p_cutoff": 0.9},
    "dash": {"gamma": 3.0, "C": 1.0001, "rho_min": 0.2, "T": 0.5},
    "uda": {"p_cutoff": 0.6, "T": 0.4},
}
SHARED = {"hard_label": True, "T": 0.5, "use_quantile": False, "dist_align": True, "per_class": False}
SHARED |= {"unsup_warm_up": 0.4, "tsa_schedule": "none", "num_wu_iter": 0, "num_wu_eval_iter": 0}
STATES = ("selected_label", "classwise_acc", "p_model", "p_target", "label_hist", "time_p")
STATES += ("prob_max_mu_t", "prob_max_var_t", "rho")


class StandIn:
    """What USB's ``train_step`` expects of its base class, with a model that returns its inputs as logits."""

    use_cat, distributed, world_size, lambda_u = True, False, 1, 1.0
    num_classes, num_train_iter, rho_init = NUM_CLASSES, STEPS, 1.0
    num_iter_per_epoch = 0.1  # so that the ten epochs after which Dash lowers its threshold are one step
    amp_cm = staticmethod(contextlib.nullcontext)
    compute_prob = staticmethod(lambda logits: torch.softmax(logits, dim=-1))
    bn_controller = types.SimpleNamespace(freeze_bn=lambda model: None, unfreeze_bn=lambda model: None)

    def __init__(self, args, *others, **named):
        from semilearn.core.criterions import CELoss, ConsistencyLoss

        self.args, self.hooks_dict = args, {}
        self.ce_loss, self.consistency_loss = CELoss(), ConsistencyLoss()

    def model(self, logits):
        return {"logits": logits, "feat": logits}

    def set_hooks(self):
        pass

    def register_hook(self, hook, name):
        self.hooks_dict[name] = hook

    def registered_hook(self, name):
        return name in self.hooks_dict

    def call_hook(self, method, name, **values):
        return getattr(self.hooks_dict[name], method)(self, **values)

    def process_out_dict(self, **values):
        return values

    def process_log_dict(self, **values):
        return values


def load_usb(folder):
    """Make USB's algorithm modules importable without its data sets, networks and loggers."""
    for name in ("", ".core", ".core.utils", ".core.hooks", ".algorithms", ".algorithms.utils", ".datasets"):
        package = types.ModuleType(f"semilearn{name}")
        package.__path__ = [str(folder / f"semilearn{name}".replace(".", "/"))]
        sys.modules[package.__name__] = package
    for name in ("pseudolabel", "fixmatch", "flexmatch", "freematch", "softmatch", "adamatch", "dash", "uda"):
        package = types.ModuleType(f"semilearn.algorithms.{name}")
        package.__path__ = [str(folder / "semilearn/algorithms" / name)]
        sys.modules[package.__name__] = package
    base = types.ModuleType("semilearn.core.algorithmbase")
    base.AlgorithmBase = sys.modules["semilearn.core"].AlgorithmBase = StandIn
    sys.modules[base.__name__] = base
    table = types.SimpleNamespace(register=lambda name: lambda algorithm: algorithm)
    sys.modules["semilearn.core.utils"].ALGORITHMS = table
    sys.modules["semilearn.core.utils"].EMA = sys.modules["semilearn.datasets"].DistributedSampler = None
    from semilearn.core.hooks.hook import Hook

    sys.modules["semilearn.core.hooks"].Hook = Hook
    from semilearn.algorithms.utils import misc, ops

    for module in (misc, ops):
        vars(sys.modules["semilearn.algorithms.utils"]).update(vars(module))


def make_inputs():
    """Logits of each step's batch, of which about half are confident, and the ids of its unlabelled rows."""
    rng = np.random.default_rng(20230607)
    steps = []
    for _ in range(STEPS):
        weak_UC = rng.normal(scale=2.0, size=(UNLABELED, NUM_CLASSES)).round(3)
        steps.append(
            {
                "ids": rng.permutation(NUM_ROWS)[:UNLABELED].tolist(),
                "weak": weak_UC.tolist(),
                "strong": (weak_UC + rng.normal(size=weak_UC.shape)).round(3).tolist(),
                "labeled": rng.normal(scale=2.0, size=(LABELED, NUM_CLASSES)).round(3).tolist(),
                "labels": rng.integers(NUM_CLASSES, size=LABELED).tolist(),
            }
        )
    return steps


def make_algorithm(case, parameters, first):
    """USB's algorithm. Averages of labelled predictions start with the first batch, as ours do."""
    import importlib

    name = case.split("_")[0]
    module = importlib.import_module(f"semilearn.algorithms.{name}.{name}")
    kinds = {"pseudolabel": "PseudoLabel", "fixmatch": "FixMatch", "flexmatch": "FlexMatch", "freematch": "FreeMatch"}
    kinds |= {"softmatch": "SoftMatch", "adamatch": "AdaMatch", "dash": "Dash", "uda": "UDA"}
    args = types.SimpleNamespace(**{**SHARED, **parameters}, ulb_dest_len=NUM_ROWS)
    args.ema_p = parameters.get("ema_p", 0.0)
    args.ent_loss_ratio = parameters.get("ent_loss_ratio", 0.0)
    algorithm = getattr(module, kinds[name])(args, None)
    algorithm.set_hooks()
    alignment = algorithm.hooks_dict.get("DistAlignHook")
    if alignment is not None and alignment.update_p_target:
        alignment.p_target = torch.tensor(first["labeled"]).softmax(1).mean(0)
    return algorithm


def run_step(algorithm, case, number, inputs):
    """Unlabelled part of the loss of a step, and its gradient for the logits of the trained view."""
    algorithm.it = number
    weak, strong = (torch.tensor(inputs[view], requires_grad=True) for view in ("weak", "strong"))
    labels = torch.tensor(inputs["labels"])
    named = {"x_lb": torch.tensor(inputs["labeled"]), "y_lb": labels, "x_ulb_w": weak}
    if case != "pseudolabel":
        named["x_ulb_s"] = strong
    if case.startswith("flexmatch"):
        named["idx_ulb"] = torch.tensor(inputs["ids"])
    out, log = algorithm.train_step(**named)
    trained = weak if case == "pseudolabel" else strong
    (gradient,) = torch.autograd.grad(out["loss"], trained)
    return {"loss": out["loss"].item() - log["sup_loss"], "gradient": gradient.tolist()}


def sharpened_uda(inputs):
    """USB's parts put together so that its temperature is applied, as the paper has it."""
    from semilearn.algorithms.hooks import FixedThresholdingHook, PseudoLabelingHook
    from semilearn.core.criterions import ConsistencyLoss

    algorithm = StandIn(None)
    algorithm.p_cutoff = 0.6
    weak, strong = torch.tensor(inputs["weak"]), torch.tensor(inputs["strong"], requires_grad=True)
    mask = FixedThresholdingHook().masking(algorithm, logits_x_ulb=weak)
    targets = PseudoLabelingHook().gen_ulb_targets(algorithm, weak, use_hard_label=False, T=0.4)
    loss = ConsistencyLoss()(strong, targets, "ce", mask=mask)
    (gradient,) = torch.autograd.grad(loss, strong)
    return {"loss": loss.item(), "gradient": gradient.tolist()}


def states_of(algorithm):
    """Tensors and numbers that USB's hooks hold after the last step."""
    held = {}
    for hook in algorithm.hooks_dict.values():
        for name in STATES:
            value = getattr(hook, name, None)
            if value is not None:
                held[name] = value.tolist() if isinstance(value, torch.Tensor) else value
    return held


def main(folder):
    torch.set_default_dtype(torch.float64)
    load_usb(folder)
    inputs = make_inputs()
    cases = {}
    for case, parameters in CASES.items():
        algorithm = make_algorithm(case, parameters, inputs[0])
        steps = [run_step(algorithm, case, number, step) for number, step in enumerate(inputs)]
        cases[case] = {"parameters": parameters, "steps": steps, "state": states_of(algorithm)}
    sharpened = [sharpened_uda(step) for step in inputs]
    cases["uda_sharpened"] = {"parameters": {"p_cutoff": 0.6, "T": 0.4}, "steps": sharpened, "state": {}}
    made = {"source": SOURCE, "made_by": Path(__file__).name, "num_rows": NUM_ROWS, "inputs": inputs, "cases": cases}
    Path(__file__).with_name("usb.json").write_text(json.dumps(made) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
