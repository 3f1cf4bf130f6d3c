"""Gathers the training state on one worker, however it is distributed, and loads it again."""

from typing import Any

from torch import Tensor
from torch.distributed.checkpoint import state_dict as gather

from training.loop.optimiser import Ema
from training.loop.train_step import TrainState

_WHOLE = gather.StateDictOptions(full_state_dict=True, cpu_offload=True)


def whole_state(state: TrainState) -> dict[str, Tensor]:
    """The full state as named tensors on the CPU; collective."""
    found = {f"network.{name}": value for name, value in _weights(state).items()}
    if state.ema:
        with state.ema.swapped(state.network.parameters()):
            found |= {f"ema.{name}": value.clone() for name, value in _weights(state).items()}
    moments: dict[str, Any] = gather.get_optimizer_state_dict(state.network, state.optimiser, options=_WHOLE)
    for name, values in moments.get("state", {}).items():  # empty except on the first worker
        found |= {f"optimiser.{name}.{key}": value for key, value in values.items()}
    return {name: value.contiguous() for name, value in found.items()}


def _weights(state: TrainState) -> dict[str, Tensor]:
    weights: dict[str, Any] = gather.get_model_state_dict(state.network, options=_WHOLE)
    return weights


def load_state(state: TrainState, saved: dict[str, Tensor]) -> None:
    """Load the output of :func:`whole_state` on any number of workers; collective."""
    parts: dict[str, dict[str, Any]] = {"network": {}, "ema": {}, "optimiser": {}}
    for name, value in saved.items():
        part, _, rest = name.partition(".")
        if part == "optimiser":
            parameter, _, key = rest.rpartition(".")
            parts[part].setdefault(parameter, {})[key] = value
        else:
            parts[part][rest] = value
    if state.ema:
        gather.set_model_state_dict(state.network, parts["ema"], options=_WHOLE)
        state.ema = Ema(state.network.parameters(), state.ema.decay)
    gather.set_model_state_dict(state.network, parts["network"], options=_WHOLE)
    # With the full-state option only the first worker would get them.
    groups = gather.get_optimizer_state_dict(state.network, state.optimiser)["param_groups"]
    whole = {"state": parts["optimiser"], "param_groups": groups}
    gather.set_optimizer_state_dict(state.network, state.optimiser, whole, options=_WHOLE)
