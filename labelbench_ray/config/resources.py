"""What processes hold while they run, and what nodes there may be. None of it changes a number."""

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from labelbench_ray.config.parts import Part, checked
from labelbench_ray.errors import SpecError


class Share(Part):
    """What one process holds while it runs, in Ray's terms."""

    cpus: float = Field(1.0, gt=0)
    gpus: float = Field(0.0, ge=0)
    """A fraction packs several processes on a GPU; their memory is theirs to share."""
    memory_gib: float | None = Field(None, gt=0)
    """Set aside on its node; nothing is when absent. Ray counts it, and does not enforce it."""
    custom: Mapping[str, float] = Field(default_factory=dict)
    """Ray's custom resources by name, such as ``{"accelerator_type:A100": 0.001}``."""

    @field_validator("gpus")
    @classmethod
    def _whole_gpus(cls, value: float) -> float:
        if value > 1.0 and value != int(value):
            raise SpecError("resources", f"`gpus: {value:g}` must be a fraction of one GPU or a whole number of them")
        return value

    @field_validator("custom")
    @classmethod
    def _custom_amounts(cls, value: Mapping[str, float]) -> Mapping[str, float]:
        for name, amount in value.items():
            if name in {"CPU", "GPU", "memory"}:
                raise SpecError("resources.custom", f"{name!r} is set by `cpus`, `gpus` or `memory_gib`")
            if amount <= 0:
                raise SpecError("resources.custom", f"`{name}` must be positive, got {amount:g}")
        return value

    @property
    def bundle(self) -> dict[str, float]:
        """By Ray's names: ``CPU``, ``GPU``, ``memory`` in bytes, and custom ones."""
        told = {"CPU": self.cpus} | ({"GPU": self.gpus} if self.gpus else {})
        if self.memory_gib is not None:
            told["memory"] = float(int(self.memory_gib * 2**30))
        return told | dict(self.custom)


class Resources(Share):
    """What one trial holds while it runs, what its stages hold beside or instead, and what embedding may use."""

    select: Share | None = None
    """Each actor of a spread selection (`selection.through: actors`). One CPU, and GPUs as the trial, when absent."""
    train: Share | None = None
    """Each worker of a training group (`through: ray_train`). One CPU, and GPUs as the trial, when absent."""
    evaluate: Share | None = None
    """An evaluation's process. As a trial's when absent."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    embed_actors: int | None = Field(None, gt=0)
    max_concurrent: int | None = Field(None, gt=0)

    @field_validator("select", "train", "evaluate", mode="before")
    @classmethod
    def _shares(cls, value: Any, info: Any) -> Any:
        return None if value is None else checked(Share, value, f"resources.{info.field_name}")

    @model_validator(mode="after")
    def _device_matches(self) -> Self:
        if (self.device == "cuda") != (self.gpus > 0) and self.device != "auto":
            raise SpecError("resources", f"`device: {self.device}` does not go with `gpus: {self.gpus:g}`")
        for stage in ("select", "train", "evaluate"):
            share = getattr(self, stage)
            if share is not None and (share.gpus > 0) != (self.gpus > 0):
                told = f"`{stage}.gpus: {share.gpus:g}` does not go with `gpus: {self.gpus:g}`"
                raise SpecError("resources", f"{told}; a study runs on one kind of device, so set both or none")
        return self

    def share_of(self, stage: Literal["select", "train", "evaluate"]) -> Share:
        """What a process of this stage holds."""
        absent = Share(**{name: getattr(self, name) for name in Share.model_fields})
        told: Share | None = getattr(self, stage)
        return told or (absent if stage == "evaluate" else Share(gpus=self.gpus))

    @property
    def kind(self) -> str:
        """``cuda`` or ``cpu``: as asked, else a GPU where trials are given one."""
        if self.device != "auto":
            return self.device
        return "cuda" if self.gpus > 0 else "cpu"


class NodeType(Share):
    """A kind of node that an autoscaler may add: its share is all of the node. Ray does not tell what could be."""

    at_most: int = Field(gt=0)
    """How many there may be, those that run already among them."""
