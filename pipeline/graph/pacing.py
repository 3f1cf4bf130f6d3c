"""Keeps Ray Data from running far ahead of its slowest stage."""

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
    """Stops reading from a stage while many of its blocks wait.

    Ray's own limits are in bytes. Blocks of the plan have so few that all of a million clips would be read first, and
    while Ray handles them it does little else. It only counts blocks that the next stage can take, in their order, so
    a stage that stands still for this always goes on.
    """

    def max_task_output_bytes_to_read(self, op: PhysicalOperator) -> int | None:
        """0: nothing now; None: no limit."""
        return 0 if self._topology[op].output_queue.num_blocks >= MOST_WAITING else None


def keep_queues_short(context: DataContext) -> None:
    """Apply the policy, beside Ray's, to the datasets that are made with this context."""
    context.set_config(ENABLED_BACKPRESSURE_POLICIES_CONFIG_KEY, [*ENABLED_BACKPRESSURE_POLICIES, ShortQueues])
