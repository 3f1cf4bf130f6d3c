"""Applies a function to clips in groups of fixed size, so that a clip's result does not depend on the others."""

import logging
from collections.abc import Callable

import torch
from torch import Tensor

log = logging.getLogger(__name__)


def in_groups(function: Callable[[Tensor], Tensor], clips: Tensor, size: int) -> Tensor:
    """Apply ``function`` to ``size`` clips at a time, the last group padded with its own first clip.

    Every call has the same shape, so the device uses the same kernels and a clip's result is bitwise equal in any
    batch. When the device runs out of memory the size is halved; from then on results may differ in the last bits,
    as other kernels may be used.
    """
    while True:
        try:
            return torch.cat([_one(function, clips[i : i + size], size) for i in range(0, len(clips), size)])
        except torch.OutOfMemoryError:
            if size == 1:
                raise
            size //= 2
            torch.cuda.empty_cache()
            log.warning("the GPU is out of memory: continuing with %d clips at a time", size)


def _one(function: Callable[[Tensor], Tensor], group: Tensor, size: int) -> Tensor:
    missing = size - len(group)
    if missing:
        group = torch.cat([group, group[:1].expand(missing, *group.shape[1:])])
    return function(group)[: size - missing]
