"""Compiles a run's network; where that fails, the run says so, or goes on without."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from base.errors import InputError

Backend = str | Callable[..., Any]
_LONGEST = 300  # characters of a compiler's message


def compile_network(
    network: nn.Module, report: Callable[[str], None], *, optional: bool, backend: Backend = "inductor"
) -> None:
    """Have torch compile a network, which it does in the first call of each shape.

    If it fails there and is ``optional``, ``report`` is told, and the network goes on uncompiled; that call and all
    later ones then give what they would have given without compiling, random numbers included.
    """
    network.compile(backend=backend)
    if optional:
        network._compiled_call_impl = _Optional(network, report)


@contextmanager
def compiling_explained() -> Iterator[None]:
    """Within the context, a failed compilation raises InputError."""
    from torch._dynamo.exc import TorchDynamoException  # takes a second to import

    try:
        yield
    except TorchDynamoException as error:
        raise InputError(
            f"hardware.compile: the network could not be compiled ({_reason(error)}). Train without "
            "(--hardware.no-compile), or give --hardware.compile-optional to go on without where it fails."
        ) from error


class _Optional:
    """The call of a compiled network that goes on uncompiled once compiling failed."""

    def __init__(self, network: nn.Module, report: Callable[[str], None]) -> None:
        self.network, self.report = network, report
        self.compiled: Any = network._compiled_call_impl

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        from torch._dynamo.exc import TorchDynamoException

        random = _random_states()  # a part of the network may have drawn from them before another failed
        try:
            return self.compiled(*args, **kwargs)
        except TorchDynamoException as error:
            self.report(f"hardware.compile: the network could not be compiled ({_reason(error)}); going on without")
        self.network._compiled_call_impl = None
        _set_random_states(random)
        return self.network(*args, **kwargs)


def _random_states() -> list[Tensor]:
    """Of torch's generators: the CPU's, and the current GPU's."""
    gpu = [torch.cuda.get_rng_state()] if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    return [torch.get_rng_state(), *gpu]


def _set_random_states(states: list[Tensor]) -> None:
    torch.set_rng_state(states[0])
    for state in states[1:]:
        torch.cuda.set_rng_state(state)


def _reason(error: BaseException) -> str:
    """The start of a compiler's message, in one line."""
    text = " ".join(str(error).partition("\n\n")[0].split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
