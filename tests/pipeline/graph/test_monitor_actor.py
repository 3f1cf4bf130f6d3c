"""What featurizers tell the monitor about the clips that they begin."""

import os
import signal
from typing import Any

import pyarrow as pa
import pytest
import ray

from pipeline.graph.monitor_actor import SuspectReporter, new_monitor

pytestmark = pytest.mark.usefixtures("ray_cluster")


def clips(*slots: str | None) -> pa.Table:
    return pa.table({"slot": pa.array(slots, pa.string()), "stage": pa.nulls(len(slots), pa.string())})


def in_hand(monitor: Any) -> set[str]:
    return set(ray.get(monitor.read.remote())[1])


class _Dying:
    def compute(self, monitor: Any) -> None:
        with SuspectReporter(monitor, "featurize", "one").watch(clips("slot0")):
            os.kill(os.getpid(), signal.SIGKILL)


def test_clips_in_hand_are_those_a_worker_began_and_did_not_leave() -> None:
    monitor = new_monitor()
    one, two = (SuspectReporter(monitor, "featurize", name) for name in ("one", "two"))
    with one.watch(clips("slot0", "slot1", None)) as leave, two.watch(clips("slot2")):
        assert in_hand(monitor) == {"slot0", "slot1", "slot2"}
        leave(clips("slot0", "slot1", None))
    assert in_hand(monitor) == {"slot2"}  # two died, for all that is known


def test_clips_are_known_before_they_can_kill_their_worker() -> None:
    monitor = new_monitor()
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(ray.remote(num_cpus=0)(_Dying).remote().compute.remote(monitor))
    assert in_hand(monitor) == {"slot0"}


def test_a_lost_monitor_does_not_fail_the_clips() -> None:
    monitor = new_monitor()
    assert in_hand(monitor) == set()
    ray.kill(monitor)
    with SuspectReporter(monitor, "featurize", "one").watch(clips("slot0")) as leave:
        leave(clips("slot0"))
