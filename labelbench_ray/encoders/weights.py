"""Weights: read from a file, compared with a model, drawn at random, and named by their content."""

import contextlib
import logging
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
import xxhash
from torch import nn

from labelbench_ray.errors import WeightsError
from labelbench_ray.seeding import stream

State = Mapping[str, torch.Tensor]


def read_state(path: Path, encoder: str) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors or torch file; nothing in it is executed. Raises WeightsError."""
    path = Path(path).expanduser()
    if not path.is_file():
        raise WeightsError(encoder, f"no weights at {path}; give `weights_path` a file that exists")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # every format has its own errors; the user's mistake is the same
        raise WeightsError(encoder, f"{path} cannot be read as weights ({_why(path, error)})") from error
    for wrapper in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise WeightsError(encoder, f"{path} holds no tensors by name; save the `state_dict()` of a model there")
    return {str(key).removeprefix("module."): value for key, value in state.items()}


def _why(path: Path, error: Exception) -> str:
    """What is wrong and what to do: torch's own words speak of pickles, of archives, or are a bare number."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if "Unsupported global" in str(error):
        return "it holds Python objects, which are not loaded; save the `state_dict()` of the model instead"
    whole = path.suffix == ".safetensors" or zipfile.is_zipfile(path)
    reason = first_line(error) if whole else "it was cut short or is no such file"
    return f"{reason}; copy or download it again"


def load_state(module: nn.Module, state: State, encoder: str, path: Path) -> None:
    """Put every tensor in its place. Raises WeightsError naming the first keys that do not fit."""
    own = module.state_dict()
    # Counters of batch normalisation are no weights, and exporters leave them out.
    counters = {key: value for key, value in own.items() if key.endswith("num_batches_tracked")}
    complaint = mismatch(own, {**counters, **state})
    if complaint:
        raise WeightsError(encoder, other_architecture(path, complaint))
    module.load_state_dict({**counters, **state})


def other_architecture(path: Path, complaint: str) -> str:
    """What is wrong with such weights and what to do."""
    return f"{path} holds weights of another architecture: {complaint}; name the `model` they are of, or give others"


def mismatch(expected: State, found: State) -> str:
    """The first keys that are missing, unexpected or of another shape, with how many there are; empty if all fit."""
    shapes = [key for key in expected if key in found and expected[key].shape != found[key].shape]
    parts = [
        _some("missing", [key for key in expected if key not in found]),
        _some("unexpected", [key for key in found if key not in expected]),
        _some(
            "of another shape",
            [f"{key} {tuple(found[key].shape)} instead of {tuple(expected[key].shape)}" for key in shapes],
        ),
    ]
    return "; ".join(part for part in parts if part)


def _some(what: str, keys: Sequence[str], shown: int = 3) -> str:
    more = f" and {len(keys) - shown} more" if len(keys) > shown else ""
    return f"{what} {', '.join(keys[:shown])}{more}" if keys else ""


def weights_digest(module: nn.Module) -> str:
    """Digest of all parameters and buffers with their names: what the weights are, whatever they are called."""
    whole = xxhash.xxh3_128()
    for key, tensor in module.state_dict().items():
        whole.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}\0".encode())
        whole.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return f"xxh128:{whole.hexdigest()}"


@contextlib.contextmanager
def drawn_from(seed: int) -> Iterator[None]:
    """Let a library draw random weights from this seed; torch's global generator is afterwards as it was.

    Libraries initialise from the global CPU generator and take no other, so it is lent to them.
    """
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(int(stream(seed, "weights").integers(2**63 - 1)))
        yield


@contextlib.contextmanager
def without_chatter() -> Iterator[None]:
    """Silence what model libraries log while loading: "initialised randomly" was asked for, retries end in an error.

    They call ``logging.warning``, which gives a root logger without handlers one for good; hence the placeholder.
    """
    root, placeholder, before = logging.getLogger(), logging.NullHandler(), logging.root.manager.disable
    root.addHandler(placeholder)
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)
        root.removeHandler(placeholder)


def first_line(error: BaseException) -> str:
    """What an error says, cut to one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
