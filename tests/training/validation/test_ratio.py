"""The ratio against closed forms: networks whose errors are known, and clips whose ratio is known."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from base.errors import InputError, NotFinite
from base.storage.folder import Folder
from diffusion.schedule import Prediction, Schedule
from models.video_model import VideoModel
from tests.training.datasets import Toy, write_toy
from training.data.artifacts import Artifacts
from training.data.source import Source
from training.validation.measure import HeldOut, held_out_draws, measure
from training.validation.options import Options
from training.validation.ratio import ClipErrors, compare_ratios

TOY = Toy(clips=10, still=frozenset({1, 6}), failed={"heatmaps": {4}})
OPTIONS = Options(timesteps=(0, 500, 999), batch=4, resamples=100, device="cpu")


def quiet(line: str) -> None:
    del line


class Oracle(VideoModel):
    """Knows every clip by its first frame, so it can predict the target and be wrong by a given amount."""

    conditions = ("text", "fps", "image_latent")
    latent_channels = 4

    def __init__(self, source: Source, schedule: Schedule, inside: float, outside: float) -> None:
        super().__init__()
        self.schedule, self.wrong, self.prompts = schedule, (inside, outside), list[Tensor]()
        samples = [source.read(place) for place in HeldOut.choose(source, None, 0).places]
        self.latents = torch.tensor(np.stack([sample["mean"] for sample in samples]), dtype=torch.float32)
        self.masks = torch.tensor(np.stack([sample["heatmap"] for sample in samples])) > 0.5

    def forward(self, noised: Tensor, timestep: Tensor, text: Tensor, fps: Tensor, image_latent: Tensor) -> Tensor:
        self.prompts += list(text)
        which = (self.latents[None, :, :, 0] - image_latent[:, None]).abs().sum((2, 3, 4)).argmin(1)
        clean = self.latents[which]
        alpha = self.schedule.alphas_cumprod[timestep].double().view(-1, 1, 1, 1, 1)
        noise = ((noised - alpha.sqrt() * clean) / (1 - alpha).sqrt()).float()
        inside, outside = self.wrong
        mask = self.masks[which][:, None]
        return self.schedule.target(clean, noise, timestep) + torch.where(mask, inside, outside)

    def sharded_units(self) -> Iterator[nn.Module]:
        yield from ()


class Silent(VideoModel):
    """Always predicts zero (or what it is told), so its error is the target's square."""

    conditions = ()
    latent_channels = 4

    def __init__(self, answer: float = 0.0) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, noised: Tensor, *_: Tensor) -> Tensor:
        return torch.full_like(noised, self.answer)

    def sharded_units(self) -> Iterator[nn.Module]:
        yield from ()


@pytest.fixture
def source(tmp_path: Path) -> Source:
    return Source(write_toy(Folder(str(tmp_path / "d")), TOY).uri, Artifacts())


def everything(source: Source) -> HeldOut:
    return HeldOut.choose(source, None, 0)


