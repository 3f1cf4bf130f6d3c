"""Estimates the cost of networks on the meta device, without memory or kernels.

Bytes of a training step are those of tensors alive at once: weights, gradients, optimizer state, moving average, and
saved activations. A real run takes some ten percent more for allocator overhead, kernel workspaces and gradients in
flight. Bytes of an inference (:func:`forward_cost`) are those that kernels read and write.
"""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from base.gpus import Cost, InferencePrecision
from models.adapters.attach import same_on_meta
from models.video_model import EXPENSIVE, DataShapes, VideoModel, predict

Precision = Literal["float32", "bfloat16"]


def forward_cost(run: Callable[[], object], precision: InferencePrecision, *, autocast: bool = False) -> Cost:
    """The cost of ``run``, which computes on the meta device, every operation as a kernel of its own.

    ``precision`` is that of its networks, or with ``autocast`` that to which autocast would convert float32 networks.
    """
    flops, moved = FlopCounterMode(display=False), _Moved()
    with torch.no_grad(), _OnGpu(precision, autocast=autocast), flops, moved:
        run()
    return Cost(int(flops.get_total_flops()), moved.bytes, precision)


@dataclass(frozen=True)
class Estimate:
    """Costs of a training step on one device; sizes in bytes.

    ``weights`` are held as they are; gradients are float32, as are AdamW's two moments (``optimizer``) and the average
    (``ema``), of the ``trained`` among the ``parameters``. FLOPs count a multiply-add as two; ``recomputed_flops`` are
    those of gradient checkpointing, which ``step_flops`` include.
    """

    parameters: int
    trained: int
    weights: int
    gradients: int
    optimizer: int
    ema: int
    activations: int
    forward_flops: int
    recomputed_flops: int
    step_flops: int

    @property
    def total(self) -> int:
        """All bytes alive at once."""
        return self.weights + self.gradients + self.optimizer + self.ema + self.activations


def estimate(
    model: VideoModel, shapes: DataShapes, batch: int, precision: Precision = "bfloat16", ema: bool = True
) -> Estimate:
    """The costs of training a model on micro-batches of ``batch`` clips; it may be on any device, and is not run.

    Considers an adapter, and gradient checkpointing if enabled. ``precision`` is autocast's dtype, float32 for none.
    """
    count = trained_parameters(model)
    forward = flops(model, shapes, batch)
    recomputed = forward if model.recomputes == "all" else 0
    return Estimate(
        parameters=parameters(model),
        trained=count,
        weights=sum(parameter.nbytes for parameter in model.parameters()),
        gradients=4 * count,
        optimizer=8 * count,
        ema=4 * count if ema else 0,
        activations=activation_bytes(model, shapes, batch, precision),
        forward_flops=forward,
        recomputed_flops=recomputed,
        step_flops=training_flops(model, forward) + recomputed,
    )


def parameters(model: nn.Module) -> int:
    """The number of parameters."""
    return sum(parameter.numel() for parameter in model.parameters())


def trained_parameters(model: nn.Module) -> int:
    """The number of those that are not frozen."""
    return sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)


