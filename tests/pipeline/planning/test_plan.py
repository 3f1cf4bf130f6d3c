from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dataset.identity import text_id
from dataset.ledger import FAILED, FILTERED, Ledger, Sources
from dataset.parts.tables import SOURCES, StoreOptions
from pipeline.manifest import ROWS
from pipeline.manifest.stamps import stamp_all
from pipeline.planning.plan import Plan, Planner, Retry
from pipeline.planning.to_probe import SourcesToProbe
from pipeline.recipes import Preprocess, sprites
from pipeline.video.sampling import Sampling
from pipeline.video.uneven import even_frames, pack_times, unpack_times

RECIPE = replace(sprites(), store=StoreOptions(4, 2))


class Collected:
    """A sink that keeps what it gets."""

    def __init__(self) -> None:
        self.parts: list[tuple[str, list[dict[str, Any]]]] = []
        self.rejected: list[dict[str, Any]] = []
        self.captions: dict[str, str] = {}

    def clips(self, part: str, rows: pa.Table) -> None:
        self.parts.append((part, rows.to_pylist()))

    def rejects(self, rows: pa.Table) -> None:
        self.rejected += rows.to_pylist()

    def recaption(self, slot: str, caption: str) -> None:
        self.captions[slot] = caption

    @property
    def planned(self) -> list[dict[str, Any]]:
        return [row for _, rows in self.parts for row in rows]


def row(uri: str, caption: str | None = "words", **more: Any) -> dict[str, Any]:
    return {"uri": uri, "caption": caption, "start_s": None, "end_s": None, "fault": None} | more


def source(uri: str, **more: Any) -> dict[str, Any]:
    facts = dict.fromkeys(SOURCES.names) | {"uri": uri, "stamp": "", "content": f"content of {uri}", "frames": 40}
    facts |= {"fps": 10.0, "variable_rate": False, "height": 300, "width": 400, "turns": 0, "pixel_aspect": 1.0}
    return facts | more


def plan(
    rows: list[dict[str, Any]],
    sources: list[dict[str, Any]] = [],  # noqa: B006
    recipe: Preprocess = RECIPE,
    ledger: Ledger | None = None,
    **more: Any,
) -> tuple[Plan, Collected]:
    sink = Collected()
    known = Sources.of(pa.Table.from_pylist(sources, schema=SOURCES))
    batch = pa.RecordBatch.from_pylist(rows, schema=ROWS)
    return Planner(recipe, ledger or Ledger(), known, sink, **more).run([batch]), sink


def ledger_of(sink: Collected) -> Ledger:
    """The ledger after everything planned was written and everything rejected recorded."""
    written = {clip["slot"]: clip["caption"] for clip in sink.planned}
    ledger = Ledger.of(written, [clip["clip_id"] for clip in sink.planned])
    ledger.rejected = {reject["slot"]: (reject["outcome"], reject["error_class"]) for reject in sink.rejected}
    ledger.attempts = {reject["slot"]: reject["attempts"] for reject in sink.rejected}
    return ledger


def to_probe(found: Plan) -> dict[str, str]:
    return {row["uri"]: row["stamp"] for table in found.sources_to_probe.tables() for row in table.to_pylist()}


REMOTE = [f"s3://b/{i}.mp4" for i in range(10)]


def test_new_sources_are_probed_first() -> None:
    found, sink = plan([row(uri) for uri in REMOTE])
    assert (found.unprobed, found.to_compute, found.slots) == (10, 0, 10)
    assert list(found.sources_to_probe) == REMOTE
    assert sink.parts == []


def test_probed_sources_become_parts_of_clips() -> None:
    found, sink = plan([row(uri) for uri in REMOTE], [source(uri) for uri in REMOTE])
    assert (found.to_compute, found.slots) == (10, 10)
    assert [len(rows) for _, rows in sink.parts] == [4, 4, 2]
    assert sorted(clip["uri"] for clip in sink.planned) == REMOTE
    clip = sink.planned[0]
    assert clip["fps"] == 10.0 / clip["stride"]
    assert clip["text_id"] == text_id("words")
    assert (clip["source_height"], clip["source_frames"], clip["has_next"]) == (300, 40, True)


