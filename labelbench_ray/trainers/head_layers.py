"""A head as its layers: forward, and gradients written out, without autograd.

Activations lie class by class (unit by unit) in memory, (C, R) for R rows: products are as fast as the other way round,
and what is reduced over a few classes afterwards is several times as fast.
"""

import itertools
from collections.abc import Sequence

import numpy as np
import torch

from labelbench_ray.kernels.products import operand, rough_product
from labelbench_ray.trainers.standardisation import Standardise
from labelbench_ray.types import Floats


class HeadLayers:
    """Linear layers with rectifiers between them, on features that are standardised within the first layer.

    ``W ((x - mean) * scale) + b`` is ``V x + (b - V mean)`` with ``V = W * scale``: rows are read as they are stored.
    In bfloat16 rows are centred first: a mean far from zero would leave no digits for the differences.

    ``num_heads`` heads of the same shape can be held together: every tensor then has a dimension S before the others.
    """

    def __init__(
        self,
        widths: Sequence[int],
        standardise: Standardise,
        dtype: torch.dtype,
        device: str,
        num_heads: int | None = None,
    ) -> None:
        shapes = [(after, before) for before, after in itertools.pairwise(widths)]
        self.num_decayed = sum(after * before for after, before in shapes)
        heads = () if num_heads is None else (num_heads,)
        self.flat_P = torch.zeros(*heads, self.num_decayed + sum(widths[1:]), device=device)
        """All weights, then all biases."""
        self.gradient_P = torch.zeros_like(self.flat_P)
        """What ``backward`` fills."""
        self.weights, self.biases = _views(self.flat_P, shapes)
        self.weight_gradients, self._bias_gradients = _views(self.gradient_P, shapes)
        self.dtype = dtype
        self._mean_D = operand(standardise.mean_D, device)
        self.centre_D = None if dtype == torch.float32 else self._mean_D
        """What is taken off rows before they are multiplied."""
        self._scale_D = operand(standardise.scale_D, device)

    def prepare(self, stored_RD: torch.Tensor, prepared_RD: torch.Tensor) -> torch.Tensor:
        """Rows as ``forward`` takes them, from rows as they are stored; ``prepared_RD`` (float32) is written to.

        Rows in bfloat16 have been centred already: nothing stores them so.
        """
        if stored_RD.dtype == self.dtype:
            return stored_RD
        prepared_RD.copy_(stored_RD)
        return prepared_RD if self.centre_D is None else prepared_RD.sub_(self.centre_D).to(self.dtype)

    def draw(self, rng: np.random.Generator, head: int | None = None) -> None:
        """Hidden weights He-uniform, so that the last layer's zeros leave every class as likely at first."""
        for weight in self.weights[:-1]:
            one = weight if head is None else weight[head]
            bound = float(np.sqrt(6.0 / one.shape[1]))
            one.copy_(operand(rng.uniform(-bound, bound, tuple(one.shape)).astype(np.float32)))

    def forward(self, rows_RD: torch.Tensor) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """(C, R) logits in float32, and the (units, R) output of each hidden layer. Rows are of ``dtype``."""
        hidden: list[torch.Tensor] = []
        output_HR = self._first_layer(rows_RD)
        for weight, bias in zip(self.weights[1:], self.biases[1:], strict=True):
            hidden.append(output_HR.relu_())
            output_HR = _times(weight.to(self.dtype), output_HR.to(self.dtype).mT).add_(bias[..., None])
        return output_HR, hidden

    def backward(self, rows_TD: torch.Tensor, hidden: Sequence[torch.Tensor], gradient_CT: torch.Tensor) -> None:
        """Fill ``gradient_P`` from the gradient by the logits of T rows and those rows' activations."""
        for number in range(len(self.weights) - 1, 0, -1):
            rounded_HT, below_HT = gradient_CT.to(self.dtype), hidden[number - 1]
            torch.sum(gradient_CT, -1, out=self._bias_gradients[number])
            self.weight_gradients[number].copy_(_times(rounded_HT, below_HT.to(self.dtype)))
            gradient_CT = _times(self.weights[number].to(self.dtype).mT, rounded_HT.mT).mul_(below_HT > 0)
        self._first_layer_backward(rows_TD, gradient_CT)

    def arrays(self, head: int | None = None) -> tuple[tuple[Floats, Floats], ...]:
        """(weight, bias) of each layer, as float32 arrays of their own."""
        pairs = zip(self.weights, self.biases, strict=True)
        chosen = [pair if head is None else (pair[0][head], pair[1][head]) for pair in pairs]
        return tuple((weight.cpu().numpy().copy(), bias.cpu().numpy().copy()) for weight, bias in chosen)

    def _first_layer(self, rows_RD: torch.Tensor) -> torch.Tensor:
        weight = self.weights[0] * self._scale_D
        bias = self.biases[0] if self.centre_D is not None else self.biases[0] - weight @ self._mean_D
        return _times(weight.to(self.dtype), rows_RD).add_(bias[..., None])

    def _first_layer_backward(self, rows_TD: torch.Tensor, gradient_HT: torch.Tensor) -> None:
        by_bias = torch.sum(gradient_HT, -1, out=self._bias_gradients[0])
        by_weight = _times(gradient_HT.to(self.dtype), rows_TD.mT)
        if self.centre_D is None:
            by_weight.addcmul_(by_bias[..., None], self._mean_D, value=-1.0)
        torch.mul(by_weight, self._scale_D, out=self.weight_gradients[0])


def _times(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Float32 ``left @ right.T``, for each head where there are several."""
    return rough_product(left, right) if left.ndim == 2 else torch.bmm(left, right.mT).float()


def _views(flat_P: torch.Tensor, shapes: Sequence[tuple[int, int]]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    sizes = [*(after * before for after, before in shapes), *(after for after, _ in shapes)]
    parts = torch.split(flat_P, sizes, dim=-1)
    weights = [part.view(*flat_P.shape[:-1], *shape) for part, shape in zip(parts, shapes, strict=False)]
    return weights, list(parts[len(shapes) :])