def flops(model: VideoModel, shapes: DataShapes, batch: int = 1) -> int:
    """FLOPs of one forward pass: convolutions, matrix products and attention, a multiply-add counting as two."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), _OnGpu("float32"), counter:
        _forward(same_on_meta(model).train().requires_grad_(False), shapes, batch)
    return int(counter.get_total_flops())


def training_flops(model: nn.Module, forward: int) -> int:
    """FLOPs of a step without recomputation: the backward pass costs a forward pass for the gradients of inputs, and
    for those of weights another one, or as much of it as weights are trained.
    """
    return 2 * forward + forward * trained_parameters(model) // parameters(model)


def activation_bytes(model: VideoModel, shapes: DataShapes, batch: int, precision: Precision = "bfloat16") -> int:
    """Bytes that forward saves for backward, without weights, but with their copies in autocast's dtype.

    With gradient checkpointing: what is saved between the recomputed units, and of them if not all is recomputed, plus
    what the largest unit recomputes (or, if larger, all trained weights in autocast's dtype, which are alive during the
    forward pass).
    """
    copy = same_on_meta(model).train()
    kept, units = _kept(copy, shapes, batch, precision)
    if model.recomputes is None:
        return kept
    copy.enable_gradient_checkpointing()
    partly = model.recomputes == "cheap"
    between, saved = _kept(copy, shapes, batch, precision, outputs=partly)
    if partly:
        units = [whole - part for whole, part in zip(units, saved, strict=True)]
    cast = 2 * trained_parameters(model) if precision == "bfloat16" else 0
    return between + max(cast, *units)


def _forward(model: VideoModel, shapes: DataShapes, batch: int) -> Tensor:
    with torch.device("meta"):
        sample, times = torch.empty(batch, *shapes.latent), torch.empty(batch, dtype=torch.long)
        given = {name: torch.empty(shape) for name, shape in shapes.conditions(batch).items()}
    return predict(model, sample, times, given)


def _kept(
    model: VideoModel, shapes: DataShapes, batch: int, precision: Precision, *, outputs: bool = False
) -> tuple[int, list[int]]:
    """Bytes that forward saves, in total and by each recomputable unit; with ``outputs`` also those of the expensive
    operations in units, which is what gradient checkpointing saves that recomputes the cheap ones.
    """
    own = {tensor.untyped_storage()._cdata for tensor in model.parameters()}
    # The graph keeps the tensors alive, so addresses identify storages.
    stored: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            stored[storage._cdata] = storage.nbytes()
        return tensor

    hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
    with (
        hooks,
        _OnGpu(precision),
        _measured(model, lambda: sum(stored.values())) as units,
        _Expensive(units, keep) if outputs else contextlib.nullcontext(),
    ):
        out = _forward(model, shapes, batch)
    assert out.requires_grad
    return sum(stored.values()), units.bytes


@contextlib.contextmanager
def _measured(model: VideoModel, stored: Callable[[], int]) -> Iterator["_Units"]:
    """The growth of ``stored`` in each unit."""
    units = _Units([], [])
    handles = []
    for unit in model.recomputed_units():
        handles.append(unit.register_forward_pre_hook(lambda *_: units.before.append(stored())))
        handles.append(unit.register_forward_hook(lambda *_: units.bytes.append(stored() - units.before.pop())))
    yield units
    for handle in handles:
        handle.remove()


@dataclass(frozen=True)
class _Units:
    """Bytes that are stored in each unit, in the order of the forward pass; ``before`` is not empty within one."""

    before: list[int]
    bytes: list[int]


class _Expensive(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Calls ``keep`` for the outputs of expensive operations in units."""

    def __init__(self, units: _Units, keep: Callable[[Tensor], Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.units, self.keep = units, keep
        self.kept: list[Tensor] = []  # so that no other takes their addresses

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = function(*args, **(kwargs or {}))
        if self.units.before and function.overloadpacket in EXPENSIVE:
            self.kept += [self.keep(leaf) for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
        return out


class _Moved(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of the inputs and outputs of every operation that is not a view."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = function(*args, **(kwargs or {}))
        if not function.is_view:
            tensors = (leaf for leaf in tree_leaves((args, kwargs, out)) if isinstance(leaf, Tensor))
            self.bytes += sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        return out


class _OnGpu(TorchFunctionMode):
    """Emulates CUDA on the meta device: autocast, and attention without a stored weight matrix."""

    _LOW = (F.linear, F.conv2d, F.conv3d)
    _FULL = (F.group_norm, F.layer_norm)

    def __init__(self, precision: InferencePrecision, *, autocast: bool = True) -> None:
        super().__init__()
        self.low = getattr(torch, precision)
        self.autocast = autocast
        self.copies: dict[int, Tensor] = {}

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if function is F.scaled_dot_product_attention:
            q, k, v = (self._cast(arg, self.low) for arg in (*args, *(kwargs or {}).values())[:3])
            return torch.ops.aten._scaled_dot_product_flash_attention(q, k, v)[0]
        if self.autocast and (function in self._LOW or function in self._FULL):
            dtype = self.low if function in self._LOW else torch.float32
            args = tuple(self._cast(arg, dtype) for arg in args)
            kwargs = {name: self._cast(arg, dtype) for name, arg in (kwargs or {}).items()}
        return function(*args, **(kwargs or {}))

    def _cast(self, value: Any, dtype: torch.dtype) -> Any:
        if not isinstance(value, Tensor) or value.dtype == dtype:
            return value
        if not isinstance(value, nn.Parameter):
            return value.to(dtype)
        if id(value) not in self.copies:  # autocast casts a weight once per pass
            self.copies[id(value)] = value.to(dtype)
        return self.copies[id(value)]
