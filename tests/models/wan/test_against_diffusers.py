"""Wan as diffusers' pipeline runs it: the picture's condition, the training step, the sampler. Tiny random weights."""

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, WanTransformer3DModel
from diffusers.pipelines.wan.pipeline_wan_i2v import WanImageToVideoPipeline
from torch import Tensor

from diffusion.flow import Flow
from diffusion.motion_focal import MotionFocal
from diffusion.options import Sampling
from diffusion.sampling import Conditions, draw_noise, sample
from models.latent_grid import LatentGrid
from models.video_model import DataShapes, VideoModel, predict, with_given_frames
from models.wan.backbone import ImageCondition, Wan
from tests.models.wan.tiny import autoencoder
from training.data.batch import Batch
from training.loop.objective import Objective

FRAMES, HEIGHT, WIDTH = 9, 32, 64
GRIDS = {"clamp": LatentGrid(4, 4, 16, 2), "concat": LatentGrid(4, 4, 8, 2), "concat-tokens": LatentGrid(4, 4, 8, 2)}
KINDS = pytest.mark.parametrize("kind", GRIDS)


class EvenGrid(FlowMatchEulerDiscreteScheduler):  # type: ignore[misc]
    """Diffusers' Euler on evenly spaced times down to 0, shifted; its own last step is much shorter."""

    def set_timesteps(self, number: int, device: Any = None) -> None:  # type: ignore[override]
        super().set_timesteps(sigmas=np.linspace(1, 0, number + 1)[:-1], device=device)


def shapes_of(kind: ImageCondition) -> DataShapes:
    return DataShapes(GRIDS[kind].shape(FRAMES, HEIGHT, WIDTH), text=(5, 16), image=(3, 8))


def tiny(kind: ImageCondition) -> VideoModel:
    torch.manual_seed(1)
    return Wan(image_condition=kind, heads=2, head_dim=12, layers=2, feed_forward=32).new(shapes_of(kind)).eval()


def as_diffusers(network: VideoModel) -> WanTransformer3DModel:
    """Diffusers' own class with the same weights."""
    plain = WanTransformer3DModel.from_config(network.config).eval()
    plain.load_state_dict(network.state_dict())
    return plain


def drawn(*shape: int, seed: int = 3) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def padded(text: Tensor) -> Tensor:
    return torch.cat([text, text.new_zeros(len(text), 512 - text.shape[1], text.shape[2])], dim=1)


@KINDS
def test_a_video_is_that_of_the_pipeline(kind: ImageCondition) -> None:
    """Condition, guidance and every step: the pipeline's latents from the same noise, text and picture."""
    network, vae = tiny(kind), autoencoder(GRIDS[kind].cell)
    shapes, clamps = shapes_of(kind), kind == "clamp"
    text, empty, tokens = drawn(1, 5, 16, seed=4), drawn(1, 5, 16, seed=5), drawn(1, 3, 8, seed=6)
    picture, noise = torch.rand(1, 3, HEIGHT, WIDTH), draw_noise(shapes.latent, [7], 0)
    pipeline = WanImageToVideoPipeline(
        None, None, vae, EvenGrid(shift=5.0), transformer=as_diffusers(network), expand_timesteps=clamps
    )
    pipeline.encode_image = lambda picture, device: tokens
    pipeline.set_progress_bar_config(disable=True)
    size = {"height": HEIGHT, "width": WIDTH, "num_frames": FRAMES}
    theirs = pipeline(
        picture, prompt_embeds=padded(text), negative_prompt_embeds=padded(empty), latents=noise[0],
        num_inference_steps=4, guidance_scale=3.0, output_type="latent", **size,
    ).frames  # fmt: skip

    condition = pipeline.prepare_latents(2 * picture - 1, 1, 4, *size.values(), torch.float32, torch.device("cpu"))[1]
    image = {"image_latent": condition[:, :, 0]} if clamps else {"image_clip": condition[:, 4:]}
    given = Conditions(text, empty, torch.ones(1), image | {"image_tokens": tokens})
    ours = sample(partial(predict, network), Flow(shift=5.0), given, noise, Sampling(steps=4, guidance=3.0))
    ours = with_given_frames(network, ours, given.others)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    assert (theirs - noise[0]).abs().mean() > 0.1
    if clamps:
        assert torch.equal(ours[:, :, 0], condition[:, :, 0])


@KINDS
def test_an_error_is_that_of_diffusers_training_step(kind: ImageCondition) -> None:
    """Noised latents by diffusers' scheduler, the first frame and times by hand, the network by diffusers' class."""
    network, shapes = tiny(kind), shapes_of(kind)
    clean, noise, clip, text = (drawn(2, *shapes.latent, seed=seed) for seed in (1, 2, 3, 4))
    text, tokens, times = drawn(2, 5, 16, seed=4), drawn(2, 3, 8, seed=6), torch.tensor([250.0, 800.0])
    scheduler = FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(timesteps=[800.0, 250.0])
    x = torch.cat([scheduler.scale_noise(clean[n : n + 1], times[n : n + 1], noise[n : n + 1]) for n in range(2)])
    inputs: dict[str, Tensor] = {"timestep": times}
    if kind == "clamp":
        mask = torch.ones(2, 1, *shapes.latent[1:])
        mask[:, :, 0] = 0
        x = (1 - mask) * clean[:, :, :1] + mask * x
        inputs["timestep"] = (mask[:, 0, :, ::2, ::2] * times.view(2, 1, 1, 1)).flatten(1)
    else:
        mask = torch.zeros(2, 4, *shapes.latent[1:])
        mask[:, :, 0] = 1
        x = torch.cat([x, mask, clip], dim=1)
    if kind == "concat-tokens":
        inputs["encoder_hidden_states_image"] = tokens
    with torch.no_grad():
        out = as_diffusers(network)(x, encoder_hidden_states=padded(text), return_dict=False, **inputs)[0]
        conditions = {"text": text, "image_latent": clean[:, :, 0], "image_clip": clip, "image_tokens": tokens}
        found = predict(network, Flow().noised(clean, noise, times), times, conditions)
    torch.testing.assert_close(found, out, rtol=0, atol=1e-5)
    assert out.std() > 0.05


def test_the_first_latent_counts_in_no_loss() -> None:
    """It is given: its error, whatever it is, leaves the loss, which is normalised by the cells that remain."""
    network, shapes = tiny("clamp"), shapes_of("clamp")
    clean, noise = (drawn(2, *shapes.latent, seed=seed) for seed in (1, 2))
    heatmap, times = drawn(2, *shapes.latent[1:]).sigmoid(), torch.tensor([300.0, 900.0])
    batch = Batch(clean, heatmap, drawn(2, 5, 16), torch.ones(2), noise, times, None, ("one", "other"))
    objective = Objective(Flow(), MotionFocal(weight=2.0))
    with torch.no_grad():
        found = objective(network, batch)
        out = predict(network, Flow().noised(clean, noise, times), times, batch.conditions)
    squared = ((noise - clean - out) ** 2)[:, :, 1:].flatten(1)
    weighted = (((noise - clean - out) * heatmap[:, None]) ** 2)[:, :, 1:].flatten(1)
    torch.testing.assert_close(found.terms["plain"], squared.mean(1))
    torch.testing.assert_close(found.total, squared.mean(1) + 2 * weighted.mean(1))
