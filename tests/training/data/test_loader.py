"""Which clips, noise and texts make a step, for any number of workers."""

import threading
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch

from base.errors import StorageError
from base.storage.folder import Folder
from dataset.reading import RowGroup, Sample
from diffusion.schedule import Schedule
from tests.training.datasets import Toy, write_toy
from training.data.artifacts import Artifacts
from training.data.batch import Batch
from training.data.loader import Batches, BatchPlan, Prefetcher, Share
from training.data.source import Source

PLAN = BatchPlan(batch=8, seed=0, process=Schedule())


@pytest.fixture(scope="module")
def source(toy_dataset: Folder) -> Source:
    return Source(toy_dataset.uri, Artifacts())


class Reads:
    """The row groups that a source reads, and those of them whose samples are still in memory."""

    def __init__(self, source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: dict[int, weakref.ref[np.ndarray]] = {}
        self.read, self.numbers = source.reader.read, {group: n for n, group in enumerate(source.reader.groups)}
        monkeypatch.setattr(source.reader, "read", self.noted)

    def noted(self, group: RowGroup) -> list[Sample]:
        samples = self.read(group)
        self.seen[self.numbers[group]] = weakref.ref(samples[0]["latents/mean"])
        return samples

    def held(self) -> int:
        return sum(array() is not None for array in self.seen.values())


def micro_batches(
    sources: list[Source], steps: int, world: int = 1, micro: int = 8, plan: BatchPlan = PLAN
) -> list[Batch]:
    found = []
    for rank in range(world):
        batches = Batches(sources, plan, Share(rank, world, micro))
        found += [batch for step in range(steps) for batch in batches.make(step).micro_batches]
    return found


def by_noise(batches: list[Batch]) -> dict[bytes, tuple[object, ...]]:
    """Each sample by its noise, which no other sample has."""
    rows: dict[bytes, tuple[object, ...]] = {}
    for batch in batches:
        for row, clip in enumerate(batch.clip_ids):
            values = (batch.latents, batch.heatmap, batch.text, batch.fps, batch.timestep)
            rows[batch.noise[row].numpy().tobytes()] = (clip, *(value[row].numpy().tobytes() for value in values))
    return rows


@pytest.mark.parametrize(("world", "micro"), [(1, 1), (2, 4), (4, 2), (8, 1)])
def test_any_number_of_workers_sees_the_same_samples(source: Source, world: int, micro: int) -> None:
    alone = by_noise(micro_batches([source], 3))
    assert len(alone) == 24
    assert by_noise(micro_batches([source], 3, world, micro)) == alone


def test_every_clip_comes_once_before_any_comes_again(source: Source) -> None:
    clips = [clip for batch in micro_batches([source], 3) for clip in batch.clip_ids]
    assert len(clips) == 24
    assert all(clips.count(clip) == 2 for clip in clips)  # twelve clips


def test_a_step_goes_on_from_its_cursor_alone(source: Source) -> None:
    whole = Batches([source], PLAN, Share(0, 1, 8))
    made = [whole.make(step) for step in range(5)]
    again = Batches([source], PLAN, Share(0, 1, 8), made[2].cursor)
    for step in (3, 4):
        assert by_noise(list(again.make(step).micro_batches)) == by_noise(list(made[step].micro_batches))


def test_workers_share_the_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch holds clips of many groups and is dealt out by group: each worker reads its own, and keeps few."""
    dataset = write_toy(Folder(str(tmp_path)), Toy(clips=128, clips_a_part=32, clips_a_row_group=4))
    plan = BatchPlan(16, 0, Schedule(), window=128)
    wanted, read = [], []
    for rank in range(2):
        mine = Source(dataset.uri, Artifacts())
        batches = Batches([mine], plan, Share(rank, 2, 8))
        assert mine.kept_groups == 24
        wanted.append({place.group for place in (batches.orders[0][n] for n in range(16))})
        reads = Reads(mine, monkeypatch)
        batches.make(0)
        read.append(reads.seen.keys())
    assert len(wanted[0]) == 16  # of 32: one clip of each
    assert max(read[0]) < min(read[1])
    assert read[0] | read[1] == wanted[0]


def test_a_window_of_few_clips_gives_the_same_batches_and_holds_few_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = write_toy(Folder(str(tmp_path)), Toy(clips=64, clips_a_part=32, clips_a_row_group=4))
    plan = BatchPlan(8, 0, Schedule(), window=32)
    ample, scarce = Source(dataset.uri, Artifacts()), Source(dataset.uri, Artifacts())
    one, other = (Batches([source], plan, Share(0, 1, 8)) for source in (ample, scarce))
    scarce.kept_groups = 1
    of_ample, of_scarce = Reads(ample, monkeypatch), Reads(scarce, monkeypatch)
    for step in range(12):
        assert by_noise(list(one.make(step).micro_batches)) == by_noise(list(other.make(step).micro_batches))
        assert of_ample.held() <= 8
        assert of_scarce.held() == 1


def test_texts_are_dropped_by_sample(source: Source) -> None:
    plan = BatchPlan(batch=8, seed=0, process=Schedule(), text_dropout=0.5)
    texts = torch.cat([batch.text for batch in micro_batches([source], 20, plan=plan)])
    empty = torch.from_numpy(np.asarray(source.empty_text, np.float32))
    dropped = (texts == empty).all(dim=(1, 2))
    assert 0.35 < dropped.float().mean() < 0.65
    assert not dropped[:8].all()
    assert dropped[:8].any()


def test_the_posterior_is_sampled_when_a_batch_is_made(source: Source) -> None:
    """The same clip in another epoch has other latents, around the stored mean."""
    seen: dict[str, list[torch.Tensor]] = {}
    for batch in micro_batches([source], 30):
        for row, clip in enumerate(batch.clip_ids):
            seen.setdefault(clip, []).append(batch.latents[row])
    clip, samples = next(iter(seen.items()))
    expected = Toy(logvar=True).values(int(clip.removeprefix("clip")))
    deviations = (torch.stack(samples) - torch.from_numpy(expected["mean"].astype(np.float32))) / torch.exp(
        0.5 * torch.from_numpy(expected["logvar"].astype(np.float32))
    )
    assert not torch.equal(samples[0], samples[1])
    assert abs(float(deviations.mean())) < 0.05
    assert abs(float(deviations.std()) - 1) < 0.05


def test_two_datasets_are_mixed_by_weight_and_shape(tmp_path: Path) -> None:
    wide = write_toy(Folder(str(tmp_path / "wide")), Toy(shape=(4, 4, 8, 16)))
    plain = write_toy(Folder(str(tmp_path / "plain")), Toy(first=100))
    sources = [Source(folder.uri, Artifacts()) for folder in (wide, plain)]
    widths = [batch.latents.shape[-1] for batch in micro_batches(sources, 20, micro=4)]
    assert set(widths) == {8, 16}


def test_the_scaling_factor_is_applied_to_the_sample(tmp_path: Path) -> None:
    found = []
    for factor in (1.0, 0.5):
        dataset = write_toy(Folder(str(tmp_path / f"{factor}")), Toy(scaling_factor=factor))
        found.append(micro_batches([Source(dataset.uri, Artifacts())], 1)[0].latents)
    torch.testing.assert_close(found[1], 0.5 * found[0])


def test_a_prefetcher_hands_over_what_would_be_made(source: Source) -> None:
    made = Batches([source], PLAN, Share(0, 1, 8))
    with Prefetcher(Batches([source], PLAN, Share(0, 1, 8)), 0, 4) as steps:
        for step, data in enumerate(steps):
            assert data.step == step
            assert by_noise(list(data.micro_batches)) == by_noise(list(made.make(step).micro_batches))
    assert step == 3


def test_a_prefetcher_raises_what_went_wrong_and_ends(tmp_path: Path) -> None:
    dataset = write_toy(Folder(str(tmp_path)))
    source = Source(dataset.uri, Artifacts())
    for part in (tmp_path / "latents").iterdir():
        part.write_bytes(b"\xff" * part.stat().st_size)
    with Prefetcher(Batches([source], PLAN, Share(0, 1, 8)), 0, 4) as steps, pytest.raises(StorageError, match="part-"):
        next(steps)


def test_leaving_a_prefetcher_ends_its_thread(source: Source) -> None:
    before = set(threading.enumerate())
    with Prefetcher(Batches([source], PLAN, Share(0, 1, 8)), 0, 1000) as steps:
        next(steps)
        (thread,) = set(threading.enumerate()) - before
    assert not thread.is_alive()
