"""Notes the operations at which the host would wait for a GPU, without one."""

from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

# Operations whose result the host needs; the first is what float(), bool() and item() come down to.
_OF_VALUES = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "unique")


class HostWaits(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Within the context, ``found`` gets the names of operations that would wait.

    These are the ones that give the host a value, and copies between devices that are not asynchronous. The meta device
    can stand in for a GPU: copies to it are operations of their own, and it has no values either, for which 1 is given.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: list[str] = []

    def __torch_dispatch__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Note the operation if it would wait, and run it."""
        named = kwargs or {}
        name = function.overloadpacket.__name__
        if name.startswith(_OF_VALUES):
            self.found.append(name)
            return 1.0
        out = function(*args, **named)
        if name in ("_to_copy", "copy_") and not (named.get("non_blocking") or args[2:] == (True,)):
            devices = {leaf.device.type for leaf in tree_leaves((args, named, out)) if isinstance(leaf, Tensor)}
            if len(devices) > 1:
                self.found.append(name)
        return out
