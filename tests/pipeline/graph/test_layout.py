from dataclasses import replace

import pytest

from base.errors import InputError
from pipeline.graph.layout import BLOCKS_A_GRAPH, Layout, encoders, lay_out, split_rows
from pipeline.recipes import Resources
from pipeline.stages.decode import clip_bytes
from pipeline.video.geometry import ClipShape

SHAPE = ClipShape(16, 256, 512)  # 6.7 MB a clip: ten of them are 64 MB
AUTO = Resources()
MANY = 100_000


def test_the_bytes_of_a_clip() -> None:
    assert clip_bytes(SHAPE) == 17 * 256 * 512 * 3


def test_without_gpus_every_core_decodes_and_computes() -> None:
    layout = lay_out(AUTO, SHAPE, MANY, 64, {"CPU": 6.0})
    assert (layout.featurizers, layout.decoders, layout.gpu, layout.device) == (6, 6, False, "cpu")
    assert layout.clips_a_block == 8
    assert layout.memory == 2 * (6 + 6) * 8 * clip_bytes(SHAPE) + (256 << 20)


def test_with_gpus_one_actor_each_and_the_other_cores_decode() -> None:
    layout = lay_out(AUTO, SHAPE, MANY, 64, {"CPU": 32.0, "GPU": 4.0})
    assert (layout.featurizers, layout.decoders, layout.gpu, layout.device) == (4, 28, True, "cuda")
    few_cores = lay_out(AUTO, SHAPE, MANY, 64, {"CPU": 4.0, "GPU": 4.0})
    assert (few_cores.featurizers, few_cores.decoders) == (4, 1)


def test_gpus_may_be_left_alone() -> None:
    layout = lay_out(Resources(device="cpu"), SHAPE, MANY, 64, {"CPU": 8.0, "GPU": 4.0})
    assert (layout.featurizers, layout.decoders, layout.device) == (8, 8, "cpu")


@pytest.mark.parametrize("cluster", [{"CPU": 8.0}, {"CPU": 8.0, "GPU": 0.0}])
def test_a_gpu_that_is_not_there(cluster: dict[str, float]) -> None:
    with pytest.raises(InputError, match="resources.device is cuda, but the cluster has no GPU: set it to cpu, or add"):
        lay_out(Resources(device="cuda"), SHAPE, MANY, 64, cluster)


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_what_the_recipe_says_counts(device: str) -> None:
    resources = Resources(device, featurizers=2, decoders=5, clips_a_block=4, memory_mb=100)  # type: ignore[arg-type]
    layout = lay_out(resources, SHAPE, MANY, 64, {"CPU": 32.0, "GPU": 4.0})
    assert layout == Layout(2, 5, 4, 100 << 20, True)


@pytest.mark.parametrize("part_rows", [1, 2, 7, 12, 30, 32, 50, 64, 97, 256])
@pytest.mark.parametrize("wanted", [0, 1, 5, 16, 1000])
def test_a_block_never_reaches_over_the_end_of_a_part(part_rows: int, wanted: int) -> None:
    layout = lay_out(replace(AUTO, clips_a_block=wanted), SHAPE, MANY, part_rows, {"CPU": 2.0})
    assert 1 <= layout.clips_a_block <= min(wanted or 10, part_rows)
    assert part_rows % layout.clips_a_block == 0
    larger = range(layout.clips_a_block + 1, min(wanted or 10, part_rows) + 1)
    assert all(part_rows % size for size in larger)


def test_small_clips_travel_by_the_sixteen_and_huge_ones_alone() -> None:
    assert lay_out(AUTO, ClipShape(4, 64, 64), MANY, 64, {"CPU": 2.0}).clips_a_block == 16
    assert lay_out(AUTO, ClipShape(64, 1024, 1024), MANY, 64, {"CPU": 2.0}).clips_a_block == 1


@pytest.mark.parametrize(("rows", "workers"), [(1, 1), (8, 1), (9, 2), (17, 3), (64, 8), (1000, 20)])
def test_no_more_workers_than_blocks(rows: int, workers: int) -> None:
    layout = lay_out(AUTO, SHAPE, rows, 64, {"CPU": 20.0})
    assert (layout.featurizers, layout.decoders) == (workers, workers)
    assert layout.memory == 4 * workers * 8 * clip_bytes(SHAPE) + (256 << 20)


@pytest.mark.parametrize(
    ("rows", "part_rows", "block", "graphs"),
    [
        (1, 256, 8, 1),
        (10_000, 256, 8, 1),
        (262_144, 256, 8, 1),
        (262_145, 256, 8, 2),
        (1_000_000, 256, 8, 4),
        (1_000_000, 256, 16, 2),
        (1_000_000, 60_000, 1, 17),  # a part of nearly as many blocks as a graph may have
        (1_000_000, 100_000, 1, 10),  # and one of more
    ],
)
def test_many_clips_take_several_graphs(rows: int, part_rows: int, block: int, graphs: int) -> None:
    pieces = split_rows(rows, part_rows, block)
    assert len(pieces) == graphs
    assert [piece.start for piece in pieces] == [0, *(piece.stop for piece in pieces[:-1])]
    assert pieces[-1].stop == rows
    assert all(piece.start % part_rows == 0 for piece in pieces)
    assert max(len(piece) for piece in pieces) <= max(part_rows, BLOCKS_A_GRAPH * block)


@pytest.mark.parametrize(("captions", "workers"), [(1, 1), (256, 1), (257, 2), (10**6, 4)])
def test_no_encoder_is_started_for_a_few_captions(captions: int, workers: int) -> None:
    layout = lay_out(AUTO, SHAPE, MANY, 1, {"CPU": 32.0, "GPU": 4.0})
    assert encoders(layout, captions) == workers
