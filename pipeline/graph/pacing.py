"""Keeps Ray Data from running far ahead of its slowest stage."""

import math

from ray.data import DataContext
from ray.data._internal.execution.backpressure_policy import (
    ENABLED_BACKPRESSURE_POLICIES,
    ENABLED_BACKPRESSURE_POLICIES_CONFIG_KEY,
    BackpressurePolicy,
)
from ray.data._internal.execution.interfaces import PhysicalOperator

MOST_WAITING = 512
"""Blocks of one stage that may wait for the next one."""


class ShortQueues(BackpressurePolicy):  # type: ignore[misc]
    """Reads from a stage only as many blocks as may wait.

    Ray's own limits are in bytes. Blocks of the plan have so few that all of a million clips would be read first, and
    while Ray handles them it does little else. It only counts blocks that the next stage can take, in their order, so
    a stage that stands still for this always goes on.
    """

    def max_task_output_bytes_to_read(self, op: PhysicalOperator) -> int:
        """How many bytes of this stage may be read now; of one that has made nothing yet, a first block."""
        room = MOST_WAITING - int(self._topology[op].output_queue.num_blocks)
        size = float(op.metrics.average_bytes_per_output or 1 / MOST_WAITING)
        return max(0, math.ceil(room * size))


def keep_queues_short(context: DataContext) -> None:
    """Apply the policy, beside Ray's, to the datasets that are made with this context."""
    # While the next stage stands still, as at its start, Ray lets one more block through each time that it looks.
    context.output_backpressure_guard_release_interval_s = 0.1
    context.set_config(ENABLED_BACKPRESSURE_POLICIES_CONFIG_KEY, [*ENABLED_BACKPRESSURE_POLICIES, ShortQueues])
