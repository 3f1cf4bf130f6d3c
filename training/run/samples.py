"""Videos sampled during training, of the same few clips each time to show progress."""

import json
import time
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from base.storage.folder import Folder
from diffusion.sampling import Conditions, draw_noise, sample, to_frames
from media.video_file import encode_video
from models.kept_conditions import conditions_kept
from models.video_model import predict, unwrap, with_given_frames
from training.data.batch import Batch, collate
from training.data.draws import draw
from training.data.order import make_order
from training.data.source import Source
from training.loop.parallel import World
from training.loop.train_step import TrainState
from training.recipes import Train
from training.run.encoders import find_latent_space

# Separate these draws from those of any step or dataset.
_NO_STEP = 2**32 - 1
_NO_DATASET = 2**32 - 1
_LINE_EVERY_S = 5.0


class Sampler:
    """Samples ``samples.num`` clips of a run's first dataset; which ones depends only on the seed.

    WeightsError immediately if their latents cannot be decoded. ``report`` takes lines for the user. Where the network
    takes a motion level, which ``motion_bounds`` are of, it is given each clip's own.
    """

    def __init__(
        self,
        config: Train,
        source: Source,
        world: World,
        report: Callable[[str], None],
        motion_bounds: tuple[float, ...] = (),
    ) -> None:
        self.config, self.source, self.world, self.motion_bounds = config, source, world, motion_bounds
        self.report = report if world.first else _unsaid
        self.space = find_latent_space(config.network.start, source, world.device) if world.first else None
        # Read now: later another thread reads from the source.
        self.batch, self.prompts = self._batch()

    def write(self, state: TrainState, run: Folder, step: int) -> None:
        """Sample with the weights that would be saved; called by all workers, written by the first."""
        batch = self.batch
        started = time.perf_counter()
        title = f"samples of step {step}"
        options, many = self.config.samples, "s" * (len(batch) > 1)
        self.report(f"{title}: {len(batch)} clip{many}, {options.steps} passes (--samples.every {options.every})")
        network = state.network.eval()
        with ExitStack() as stack:
            if state.ema:
                stack.enter_context(state.ema.swapped(state.trained))
            half = self.config.hardware.precision == "bfloat16"
            stack.enter_context(torch.autocast(self.world.device.type, torch.bfloat16, enabled=half))
            stack.enter_context(conditions_kept(network))
            latents = self._sample(network, batch.to(self.world.device), Passes(title, self.report))
        network.train()
        if self.space:
            pictures = torch.cat([self.space.decode(clips).cpu() for clips in (batch.latents, latents)], dim=-1)
            frames = to_frames(pictures, self.space.frames(batch.latents.shape[2]))
            source = "its first frame and prompt" if unwrap(network).takes_image else "its prompt"
            facts = {"step": step, "left": "the clip as encoded", "right": f"sampled from {source}"}
            _write(run / "samples" / f"step-{step:08}", frames, self.prompts, batch.fps.tolist(), facts)
        self.report(f"{title}: written, {time.perf_counter() - started:.0f} s")

    def _batch(self) -> tuple[Batch, list[str]]:
        facts, process = self.source.facts, self.config.schedule
        held = self.source.groups_in(self.config.window)
        order = make_order(self.source.rows, self.config.seed, _NO_DATASET, held)
        clips = [self.source.read(order[n]) for n in range(min(self.config.samples.num, len(self.source)))]
        draws = [draw((self.config.seed, _NO_STEP, at), facts.shape, process, 0.0) for at in range(len(clips))]
        batch = collate(clips, draws, self.source.empty_text, facts.scaling_factor, self.motion_bounds)
        return batch, [clip["caption"] for clip in clips]

    def _sample(self, network: nn.Module, batch: Batch, passes: "Passes") -> Float[Tensor, "b c t h w"]:
        """Latents for texts, and for first frames and motion levels where the network takes them."""
        seeds = [self.config.seed + number for number in range(len(batch))]
        empty = torch.from_numpy(np.asarray(self.source.empty_text, np.float32)).to(batch.text).expand_as(batch.text)
        taken = set(unwrap(network).conditions) - {"text", "fps"}
        others = {name: value for name, value in batch.conditions.items() if name in taken and value is not None}
        sampled = sample(
            partial(predict, network),
            self.config.schedule,
            Conditions(batch.text, empty, batch.fps, others),
            draw_noise(tuple(batch.latents.shape[1:]), seeds, 0),
            self.config.samples.sampling(),
            passes,
        )
        return with_given_frames(network, sampled, others)


class Passes:
    """Reports the progress of sampling: a line every few seconds, none for a fast one."""

    def __init__(self, title: str, report: Callable[[str], None]) -> None:
        self.title, self.report = title, report
        self.last = time.monotonic()

    def __call__(self, done: int, of: int) -> None:
        """After each pass."""
        if time.monotonic() - self.last >= _LINE_EVERY_S:
            self.last = time.monotonic()
            self.report(f"{self.title}: pass {done} of {of}")


def _unsaid(line: str) -> None:
    """Discard the messages of other workers."""
    del line


def _write(
    place: Folder,
    videos: UInt8[np.ndarray, "b t h w 3"],
    prompts: list[str],
    fps: list[float],
    facts: dict[str, object],
) -> None:
    """Write one mp4 per clip, and the prompts with the ``facts`` of all."""
    samples = []
    for number, (frames, prompt, rate) in enumerate(zip(videos, prompts, fps, strict=True)):
        place.write(f"{number:02}.mp4", encode_video(frames, rate))
        samples.append({"file": f"{number:02}.mp4", "prompt": prompt, "fps": rate})
    place.write("prompts.json", json.dumps(facts | {"samples": samples}, indent=2).encode())
