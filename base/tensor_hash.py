"""The identity of weights, independent of their files: a hash over the names, shapes and values of their tensors.

The same tensors have the same hash in .safetensors, .bin, .ckpt or several shards, in any order of names. Floating
point values are hashed as float32, which represents every float16 and bfloat16 exactly: lossless
conversion keeps the hash, rounding changes it.
"""

import json
import pickle
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from blake3 import blake3
from safetensors import SafetensorError, safe_open

from base.errors import WeightsError
from base.torch_types import Tensor
from base.weights import remembered

_VERSION = 1
Naming = Callable[[str], str | None]


def tensor_hash(
    files: Sequence[Path], kind: str, naming: Naming = lambda name: name, settings: Mapping[str, Any] | None = None
) -> str:
    """The identity of weights, ``blake3:`` and 64 hex digits; cached, since weights are gigabytes.

    ``naming`` maps a tensor's name to the model's, or to None if the model does not load it; ``kind`` identifies it in
    the cache. ``settings`` are further choices that change results. WeightsError if a file cannot be read or has no
    such tensor.
    """
    tensors = remembered(files, f"tensors {_VERSION} {kind}", lambda: _hash(files, naming))
    if settings is None:
        return tensors
    return f"blake3:{blake3(json.dumps([tensors, settings], sort_keys=True).encode()).hexdigest()}"


def _hash(files: Sequence[Path], naming: Naming) -> str:
    found: dict[str, Callable[[], Tensor]] = {}
    for path in files:
        for name, read in read_tensors(path):
            if (known := naming(name)) is not None:
                found[known] = read
    if not found:
        raise WeightsError(f"{', '.join(map(str, files))}: none of the expected tensors. Is it another model's?")
    hashed = blake3(max_threads=blake3.AUTO)
    for name in sorted(found):
        _add(hashed, name, found[name]())
    return f"blake3:{hashed.hexdigest()}"


def _add(hashed: Any, name: str, tensor: Tensor) -> None:
    import torch

    floats = tensor.dtype in (torch.float16, torch.bfloat16, torch.float32)
    header = [name, "float" if floats else str(tensor.dtype), list(tensor.shape)]
    values = (tensor.float() if floats else tensor).detach().contiguous().flatten()
    hashed.update(json.dumps(header).encode() + b"\n")
    hashed.update(values.view(torch.uint8).numpy())


def read_tensors(path: Path) -> Iterator[tuple[str, Callable[[], Tensor]]]:
    """The tensors of a file by name, read lazily; for a Lightning checkpoint those of its ``state_dict``.

    WeightsError if the file is damaged or contains more than tensors and plain values.
    """
    import torch

    try:
        if path.suffix == ".safetensors":
            file: Any = safe_open(path, framework="pt")  # stays open as long as a reader refers to it
            for name in file.keys():  # noqa: SIM118 - safe_open is not a dict
                yield name, lambda name=name: file.get_tensor(name)  # type: ignore[misc]
            return
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{path} contains Python objects, which are not loaded because they could execute code. If you trust it, "
            "load it with torch.load(..., weights_only=False) and save its tensors with safetensors."
        ) from error
    except (SafetensorError, RuntimeError, EOFError) as error:
        raise WeightsError(f"{path} cannot be read ({str(error).splitlines()[0]}): download it again.") from error
    stated = loaded.get("state_dict", loaded) if isinstance(loaded, dict) else {}
    for name, tensor in stated.items():
        if isinstance(tensor, torch.Tensor):
            yield name, lambda tensor=tensor: tensor  # type: ignore[misc]
