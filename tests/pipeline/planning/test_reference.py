"""Plans in columns decide what plans row by row decide, over random histories of a dataset."""

import random
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from base.keys import KeyIndex
from dataset.ledger import Ledger, Sources
from dataset.parts.tables import SOURCES, StoreOptions
from pipeline.manifest import ROWS
from pipeline.planning.plan import Planner, Retry
from pipeline.planning.to_probe import SourcesToProbe
from pipeline.recipes import Preprocess, sprites
from pipeline.video.sampling import Sampling
from pipeline.video.uneven import pack_times
from tests.pipeline.planning.reference import Asked, Found, Known, ReferencePlan

URIS = [*(f"s3://b/{number}.mp4" for number in range(12)), "/nowhere/a.mp4"]
UNEVEN = pack_times(np.array([0, *np.cumsum([100] * 60 + [20] * 120)], np.int64), Fraction(1, 1000))
JUMPY = pack_times(np.array([0, *np.cumsum([10, 2000] * 20)], np.int64), Fraction(1, 1000))
FAULTS = [None] * 12 + ["BadRow: 3 fields but 2 columns", "NotFetched"]
CAPTIONS = ["a cat", "a cat", "a dog walks", "", None, "caf\u00e9 \U0001f600", "x" * 40]
TIMES = [None] * 6 + [0.0, 1.0, 2.55]


class World(random.Random):
    """Videos, manifests and what becomes of a plan, drawn from a seed."""

    def recipe(self) -> Preprocess:
        least = self.randint(1, 3)
        sampling = Sampling(
            self.choice([4, 16]), least, least + self.randint(0, 3), self.choice([1, 1, 2, 3]), self.randint(0, 2)
        )
        keep = self.choice([(), ("source_height>=250",), ("source_height>=250", "source_frames<100", "fps>2")])
        store = StoreOptions(*self.choice([(4, 2), (1, 1), (256, 8)]))
        captions, longest = self.choice(["required", "optional"]), self.choice([30, 99])
        recipe = replace(sprites(), sampling=sampling, keep=keep, store=store)
        return replace(recipe, captions=captions, max_caption_bytes=longest)

    def manifest(self) -> list[list[dict[str, Any]]]:
        """Batches of rows; most rows of one come again in another manifest."""
        return [[self.row() for _ in range(self.randint(1, 12))] for _ in range(self.randint(1, 4))]

    def row(self) -> dict[str, Any]:
        values = (self.choice(some) for some in (URIS, CAPTIONS, TIMES, [None] * 5 + [3.0, 3.5, 90.0], FAULTS))
        return dict(zip(ROWS.names, values, strict=True))

    def source(self, uri: str, stamp: str) -> dict[str, Any]:
        """What a probe finds: a video, sometimes the same under another name, or an error."""
        facts = dict.fromkeys(SOURCES.names) | {"uri": uri, "stamp": stamp}
        if self.random() < 0.2:
            return facts | {"error_class": self.choice(["NotAVideo", "Interlaced"]), "message": "why"}
        facts |= {"content": f"blake3:{self.randint(0, 9)}", "codec": "h264", "pixel_format": "yuv420p"}
        frames, fps, times = self.choice(
            [(500, 25.0, None), (17, 10.0, None), (40, 9.99, None), (3, 30.0, None)] * 2
            + [(181, 180 / 8.4, UNEVEN), (41, 1.0, JUMPY)]
        )
        facts |= {"frames": frames, "fps": fps, "times": times, "variable_rate": times is not None, "turns": 0}
        return facts | {"height": self.choice([200, 300]), "width": 400, "pixel_aspect": 1.0}

    def some(self, items: Any, share: float) -> list[Any]:
        return [item for item in items if self.random() < share]


class Collected:
    """A sink that keeps what it gets, as the reference says it."""

    def __init__(self) -> None:
        self.found = Found()

    def clips(self, part: str, rows: pa.Table) -> None:
        self.found.parts.append((part, rows.to_pylist()))

    def rejects(self, rows: pa.Table) -> None:
        names = ("slot", "uri", "attempts", "outcome", "stage", "error_class", "message", "score")
        self.found.rejects += [{name: row[name] for name in names} for row in rows.to_pylist()]

    def recaption(self, slot: str, caption: str) -> None:
        self.found.captions[slot] = caption


def planned(
    asked: Asked, known: Known, sources: dict[str, dict[str, Any]], batches: list[list[dict[str, Any]]]
) -> Found:
    """What the planner says, in the reference's form."""
    ledger = Ledger.of(known.written)
    ledger.clip_ids = KeyIndex.of(sorted(known.clip_ids))
    ledger.rejected, ledger.attempts = known.rejected, known.attempts
    probed = SourcesToProbe()
    for uri in asked.probed:
        probed.add(uri, "")
    table = pa.Table.from_pylist(list(sources.values()), schema=SOURCES)
    sink = Collected()
    planner = Planner(
        asked.recipe, ledger, Sources.of(table), sink, limit=asked.limit, retry=Retry(asked.retry, probed)
    )
    plan = planner.run(pa.RecordBatch.from_pylist(batch, schema=ROWS) for batch in batches)
    found = sink.found
    names = ("rows", "reused", "failed_before", "filtered_before", "to_compute", "unprobed", "beyond_limit")
    found.counts.update({name: getattr(plan, name) for name in names})
    found.counts.update({f"{outcome} {kind}": count for (outcome, kind), count in plan.rejected.items()})
    assert plan.recaptioned == len(found.captions)
    found.to_probe = {row["uri"]: row["stamp"] for table in plan.sources_to_probe.tables() for row in table.to_pylist()}
    found.rejected_slots = planner.rejected_slots
    return found


@pytest.mark.parametrize("seed", range(60))
def test_columns_decide_as_rows_do(seed: int) -> None:
    world = World(seed)
    recipe, known, sources = world.recipe(), Known(), {}
    manifest = world.manifest()
    for _ in range(5):
        retry = frozenset(world.some(sorted(known.rejected), world.choice([0, 0, 0.5])))
        probed = frozenset(world.some(URIS, world.choice([0, 0.5])))
        asked = Asked(recipe, world.choice([None, None, 1, 5]), retry, probed)
        expected = ReferencePlan(asked, known, sources).run(manifest)
        found = planned(asked, known, sources, manifest)
        assert +found.counts == +expected.counts
        assert found == replace(expected, counts=found.counts)
        for _, part in world.some(found.parts, 0.7):
            failed = world.some(part, 0.2)
            known.rejected |= {clip["slot"]: ("failed", "Timeout") for clip in failed}
            known.attempts |= {clip["slot"]: known.attempts.get(clip["slot"], 0) + 1 for clip in failed}
            known.written |= {clip["slot"]: clip["caption"] for clip in part if clip not in failed}
            known.clip_ids |= {clip["clip_id"] for clip in part if clip not in failed}
        known.rejected |= {row["slot"]: (row["outcome"], row["error_class"]) for row in found.rejects}
        known.attempts |= {row["slot"]: row["attempts"] for row in found.rejects}
        known.rejected = {slot: why for slot, why in known.rejected.items() if slot not in known.written}
        sources |= {uri: world.source(uri, stamp) for uri, stamp in found.to_probe.items()}
        manifest = world.some(manifest, 0.8) + world.manifest()
        recipe = replace(recipe, keep=world.recipe().keep)