def test_bounds_and_spans_of_a_variable_rate_are_in_time() -> None:
    """Ten frames a second for six seconds, then fifty for 2.4: second 4 is frame 40, by the mean rate it was 86."""
    ticks = np.array([0, *np.cumsum([100] * 60 + [20] * 120)], np.int64)
    packed = pack_times(ticks, Fraction(1, 1000))
    fps = 180 / 8.4
    uneven = source(REMOTE[0], frames=181, fps=fps, variable_rate=True, times=packed)
    recipe = replace(RECIPE, sampling=Sampling(frames=4, min_stride=3, max_stride=6))
    rows = [row(REMOTE[0], start_s=4.0, end_s=end, caption=str(end)) for end in (5.5, 6.0, 6.5)]
    found, sink = plan(rows, [uneven], recipe)
    assert found.to_compute == 3
    for clip in sink.planned:
        numbers = even_frames(unpack_times(packed), clip["first"], clip["stride"] / fps, 4)
        assert numbers is not None
        assert ticks[numbers[0]] / 1000 >= 4.0
        assert ticks[numbers[-1]] / 1000 < float(clip["caption"])


def test_a_variable_rate_without_an_even_span_is_filtered_with_a_reason() -> None:
    packed = pack_times(np.array([0, *np.cumsum([10, 2000] * 20)], np.int64), Fraction(1, 1000))
    found, sink = plan([row(REMOTE[0])], [source(REMOTE[0], fps=1.0, variable_rate=True, times=packed, frames=41)])
    assert dict(found.rejected) == {("filtered", "UnevenTimes"): 1}
    assert "the frame rate varies" in sink.rejected[0]["message"]


def test_a_second_plan_has_nothing_to_do() -> None:
    rows, sources = [row(uri) for uri in REMOTE], [source(uri) for uri in REMOTE]
    rows.append(row("s3://b/none.mp4", None))
    _, sink = plan(rows, sources)
    again, nothing = plan(rows, sources, ledger=ledger_of(sink))
    assert (again.reused, again.failed_before, again.to_compute, again.slots) == (10, 1, 0, 11)
    assert nothing.parts == []
    assert nothing.rejected == []


def test_what_is_left_is_cut_as_before() -> None:
    """A run killed after its second part leaves the others to be cut into the very parts they would have been."""
    rows, sources = [row(uri) for uri in REMOTE], [source(uri) for uri in REMOTE]
    _, whole = plan(rows, sources)
    for done in ([0], [1], [2], [0, 2], [1, 2]):
        ledger = Ledger.of({clip["slot"]: clip["caption"] for number in done for clip in whole.parts[number][1]})
        _, rest = plan(rows, sources, ledger=ledger)
        assert rest.parts == [part for number, part in enumerate(whole.parts) if number not in done]


def test_ids_are_of_content_not_of_paths() -> None:
    _, here = plan([row("s3://b/a.mp4")], [source("s3://b/a.mp4", content="c")])
    _, there = plan([row("s3://c/z.mp4")], [source("s3://c/z.mp4", content="c")])
    assert here.planned[0]["clip_id"] == there.planned[0]["clip_id"]
    assert here.planned[0]["slot"] == there.planned[0]["slot"]
    moved, _ = plan([row("s3://c/z.mp4")], [source("s3://c/z.mp4", content="c")], ledger=ledger_of(here))
    assert moved.reused == 1


def test_the_same_clip_twice() -> None:
    rows = [row("s3://b/a.mp4"), row("s3://b/a.mp4"), row("s3://b/copy.mp4")]
    sources = [source("s3://b/a.mp4", content="c"), source("s3://b/copy.mp4", content="c")]
    found, sink = plan(rows, sources)
    assert found.to_compute == 1
    assert found.rejected == {(FILTERED, "Duplicate"): 2}
    assert len({reject["slot"] for reject in sink.rejected}) == 2
    again, _ = plan(rows, sources, ledger=ledger_of(sink))
    assert (again.reused, again.filtered_before, again.slots) == (1, 2, 3)


def test_several_clips_of_a_video() -> None:
    recipe = replace(RECIPE, sampling=Sampling(clips_per_video=3))
    _, sink = plan([row("s3://b/a.mp4")], [source("s3://b/a.mp4", frames=500)], recipe)
    assert len({(clip["first"], clip["stride"]) for clip in sink.planned}) == 3
    short, sink = plan([row("s3://b/a.mp4")], [source("s3://b/a.mp4", frames=17)], recipe)
    assert short.to_compute == 1
    assert short.rejected == {(FILTERED, "Duplicate"): 2}


def test_spans_of_the_manifest() -> None:
    found, sink = plan([row(REMOTE[0], start_s=1.0, end_s=3.0)], [source(REMOTE[0])])
    clip = sink.planned[0]
    assert clip["first"] >= 10
    assert clip["first"] + 15 * clip["stride"] < 30
    assert found.to_compute == 1
    short, _ = plan([row(REMOTE[0], start_s=1.0, end_s=2.0)], [source(REMOTE[0])])
    assert short.rejected == {(FILTERED, "TooShort"): 1}


