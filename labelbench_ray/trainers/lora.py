"""``lora``: low-rank changes of the encoder's attention, and the head, are trained end to end."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from labelbench_ray.errors import SpecError, TrainingError
from labelbench_ray.trainers.checks import check_numbers
from labelbench_ray.trainers.end_to_end_fields import EndToEndFields

if TYPE_CHECKING:
    from labelbench_ray.trainers.base import TrainingData
    from labelbench_ray.trainers.end_to_end_model import EndToEndModel


@dataclass(frozen=True, kw_only=True)
class Lora(EndToEndFields):
    """Train low-rank adapters of the encoder and a linear head; the encoder's own weights stay (Hu et al., 2021).

    There is no dropout on the adapters: they are added to weights, which see no examples. A model is saved in peft's
    format; its base is the encoder with its head, as ``EndToEndModel`` has them.
    """

    name: ClassVar[str] = "lora"

    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    """Of the adapters and the head."""
    rank: int = 8
    alpha: float = 16.0
    """Adapters are multiplied by ``alpha / rank``."""
    targets: tuple[str, ...] = ("attn",)
    """Linear and attention layers are adapted where a part of their dotted name is one of these: ``attn`` for the
    attention of open_clip and timm, ``mlp`` for what follows it."""

    def check(self) -> None:
        """Raise SpecError for a field that is out of range."""
        super().check()
        where = f"trainer {self.name}"
        check_numbers(where, positive={"rank": self.rank, "alpha": self.alpha}, not_negative={})
        if not self.targets:
            raise SpecError(where, "`targets` must name at least one layer")

    def choose_trained(self, model: "EndToEndModel", data: "TrainingData") -> None:
        """The head, and adapters that are added here. Raises TrainingError where no layer is a target."""
        from labelbench_ray.trainers.adapters import add_adapters, sites

        model.requires_grad_(False)
        added = add_adapters(model.encoder, self.targets, self.rank, self.alpha, data.stream("adapters"))
        if not added:
            last = sorted({part for site in sites(model.encoder) for part in site.peft_name.split(".")[-2:]})
            known = f"it has {', '.join(last[:8])}" if last else "it has no linear or attention layer; use `finetune`"
            raise TrainingError(self.name, f"no layer of the encoder is called {' or '.join(self.targets)}", known)
        model.head.requires_grad_(True)

    def save_model(self, model: "EndToEndModel", folder: Path) -> None:
        """``adapter_model.safetensors`` and ``adapter_config.json``, which peft reads."""
        from labelbench_ray.trainers.adapters import save_adapters

        save_adapters(model, folder, self.rank, self.alpha)
