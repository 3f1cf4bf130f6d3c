"""Run a function over clips in groups of one fixed size, so that a clip's result does not depend on its neighbours."""

import logging
from collections.abc import Callable

import torch
from torch import Tensor

log = logging.getLogger(__name__)


def in_groups(function: Callable[[Tensor], Tensor], clips: Tensor, size: int) -> Tensor:
    """Apply ``function`` to ``size`` clips at a time, the last group filled up with its own first clip.

    Every call sees the same shape, so the device picks the same kernels and a clip gets the same bits alone and in
    any batch. When the device runs out of memory the size is halved and the work goes on; from then on the results
    can differ in the last bits, as the kernels may.
    """
    while True:
        try:
            return torch.cat([_one(function, clips[i : i + size], size) for i in range(0, len(clips), size)])
        except torch.OutOfMemoryError:
            if size == 1:
                raise
            size //= 2
            torch.cuda.empty_cache()
            log.warning("the GPU is out of memory: going on with %d clips at a time", size)


def _one(function: Callable[[Tensor], Tensor], group: Tensor, size: int) -> Tensor:
    missing = size - len(group)
    if missing:
        group = torch.cat([group, group[:1].expand(missing, *group.shape[1:])])
    return function(group)[: size - missing]
