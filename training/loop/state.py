"""All that training changes, whole on one worker however it is spread, and back."""

from typing import Any

from torch import Tensor
from torch.distributed.checkpoint import state_dict as gather

from training.loop.optimiser import Ema
from training.loop.train_step import Trainee

_WHOLE = gather.StateDictOptions(full_state_dict=True, cpu_offload=True)


def training_state(trainee: Trainee) -> dict[str, Tensor]:
    """Everything of a trainee as named tensors on the CPU; collective."""
    state = {f"network.{name}": value for name, value in _weights(trainee).items()}
    if trainee.ema:
        with trainee.ema.swapped(trainee.network.parameters()):
            state |= {f"ema.{name}": value.clone() for name, value in _weights(trainee).items()}
    found: dict[str, Any] = gather.get_optimizer_state_dict(trainee.network, trainee.optimiser, options=_WHOLE)
    for name, moments in found.get("state", {}).items():  # empty but on the first worker
        state |= {f"optimiser.{name}.{key}": value for key, value in moments.items()}
    return {name: value.contiguous() for name, value in state.items()}


def _weights(trainee: Trainee) -> dict[str, Tensor]:
    weights: dict[str, Any] = gather.get_model_state_dict(trainee.network, options=_WHOLE)
    return weights


def load_state(trainee: Trainee, state: dict[str, Tensor]) -> None:
    """Give a trainee of any world what :func:`training_state` found; collective."""
    parts: dict[str, dict[str, Any]] = {"network": {}, "ema": {}, "optimiser": {}}
    for name, value in state.items():
        part, _, rest = name.partition(".")
        if part == "optimiser":
            parameter, _, key = rest.rpartition(".")
            parts[part].setdefault(parameter, {})[key] = value
        else:
            parts[part][rest] = value
    if trainee.ema:
        gather.set_model_state_dict(trainee.network, parts["ema"], options=_WHOLE)
        trainee.ema = Ema(trainee.network.parameters(), trainee.ema.decay)
    gather.set_model_state_dict(trainee.network, parts["network"], options=_WHOLE)
    # Asked for the whole state, all workers but the first would get nothing.
    groups = gather.get_optimizer_state_dict(trainee.network, trainee.optimiser)["param_groups"]
    whole = {"state": parts["optimiser"], "param_groups": groups}
    gather.set_optimizer_state_dict(trainee.network, trainee.optimiser, whole, options=_WHOLE)
