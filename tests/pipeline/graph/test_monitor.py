import os
import signal
from typing import Any

import pyarrow as pa
import pytest
import ray

from pipeline.graph.monitor import Monitor, Reporter, StageCount


class Near:
    """A monitor in this process, called as an actor is."""

    def __init__(self) -> None:
        self.monitor = Monitor()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.monitor, name)
        return type("Call", (), {"remote": staticmethod(method)})


def rows(*stages: str | None, blank: int = 0) -> pa.Table:
    """Clips of which some failed in a stage, and ``blank`` rows that fill up the part."""
    slots = [f"slot{n}" for n in range(len(stages))]
    return pa.table(
        {
            "slot": pa.array(slots + [None] * blank, pa.string()),
            "stage": pa.array([*stages, *[None] * blank], pa.string()),
        }
    )


def test_counts_add_up_by_stage() -> None:
    monitor = Monitor()
    monitor.enter("decode", "", (), 8)
    monitor.enter("decode", "", (), 2)
    monitor.leave("decode", "", 8, 1, 0.5)
    monitor.leave("decode", "", 2, 0, 0.25)
    monitor.leave("write", "", 4, 0, 1.0)
    counts, _ = monitor.read()
    assert counts == {"decode": StageCount(10, 10, 1, 0.75), "write": StageCount(0, 4, 0, 1.0)}


def test_clips_in_hand_are_those_a_worker_began_and_did_not_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "get", lambda answer: answer)
    near = Near()
    one, two = (Reporter(near, "featurize", worker=name) for name in ("one", "two"))
    with one.watch(rows(None, None, blank=3)) as leave, two.watch(rows(None)):
        assert near.monitor.read()[1] == {"slot0", "slot1"}
        leave(rows(None, None, blank=3))
    assert near.monitor.read()[1] == {"slot0"}  # two died, for all that is known


class _Dying:
    def compute(self, monitor: Any, table: pa.Table) -> None:
        with Reporter(monitor, "featurize", worker="one").watch(table):
            os.kill(os.getpid(), signal.SIGKILL)


def test_clips_are_known_before_they_can_kill_their_worker(ray_cluster: None) -> None:
    monitor = ray.remote(num_cpus=0)(Monitor).remote()
    dying = ray.remote(num_cpus=0)(_Dying).remote()
    with pytest.raises(ray.exceptions.RayActorError):
        ray.get(dying.compute.remote(monitor, rows(None)))
    assert ray.get(monitor.read.remote())[1] == {"slot0"}


def test_a_lost_monitor_does_not_fail_the_clips(ray_cluster: None) -> None:
    monitor = ray.remote(num_cpus=0)(Monitor).remote()
    ray.get(monitor.read.remote())
    ray.kill(monitor)
    with Reporter(monitor, "featurize", worker="one").watch(rows(None)) as leave:
        leave(rows(None))


def test_only_a_named_worker_has_clips_in_hand() -> None:
    near = Near()
    with Reporter(near, "decode").watch(rows(None, None).select(["slot"])):
        assert near.monitor.read()[1] == set()


def test_actors_are_kept() -> None:
    monitor = Monitor()
    monitor.register("one")
    monitor.register("two")
    assert monitor.registered() == ["one", "two"]


def test_a_reporter_counts_clips_and_not_what_fills_up_a_part() -> None:
    near = Near()
    with Reporter(near, "decode").watch(rows(None, None, None, blank=5).select(["slot"])) as leave:
        assert near.monitor.counts == {"decode": StageCount(3, 0, 0, 0.0)}
        leave(rows(None, "decode", None, blank=5))
    count = near.monitor.counts["decode"]
    assert (count.entered, count.left, count.failed) == (3, 3, 1)
    assert count.seconds > 0


def test_a_reporter_counts_a_failure_in_the_stage_where_it_happened() -> None:
    near = Near()
    with Reporter(near, "featurize").watch(rows("decode", None, None, None)) as leave:
        leave(rows("decode", "featurize:a", None, None))
    assert near.monitor.counts["featurize"].failed == 1


def test_sources_are_counted_too() -> None:
    near = Near()
    with Reporter(near, "probe").watch(pa.table({"uri": ["a", "b"], "stamp": ["", ""]})) as leave:
        leave(pa.table({"stage": pa.array([None, "NotAVideo"], pa.string())}))
    count = near.monitor.counts["probe"]
    assert (count.entered, count.left, count.failed) == (2, 2, 1)
