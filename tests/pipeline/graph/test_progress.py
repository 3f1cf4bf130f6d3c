import io
import re
import time

import pytest
from rich.console import Console

from pipeline.graph import progress
from pipeline.graph.monitor import Counts, StageCount
from pipeline.graph.progress import Progress

STAGES = ("decode", "featurize", "write")


def counts(*left: int, failed: int = 0) -> Counts:
    """So many rows have left each stage; ``failed`` of them failed in the first."""
    found = {stage: StageCount(entered=n + 1, left=n, seconds=2.6) for stage, n in zip(STAGES, left, strict=True)}
    found[STAGES[0]].failed = failed
    return found


def make(now: Counts, total: int = 20, **more: bool) -> tuple[Progress, io.StringIO]:
    text = io.StringIO()
    return Progress(STAGES, total, lambda: now, Console(file=text, width=80, **more)), text  # type: ignore[arg-type]


def test_what_waits_is_what_the_stage_before_has_passed_on() -> None:
    shown, _ = make({})
    assert [shown.queue(counts(15, 12, 8), index) for index in range(3)] == [5, 3, 4]
    assert [shown.queue(counts(20, 20, 20), index) for index in range(3)] == [0, 0, 0]


def test_the_time_left_is_that_of_the_last_stage_at_its_mean_rate() -> None:
    shown, _ = make({})
    assert shown.eta_s(counts(20, 5, 0)) is None
    shown.started = time.monotonic() - 50
    assert shown.eta_s(counts(20, 10, 5)) == pytest.approx(150, rel=0.01)
    assert shown.eta_s(counts(20, 20, 20)) == 0


def test_a_line() -> None:
    shown, _ = make({})
    shown.started = time.monotonic() - 3700
    assert shown.line(counts(15, 12, 0)) == (
        "1:01:40  decode 15/20 (5 waiting)  featurize 12/20 (3 waiting)  write 0/20 (12 waiting)  left ?"
    )
    assert shown.line(counts(15, 12, 10, failed=2)).endswith("write 10/20 (2 waiting)  left 1:01:40")
    assert "decode 15/20 (5 waiting, 2 failed)  featurize" in shown.line(counts(15, 12, 10, failed=2))


def test_before_the_first_row_workers_are_starting() -> None:
    shown, text = make({})
    none = {stage: StageCount() for stage in STAGES}
    assert shown.line(none).endswith("write 0/20 (0 waiting)  starting workers")
    shown.out.print(shown.table(none))
    assert "elapsed, starting workers" in text.getvalue()
    none["decode"].entered = 1
    assert shown.line(none).endswith("left ?")


def test_a_table() -> None:
    shown, text = make({})
    shown.started = time.monotonic() - 100
    shown.out.print(shown.table(counts(15, 12, 10, failed=2)))
    words = re.sub(r"[^\w:? ]+", " ", text.getvalue()).split()
    assert " ".join(words) == (
        "0:01:40 elapsed 0:01:40 to go stage in out failed waiting seconds "
        "decode 16 15 2 5 3 featurize 13 12 0 3 3 write 11 10 0 2 3"
    )


@pytest.mark.parametrize(
    ("left", "said"),
    [
        ((20, 20, 5), "write has stalled for 120 s with 15 waiting"),
        ((20, 5, 5), "featurize has stalled for 120 s with 15 waiting"),
        ((5, 5, 5), "decode has stalled for 120 s with 15 waiting"),
        ((20, 18, 5), "write has stalled for 120 s with 13 waiting"),
        ((20, 20, 20), "nothing has moved for 120 s"),
    ],
)
def test_the_last_stage_with_something_to_do_is_named(left: tuple[int, int, int], said: str) -> None:
    assert make({})[0].stalled(counts(*left)) == said


def test_a_standstill_is_told_once_and_again_after_it_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "STALL_S", 0.0)
    now = counts(20, 5, 5)
    shown, text = make(now)
    shown.watch()
    assert text.getvalue() == ""
    for _ in range(3):
        shown.watch()
    assert text.getvalue() == "featurize has stalled for 0 s with 15 waiting\n"
    now["featurize"].left = 6
    shown.watch()
    now["write"].left = 6
    shown.watch()
    assert text.getvalue().count("\n") == 1
    shown.watch()
    assert text.getvalue().endswith("\nfeaturize has stalled for 0 s with 14 waiting\n")


def test_a_log_gets_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line a state however narrow the console, without colours or control characters."""
    monkeypatch.setattr(progress, "LINE_EVERY_S", 0.02)
    shown, text = make(counts(15, 12, 10, failed=2))
    deadline = time.monotonic() + 20
    with shown:
        while text.getvalue().count("\n") < 3:
            assert time.monotonic() < deadline, "no lines"
            time.sleep(0.01)
    lines = text.getvalue().splitlines()
    pattern = r"\d:\d\d:\d\d  decode 15/20 \(5 waiting, 2 failed\)  featurize .*  write 10/20 .*  left \d:\d\d:\d\d"
    assert all(re.fullmatch(pattern, line) for line in lines), lines
    said = text.getvalue()
    time.sleep(0.1)
    assert text.getvalue() == said


def test_a_terminal_gets_a_table_that_is_gone_afterwards() -> None:
    shown, text = make(counts(15, 12, 10), force_terminal=True)
    deadline = time.monotonic() + 20
    with shown:
        while "featurize" not in text.getvalue():
            assert time.monotonic() < deadline, "no table"
            time.sleep(0.05)
    assert "waiting" in text.getvalue()
    assert text.getvalue().rindex("\x1b[2K") > text.getvalue().rindex("featurize")


def test_a_short_run_ends_at_once() -> None:
    shown, text = make(counts(20, 20, 20))
    started = time.monotonic()
    with shown:
        pass
    assert time.monotonic() - started < 5
    assert text.getvalue() == ""