@pytest.mark.parametrize("prediction", ["v", "eps"])
def test_a_network_whose_error_is_known(source: Source, prediction: Prediction) -> None:
    schedule = Schedule(prediction=prediction)
    oracle = Oracle(source, schedule, inside=0.3, outside=-0.1)
    errors = measure(oracle, schedule, everything(source), OPTIONS, quiet)
    grid = TOY.shape[1] * TOY.shape[2] * TOY.shape[3]
    in_mask = TOY.shape[1] * (TOY.shape[2] // 4) ** 2
    assert len(errors.clip_ids) == 9
    assert errors.moving.sum() == 7
    assert set(errors.cells) == {grid}
    assert set(errors.cells_inside) == {0, in_mask}
    (run,) = compare_ratios([("run", errors)], 100, 0)
    share = in_mask / grid
    overall = 0.09 * share + 0.01 * (1 - share)
    for losses in run.by_timestep:
        assert losses.loss_in_mask == pytest.approx(0.09, rel=1e-3)
        assert losses.loss == pytest.approx(overall, rel=1e-3)
        assert losses.ratio.value == pytest.approx(0.09 / overall, rel=1e-3)
        assert losses.ratio.low == pytest.approx(losses.ratio.high, rel=1e-3)
    assert run.ratio.value == pytest.approx(0.09 / overall, rel=1e-3)
    # The empty prompt's states are zeros: none of the texts was dropped.
    assert all(prompt.any() for prompt in oracle.prompts)


def test_the_mean_of_the_target_is_known(source: Source) -> None:
    """A silent network's error is the target's mean square: one for the noise."""
    errors = measure(Silent(), Schedule(prediction="eps"), everything(source), OPTIONS, quiet)
    (run,) = compare_ratios([("run", errors)], 100, 0)
    assert [losses.loss for losses in run.by_timestep] == pytest.approx([1.0] * 3, abs=0.05)


def test_noise_depends_on_seed_clip_and_timestep_alone(source: Source) -> None:
    schedule = Schedule()
    clips = everything(source)
    whole = measure(Silent(), schedule, clips, OPTIONS, quiet)
    some = Options(timesteps=(500,), batch=1, limit=4, device="cpu")
    few = measure(Silent(), schedule, HeldOut.choose(source, 4, 0), some, quiet)
    rows = [whole.clip_ids.index(clip) for clip in few.clip_ids]
    assert len(set(rows)) == 4
    assert few.overall[:, 0] == pytest.approx(whole.overall[rows, 1], rel=1e-6)
    other = measure(Silent(), schedule, clips, Options(timesteps=OPTIONS.timesteps, seed=1, device="cpu"), quiet)
    assert not np.isclose(other.overall, whole.overall, rtol=1e-4).any()


def test_the_posterior_is_sampled_from_the_same_key(tmp_path: Path) -> None:
    first, again = (held_out_draws(3, "clip", 50, (4, 2, 2, 2)) for _ in range(2))
    assert torch.equal(first.posterior, again.posterior)
    for key in ((4, "clip", 50), (3, "other", 50), (3, "clip", 51)):
        assert not torch.equal(held_out_draws(*key, (4, 2, 2, 2)).posterior, first.posterior)
    spread = Source(write_toy(Folder(str(tmp_path / "spread")), Toy(clips=4, logvar=True)).uri, Artifacts())
    exact = Source(write_toy(Folder(str(tmp_path / "exact")), Toy(clips=4)).uri, Artifacts())
    found = [measure(Silent(), Schedule(), everything(s), OPTIONS, quiet).overall for s in (spread, spread, exact)]
    assert np.array_equal(found[0], found[1])
    assert not np.isclose(found[0], found[2], rtol=1e-6).all()


def test_what_is_no_number_is_told(source: Source) -> None:
    with pytest.raises(NotFinite, match="clip clip0000 at timestep 0 is not finite"):
        measure(Silent(float("nan")), Schedule(), everything(source), OPTIONS, quiet)


def clip_errors(inside: np.ndarray, overall: np.ndarray, cells: Sequence[int]) -> ClipErrors:
    """Errors by clip, means given, of clips with 10 cells in the mask of ``cells``."""
    count = len(inside)
    ids = tuple(f"clip{n}" for n in range(count))
    in_mask = np.full(count, 10)
    sums = inside[:, None] * 10, overall[:, None] * np.asarray(cells)[:, None]
    return ClipErrors(ids, (500,), *sums, in_mask, np.asarray(cells))


def test_clips_count_by_their_cells() -> None:
    """(2 * 10 + 4 * 10) / 20 = 3 over (1 * 100 + 2 * 300) / 400 = 1.75."""
    (run,) = compare_ratios([("run", clip_errors(np.array([2.0, 4.0]), np.array([1.0, 2.0]), (100, 300)))], 10, 0)
    assert run.by_timestep[0].ratio.value == pytest.approx(3 / 1.75)


def random_errors(rng: np.random.Generator, factor: float = 1.0) -> tuple[ClipErrors, ClipErrors]:
    """Two runs on 60 clips; the true ratios are 2 and 2 * factor. What makes a clip hard is hard for both."""
    hard = rng.lognormal(-0.125, 0.5, 60)  # of mean one
    inside = 2 * hard * rng.lognormal(-0.005, 0.1, (2, 60))
    overall = np.ones(60)
    first = clip_errors(inside[0], overall, [100] * 60)
    return first, clip_errors(factor * inside[1], overall, [100] * 60)


def test_intervals_cover_the_truth_and_are_paired() -> None:
    rng = np.random.default_rng(0)
    covered, difference_covered, narrower = 0, 0, 0
    for trial in range(100):
        first, second = random_errors(rng, 0.9)
        runs = compare_ratios([("a", first), ("b", second)], 300, trial)
        ratio, difference = runs[0].by_timestep[0].ratio, runs[1].by_timestep[0].difference
        assert ratio.low <= ratio.value <= ratio.high
        covered += ratio.low <= 2 <= ratio.high
        difference_covered += difference.low <= -0.2 <= difference.high
        narrower += difference.high - difference.low < 0.5 * (ratio.high - ratio.low)
    assert 85 <= covered <= 99
    assert 85 <= difference_covered <= 99
    assert narrower == 100


def test_intervals_depend_on_the_seed_alone() -> None:
    first, second = random_errors(np.random.default_rng(1))
    runs = [("a", first), ("b", second)]
    assert compare_ratios(runs, 200, 5) == compare_ratios(runs, 200, 5)
    assert compare_ratios(runs, 200, 5)[1].difference != compare_ratios(runs, 200, 6)[1].difference


def test_a_run_does_not_differ_from_itself() -> None:
    first, _ = random_errors(np.random.default_rng(2))
    for run in compare_ratios([("a", first), ("b", first)], 100, 0):
        for found in (run.difference, run.by_timestep[0].difference):
            assert (found.value, found.low, found.high) == (0, 0, 0)


def test_the_mean_is_over_timesteps() -> None:
    first, second = random_errors(np.random.default_rng(3))
    both = ClipErrors(
        first.clip_ids,
        (100, 200),
        np.hstack([first.inside, second.inside]),
        np.hstack([first.overall, second.overall]),
        first.cells_inside,
        first.cells,
    )
    (run,) = compare_ratios([("a", both)], 100, 0)
    assert run.ratio.value == pytest.approx(np.mean([losses.ratio.value for losses in run.by_timestep]))


def test_nothing_moves(tmp_path: Path) -> None:
    toy = Toy(clips=3, still=frozenset(range(3)))
    source = Source(write_toy(Folder(str(tmp_path / "d")), toy).uri, Artifacts())
    errors = measure(Silent(), Schedule(), everything(source), OPTIONS, quiet)
    with pytest.raises(InputError, match="none of the 3 clips has a heatmap cell above the threshold"):
        compare_ratios([("run", errors)], 10, 0)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"threshold": 1.0}, "threshold 1.0: must be from 0"),
        ({"timesteps": ()}, "one or more"),
        ({"timesteps": (5, 5)}, "distinct steps"),
        ({"timesteps": (-1, 5)}, "distinct steps"),
        ({"batch": 0}, "batch 0: must be at least 1"),
        ({"resamples": 0}, "resamples 0: must be at least 1"),
        ({"limit": 0}, "limit 0: must be at least 1"),
    ],
)
def test_options_are_checked(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        Options(**settings)
