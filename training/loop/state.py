"""Gathers the training state on one worker, however it is distributed, and loads it again."""

from dataclasses import replace
from typing import Any

from torch import Tensor
from torch.distributed.checkpoint import state_dict as gather

from base.errors import StorageError
from models.adapters.attach import trained
from models.misfits import misfits
from models.video_model import unwrap
from training.loop.optimiser import Ema
from training.loop.train_step import TrainState

_WHOLE = gather.StateDictOptions(full_state_dict=True, cpu_offload=True, ignore_frozen_params=True)


def whole_state(state: TrainState) -> dict[str, Tensor]:
    """The full state as named tensors on the CPU, without frozen parameters; collective."""
    found = {f"network.{name}": value for name, value in _weights(state).items()}
    if state.ema:
        with state.ema.swapped(state.trained):
            found |= {f"ema.{name}": value.clone() for name, value in _weights(state).items()}
    moments: dict[str, Any] = gather.get_optimizer_state_dict(state.network, state.optimiser, options=_WHOLE)
    for name, values in moments.get("state", {}).items():  # empty except on the first worker
        found |= {f"optimiser.{name}.{key}": value for key, value in values.items()}
    return {name: value.contiguous() for name, value in found.items()}


def _weights(state: TrainState) -> dict[str, Tensor]:
    weights: dict[str, Any] = gather.get_model_state_dict(state.network, options=_WHOLE)
    return weights


def load_state(state: TrainState, saved: dict[str, Tensor]) -> None:
    """Load the output of :func:`whole_state` on any number of workers; collective.

    StorageError if it is of other parameters.
    """
    parts: dict[str, dict[str, Any]] = {"network": {}, "ema": {}, "optimiser": {}}
    for name, value in saved.items():
        part, _, rest = name.partition(".")
        if part == "optimiser":
            parameter, _, key = rest.rpartition(".")
            parts[part].setdefault(parameter, {})[key] = value
        else:
            parts[part][rest] = value
    if state.ema:
        _set_weights(state, parts["ema"])
        state.ema = Ema(state.trained, state.ema.decay)
    _set_weights(state, parts["network"])
    # With the full-state option only the first worker would get them.
    groups = gather.get_optimizer_state_dict(state.network, state.optimiser)["param_groups"]
    whole = {"state": parts["optimiser"], "param_groups": groups}
    gather.set_optimizer_state_dict(state.network, state.optimiser, whole, options=_WHOLE)


def _set_weights(state: TrainState, weights: dict[str, Any]) -> None:
    model = unwrap(state.network)
    if model.adapter is not None:  # torch would not miss a tensor among frozen ones
        expected = {name: parameter.shape for name, parameter in trained(model).items()}
        if wrong := misfits(expected, {name: tensor.shape for name, tensor in weights.items()}):
            raise StorageError(
                f"the checkpoint is not of this adapter: {wrong}. Resume with the version that wrote it."
            )
    gather.set_model_state_dict(state.network, weights, options=replace(_WHOLE, strict=model.adapter is None))
