"""Types of PyTorch for the annotations of files that are also used without it, such as by a plan.

Importing torch takes a second and hundreds of megabytes, so these files import it in the functions that compute. Where
it is imported already, as in tests, which check shapes, the types are its own; elsewhere they stand for anything.
"""

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING or "torch" in sys.modules:
    from torch import Tensor
    from torch import device as Device
    from torch import dtype as Dtype
else:
    Tensor = Device = Dtype = Any

__all__ = ["Device", "Dtype", "Tensor"]
