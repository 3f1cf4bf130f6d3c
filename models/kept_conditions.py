"""Keeps what a network makes of its conditions alone over the steps of sampling: keys and values of the text."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from models.video_model import unwrap

_KEPT = 2  # sets of conditions: both branches of guidance, and the text's alone


@contextmanager
def conditions_kept(network: nn.Module) -> Iterator[None]:
    """Within the context, :meth:`models.video_model.VideoModel.condition_units` compute once for the same conditions.

    The same are those in the same tensors, which must not be changed meanwhile; no values are compared. The results
    are the tensors that would be computed again, so samples do not change. A compiled network stays as it is: it would
    have to be compiled again.
    """
    model = unwrap(network)
    units = [unit for unit in model.condition_units() if "forward" not in vars(unit)]
    if not units or any(getattr(each, "_compiled_call_impl", None) for each in (network, model)):
        yield
        return
    kept = _Kept()
    hook = model.register_forward_pre_hook(kept.note, with_kwargs=True)
    for unit in units:
        unit.forward = _Unit(unit.forward, kept)
    try:
        yield
    finally:
        hook.remove()
        for unit in units:
            vars(unit).pop("forward", None)


class _Kept:
    """The outputs of units for the last few sets of conditions; those of the present pass come last."""

    def __init__(self) -> None:
        self.sets: list[tuple[tuple[Any, ...], dict[int, Tensor]]] = []

    def note(self, network: nn.Module, args: tuple[Any, ...], given: dict[str, Any]) -> None:
        """Before a pass of the network: note which conditions it is given. Holding them keeps their identity."""
        del network, args
        present = (given.get("text"), given.get("image_tokens"))
        for number, (conditions, _) in enumerate(self.sets):
            if all(one is other for one, other in zip(conditions, present, strict=True)):
                self.sets.append(self.sets.pop(number))
                return
        self.sets = [*self.sets[1 - _KEPT :], (present, {})]

    @property
    def outputs(self) -> dict[int, Tensor]:
        """Of the present pass's conditions, by unit."""
        return self.sets[-1][1]


class _Unit:
    """The forward function of a unit that computes only if its output is not kept."""

    def __init__(self, forward: Any, kept: _Kept) -> None:
        self.forward, self.kept = forward, kept

    def __call__(self, given: Tensor) -> Tensor:
        outputs = self.kept.outputs
        if id(self) not in outputs:
            outputs[id(self)] = self.forward(given)
        return outputs[id(self)]