@pytest.mark.parametrize(
    ("more", "kind"),
    [
        ({"caption": None}, "CaptionMissing"),
        ({"caption": "x" * 100_000}, "CaptionTooLong"),
        ({"fault": "BadRow: 3 fields"}, "BadRow"),
    ],
)
def test_rows_that_cannot_be_used(more: dict[str, Any], kind: str) -> None:
    found, sink = plan([row(REMOTE[0], **more)], [source(REMOTE[0])])
    assert found.rejected == {(FAILED, kind): 1}
    assert sink.rejected[0]["stage"] == "manifest"
    assert len(sink.rejected[0]["caption"]) <= 200


def test_captions_may_be_optional() -> None:
    _, sink = plan([row(REMOTE[0], None)], [source(REMOTE[0])], replace(RECIPE, captions="optional"))
    assert sink.planned[0]["caption"] == ""
    assert sink.planned[0]["text_id"] == text_id("")


def test_sources_that_could_not_be_read() -> None:
    bad = source(REMOTE[0], content=None, error_class="NotAVideo", message="Invalid data", frames=None)
    found, sink = plan([row(REMOTE[0])], [bad])
    assert found.rejected == {(FAILED, "NotAVideo"): 1}
    again, _ = plan([row(REMOTE[0])], [bad], ledger=ledger_of(sink))
    assert again.failed_before == 1
    slots = frozenset(reject["slot"] for reject in sink.rejected)
    retried, _ = plan([row(REMOTE[0])], [bad], ledger=ledger_of(sink), retry=Retry(slots))
    assert to_probe(retried) == {REMOTE[0]: ""}
    probed = SourcesToProbe()
    probed.add(REMOTE[0], "")
    still, sink = plan([row(REMOTE[0])], [bad], ledger=ledger_of(sink), retry=Retry(slots, probed))
    assert still.rejected == {(FAILED, "NotAVideo"): 1}
    assert sink.rejected[0]["attempts"] == 2


def test_rules_on_the_source_and_their_change() -> None:
    strict = replace(RECIPE, keep=("source_height>=320",))
    found, sink = plan([row(REMOTE[0])], [source(REMOTE[0])], strict)
    assert found.rejected == {(FILTERED, "source_height>=320"): 1}
    assert sink.rejected[0]["score"] == 300
    same, _ = plan([row(REMOTE[0])], [source(REMOTE[0])], strict, ledger_of(sink))
    assert same.filtered_before == 1
    without, _ = plan([row(REMOTE[0])], [source(REMOTE[0])], RECIPE, ledger_of(sink))
    assert without.to_compute == 1


def test_a_limit_bounds_clips_and_probes() -> None:
    rows, sources = [row(uri) for uri in REMOTE], [source(uri) for uri in REMOTE]
    found, sink = plan(rows, sources, limit=3)
    assert (found.to_compute, found.beyond_limit, found.slots) == (3, 7, 3)
    assert {clip["uri"] for clip in sink.planned} == set(REMOTE[:3])
    fresh, _ = plan(rows, limit=3)
    assert len(fresh.sources_to_probe) == 3


def test_another_caption_is_told_and_the_clip_kept() -> None:
    _, sink = plan([row(REMOTE[0])], [source(REMOTE[0])])
    found, _ = plan([row(REMOTE[0], "other words")], [source(REMOTE[0])], ledger=ledger_of(sink))
    assert (found.reused, found.recaptioned) == (1, 1)


def test_a_local_file_that_changed_is_probed_again(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(b"one")
    stamp = stamp_all([str(path)])[0]
    known = [source(str(path), stamp=stamp)]
    same, _ = plan([row(str(path))], known)
    assert same.to_compute == 1
    path.write_bytes(b"other")
    changed, _ = plan([row(str(path))], known)
    assert changed.unprobed == 1
    path.unlink()
    gone, _ = plan([row(str(path))], known)
    assert to_probe(gone) == {str(path): "missing"}


@pytest.mark.parametrize("kind", ["HighDynamicRange", "UnknownColour", "Interlaced", "DisplayMatrix"])
def test_a_video_that_is_not_used_is_filtered_and_not_failed(kind: str) -> None:
    sources = [source("s3://b/0.mp4", content=None, error_class=kind, message="why")]
    found, sink = plan([row("s3://b/0.mp4")], sources)
    assert dict(found.rejected) == {(FILTERED, kind): 1}
    again, _ = plan([row("s3://b/0.mp4")], sources, ledger=ledger_of(sink))
    assert (again.filtered_before, again.to_compute, again.unprobed) == (1, 0, 0)
