"""What featurizers tell the monitor about the clips that they begin."""

import itertools
import os
import signal

import pyarrow as pa
import pytest
import ray

from pipeline.graph.monitor_actor import PassMonitor, SuspectReporter, new_monitor, release

pytestmark = pytest.mark.usefixtures("ray_cluster")


def clips(*slots: str | None) -> pa.Table:
    return pa.table({"slot": pa.array(slots, pa.string()), "stage": pa.nulls(len(slots), pa.string())})


def in_hand(monitor: PassMonitor) -> set[str]:
    return set(ray.get(monitor.read())[1])


class _Dying:
    def compute(self, monitor: PassMonitor) -> None:
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
    ray.kill(monitor.actor)
    with SuspectReporter(monitor, "featurize", "one").watch(clips("slot0")) as leave:
        leave(clips("slot0"))


def test_a_pass_takes_over_the_process_of_the_one_before_and_none_of_its_counts() -> None:
    first = new_monitor()
    late = SuspectReporter(first, "featurize", "one")
    with late.watch(clips("slot0")):
        second = new_monitor(first)
        with late.watch(clips("slot1", "slot2")) as leave:
            leave(clips("slot1", "slot2"))
    counts, suspects = ray.get(second.read())
    assert second.actor == first.actor
    assert (counts, suspects) == ({}, set())
    release(first)  # as a pass does whose generator is closed late: it has no actors any more
    assert in_hand(first) == set()
    with SuspectReporter(second, "featurize", "two").watch(clips("slot3")):
        assert in_hand(second) == {"slot3"}


def test_a_pass_after_a_lost_monitor_has_one_of_its_own() -> None:
    first = new_monitor()
    ray.kill(first.actor)
    with pytest.raises(ray.exceptions.RayActorError):  # it has ended, which takes a moment
        all(in_hand(first) == set() for _ in itertools.count())
    assert in_hand(new_monitor(first)) == set()
