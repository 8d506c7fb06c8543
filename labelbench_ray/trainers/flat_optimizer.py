"""Adam, AdamW and SGD on one flat tensor: a few operations a step, where an optimiser of many tensors takes dozens."""

import torch

BETAS = (0.9, 0.999)
EPSILON = 1e-8
MOMENTUM = 0.9


class FlatOptimizer:
    """The same steps as ``optimisers.make_optimizer``, with the first ``num_decayed`` entries decayed.

    ``weights`` and ``gradient`` are (P,), or (S, P) where S heads are trained together; both are read and the weights
    are changed in place.
    """

    def __init__(
        self, kind: str, weights: torch.Tensor, gradient: torch.Tensor, num_decayed: int, weight_decay: float
    ) -> None:
        assert kind in ("adam", "adamw", "sgd")
        self._kind, self._decay = kind, weight_decay
        self._weights, self._gradient = weights.detach(), gradient
        self._decayed = self._weights[..., :num_decayed]
        self._decayed_gradient = gradient[..., :num_decayed]
        self._first, self._second = torch.zeros_like(gradient), torch.zeros_like(gradient)
        self._steps = 0

    def step(self, learning_rate: float) -> None:
        """One update. L2 decay changes the gradient, which is written anew before the next one."""
        self._steps += 1
        if self._kind == "adamw":
            self._decayed.mul_(1.0 - learning_rate * self._decay)
        elif self._decay:
            self._decayed_gradient.add_(self._decayed, alpha=self._decay)
        if self._kind == "sgd":
            self._first.mul_(MOMENTUM).add_(self._gradient)
            self._weights.add_(self._first, alpha=-learning_rate)
        else:
            self._adam(learning_rate)

    def _adam(self, learning_rate: float) -> None:
        """Kingma and Ba (2015), algorithm 1."""
        self._first.lerp_(self._gradient, 1.0 - BETAS[0])
        self._second.mul_(BETAS[1]).addcmul_(self._gradient, self._gradient, value=1.0 - BETAS[1])
        corrections = [1.0 - beta**self._steps for beta in BETAS]
        denominator = self._second.sqrt().add_(EPSILON * corrections[1] ** 0.5)
        rate = learning_rate * corrections[1] ** 0.5 / corrections[0]
        self._weights.addcdiv_(self._first, denominator, value=-rate)


def clip(gradient: torch.Tensor, largest_norm: float) -> None:
    """Shorten the gradient, (P,) or each of (S, P), to the largest norm where it is longer."""
    norms = torch.linalg.vector_norm(gradient, dim=-1, keepdim=True)
    gradient.mul_((largest_norm / norms.clamp(min=1e-6)).clamp_(max=1.0))
