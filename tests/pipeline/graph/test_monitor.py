import pyarrow as pa

from pipeline.graph.monitor import Monitor, Reporter, StageCount


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


def test_without_a_worker_no_clips_are_in_hand() -> None:
    monitor = Monitor()
    with Reporter(monitor, "decode").watch(rows(None, None).select(["slot"])):
        assert monitor.read()[1] == set()


def test_actors_are_kept() -> None:
    monitor = Monitor()
    monitor.register("one")
    monitor.register("two")
    assert monitor.registered() == ["one", "two"]


def test_a_reporter_counts_clips_and_not_what_fills_up_a_part() -> None:
    monitor = Monitor()
    with Reporter(monitor, "decode").watch(rows(None, None, None, blank=5).select(["slot"])) as leave:
        assert monitor.counts == {"decode": StageCount(3, 0, 0, 0.0)}
        leave(rows(None, "decode", None, blank=5))
    count = monitor.counts["decode"]
    assert (count.entered, count.left, count.failed) == (3, 3, 1)
    assert count.seconds > 0


def test_a_reporter_counts_a_failure_in_the_stage_where_it_happened() -> None:
    monitor = Monitor()
    with Reporter(monitor, "featurize").watch(rows("decode", None, None, None)) as leave:
        leave(rows("decode", "featurize:a", None, None))
    assert monitor.counts["featurize"].failed == 1


def test_sources_are_counted_too() -> None:
    monitor = Monitor()
    with Reporter(monitor, "probe").watch(pa.table({"uri": ["a", "b"], "stamp": ["", ""]})) as leave:
        leave(pa.table({"stage": pa.array([None, "NotAVideo"], pa.string())}))
    count = monitor.counts["probe"]
    assert (count.entered, count.left, count.failed) == (2, 2, 1)
