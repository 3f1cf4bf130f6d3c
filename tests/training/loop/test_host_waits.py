"""Whether the host waits for the device before the optimiser's step.

The meta device stands in for a GPU: it also has no values for the host, and copies to it are operations of their own.
"""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from base.errors import NotFinite
from benchmarks.host_waits import HostWaits
from diffusion.flow import Flow
from diffusion.frame_difference import FrameDifference
from diffusion.motion_focal import MotionFocal
from diffusion.process import Process
from diffusion.schedule import Schedule
from diffusion.weighting import Weighting
from models.patches.transformer import PatchTransformer
from models.videocrafter2.unet import VideoUNet
from training.data.batch import Batch
from training.data.loader import StepData
from training.loop.objective import Objective
from training.loop.optimiser import Ema, Optimiser
from training.loop.parallel import World
from training.loop.train_step import TrainState, TrainStep

SHAPE = (4, 2, 8, 8)


def unet() -> nn.Module:
    return VideoUNet(
        block_out_channels=(8, 16), layers_per_block=1, cross_attention_dim=8, attention_head_dim=8, norm_num_groups=4
    )


def patches() -> nn.Module:
    return PatchTransformer(channels=4, text_width=8, width=16, depth=1, heads=2, patch=2)


class ReachedError(Exception):
    """The optimiser's step is next."""


def reached(*_: object) -> None:
    raise ReachedError


def batch(device: str = "cpu", noise: float = 1.0) -> Batch:
    """Two clips; on a host's memory they count as pinned."""
    latents, drawn = torch.randn(2, 2, *SHAPE, device=device)
    return Batch(
        latents=latents,
        heatmap=torch.rand(2, *SHAPE[1:], device=device),
        text=torch.randn(2, 3, 8, device=device),
        fps=torch.full((2,), 8.0, device=device),
        noise=noise * drawn,
        timestep=torch.tensor([3, 500], device=device),
        image_tokens=None,
        clip_ids=("a", "b"),
    )


def step_on(device: str, network: nn.Module, objective: Objective, *, fused: bool = False) -> TrainStep:
    options = Optimiser(lr=1e-3)
    state = TrainState(network, options.build(network, fused=fused), Ema(network.parameters(), 0.9))
    return TrainStep(state, objective, options, World(torch.device(device)), 0)


@pytest.mark.parametrize(
    ("network", "process", "weighting"),
    [
        (unet, Schedule(rescale=0.7), MotionFocal()),
        (patches, Schedule(prediction="eps"), FrameDifference()),
        (patches, Flow(shift=2.0), MotionFocal(inverse=True)),
    ],
    ids=["v", "eps", "flow"],
)
def test_the_host_waits_for_nothing_before_the_optimiser(
    network: Callable[[], nn.Module], process: Process, weighting: Weighting
) -> None:
    with torch.device("meta"):
        train_step = step_on("meta", network(), Objective(process, weighting))
    train_step.state.optimiser.defaults["fused"] = True  # as on a GPU
    train_step.state.optimiser.register_step_pre_hook(reached)
    data = StepData(0, (batch(),), (0,), 0.0)
    first, second = HostWaits(), HostWaits()
    for waits in (first, second):
        with waits, pytest.raises(ReachedError):
            train_step.step(data)
    assert second.found == []
    assert set(first.found) <= {"_to_copy"}  # the schedule's tables, once


def test_nor_does_a_fused_step_to_its_end() -> None:
    torch.manual_seed(0)
    train_step = step_on("cpu", patches(), Objective(Flow(), MotionFocal()), fused=True)
    waits = HostWaits()
    with waits:
        launched = train_step.launch(StepData(0, (batch(),), (0,), 0.0))
    assert waits.found == []
    assert launched.read().loss > 0


@pytest.mark.parametrize("fused", [False, True])
def test_a_step_that_is_not_finite_leaves_weights_and_moments(fused: bool) -> None:
    torch.manual_seed(0)
    train_step = step_on("cpu", patches(), Objective(Flow(), MotionFocal()), fused=fused)
    state = train_step.state
    train_step.step(StepData(0, (batch(),), (0,), 0.0))

    def held() -> list[Tensor]:
        moments = [value for values in state.optimiser.state.values() for value in values.values()]
        return [tensor.clone() for tensor in (*state.network.parameters(), *moments)]

    before = held()
    with pytest.raises(NotFinite, match="step 1: the loss is nan"):
        train_step.step(StepData(1, (batch(), batch(noise=float("nan"))), (0,), 0.0))
    assert all(map(torch.equal, before, held()))
    train_step.step(StepData(2, (batch(),), (0,), 0.0))
    assert not all(map(torch.equal, before, held()))


@pytest.mark.gpu
def test_a_gpu_is_not_waited_for() -> None:
    """Torch itself raises at every call that would wait."""
    train_step = step_on("cuda", unet().to("cuda"), Objective(Schedule(rescale=0.7), MotionFocal()))
    data = StepData(0, (batch().pinned(), batch().pinned()), (0,), 0.0)
    first = train_step.step(data).loss  # brings the schedule's tables to the device
    torch.cuda.set_sync_debug_mode("error")
    try:
        launched = train_step.launch(data)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert 0 < launched.read().loss < 2 * first
