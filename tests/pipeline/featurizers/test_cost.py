"""What features count of their networks on the meta device is what they compute on this CPU."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from base.weights import Weights
from models.encoders.clip_image import ClipImage
from models.encoders.clip_text import ClipText
from pipeline.featurizers.base import ClipBatch, ClipFeature, Feature, TextFeature
from pipeline.featurizers.heatmaps import Heatmaps
from pipeline.featurizers.image import ClipImageTokens
from pipeline.featurizers.latents import PixelLatents, VaeLatents
from pipeline.featurizers.mask_heatmaps import MaskHeatmaps
from pipeline.featurizers.text import ClipTextStates, HashedTextStates
from pipeline.motion.flow import Dis
from pipeline.motion.masks import MovingRegions
from pipeline.motion.prompts import Prompts
from pipeline.motion.raft import Raft
from pipeline.motion.sam import Sam
from pipeline.video.geometry import ClipShape
from tests.pipeline.tiny_sam import save_sam2

CPU = torch.device("cpu")
SHAPE = ClipShape(frames=2, height=128, width=136)
TOWER = "ViT-S-32-alt"


def flow(folder: Path, _: Path) -> Heatmaps:
    from torchvision.models.optical_flow import raft_small

    torch.save(raft_small(weights=None).state_dict(), folder / "raft.pth")
    raft = Raft("small", Weights(str(folder / "raft.pth")), 2, "float32", clips_a_batch=2)
    return Heatmaps(raft, both_ways=True)


def latents(_: Path, vae: Path) -> VaeLatents:
    return VaeLatents(Weights(str(vae), subfolder="vae"), "float32")


def text(folder: Path, _: Path) -> ClipTextStates:
    torch.save(ClipText(TOWER).state_dict(), folder / "open_clip_pytorch_model.bin")
    return ClipTextStates(Weights(str(folder)), TOWER, 256, "float32")


def image(folder: Path, _: Path) -> ClipImageTokens:
    torch.save(ClipImage(TOWER).state_dict(), folder / "open_clip_pytorch_model.bin")
    return ClipImageTokens(Weights(str(folder)), TOWER, "float32")


@pytest.fixture
def countable() -> Iterator[FlopCounterMode]:
    """Without the fused kernels of a CPU, whose FLOPs PyTorch does not count."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    with sdpa_kernel(SDPBackend.MATH):
        yield FlopCounterMode(display=False)
    torch.backends.mha.set_fastpath_enabled(fast)


def compute(feature: Feature) -> Callable[[], object]:
    """Two clips, or a group of captions."""
    if isinstance(feature, ClipFeature):
        frames = np.zeros((2, SHAPE.frames + 1, SHAPE.height, SHAPE.width, 3), np.uint8)
        clips = feature.load(SHAPE, CPU)
        return lambda: clips(ClipBatch(frames, np.array([True, True])))
    assert isinstance(feature, TextFeature)
    captions = feature.load(CPU)
    return lambda: captions(["a circle"])


# The similarity of neighbouring frames, less than a hundredth of the flow, is not counted.
@pytest.mark.parametrize(("make", "count", "rest"), [(flow, 2, 0.01), (latents, 2, 0), (image, 2, 0), (text, 32, 0)])
def test_what_is_counted_is_computed(
    make: Callable[[Path, Path], Feature],
    count: int,
    rest: float,
    tmp_path: Path,
    tiny_vae: Path,
    countable: FlopCounterMode,
) -> None:
    feature = make(tmp_path, tiny_vae)
    run = compute(feature)
    with countable:
        run()
    cost = feature.cost(SHAPE)
    assert cost is not None
    assert cost.precision == "float32"
    whole = countable.get_total_flops()
    assert 0 < whole * (1 - rest) <= count * cost.flops <= whole


def test_masks_cost_what_all_their_prompts_cost(tmp_path: Path, countable: FlopCounterMode) -> None:
    """Two clips of noise that moves everywhere, so that each has all prompts."""
    masks = Sam(Weights(str(save_sam2(tmp_path))), "float32", clips_a_batch=1)
    feature = MaskHeatmaps(Dis(), prompts=Prompts(most=3), masks=masks)
    noise = np.kron(np.random.default_rng(0).integers(0, 256, (20, 20, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    clip = np.stack([noise[:128, 4 * t : 4 * t + 136] for t in range(SHAPE.frames + 1)])
    batch = ClipBatch(np.stack([clip, clip[:, ::-1]]), np.array([True, True]))
    compute_masks = feature.load(SHAPE, CPU)
    with countable:
        values = compute_masks(batch)
    assert values["prompts"].tolist() == [3, 3]
    cost = feature.cost(SHAPE)
    assert cost is not None
    assert 2 * cost.flops == pytest.approx(countable.get_total_flops(), rel=0.01)


def test_the_cost_of_published_masks_needs_no_weights() -> None:
    large, tiny = (MaskHeatmaps(masks=Sam(Weights(f"facebook/sam2.1-hiera-{size}"))) for size in ("large", "tiny"))
    costs = [feature.cost(ClipShape(2, 128, 136)) for feature in (large, tiny)]
    assert all(cost is not None and cost.precision == "bfloat16" for cost in costs)
    assert costs[0].flops > costs[1].flops > 1e11  # type: ignore[union-attr]


def test_flow_in_half_precision_moves_less() -> None:
    whole = Raft("small", updates=1, precision="float32", clips_a_batch=1)
    half = replace(whole, precision="float16")
    assert half.cost(3, 128, 136).flops == whole.cost(3, 128, 136).flops
    assert half.cost(3, 128, 136).moved < whole.cost(3, 128, 136).moved


def test_before_they_are_resolved_latents_have_the_base_models_sizes() -> None:
    mean, _ = VaeLatents().columns(ClipShape(16, 320, 512))
    assert mean.shape == (4, 16, 40, 64)
    assert VaeLatents().facts()["scaling_factor"] == 0.18215


def test_what_computes_on_cpus_has_no_cost() -> None:
    masks = MaskHeatmaps(Dis(), masks=MovingRegions())
    for feature in (Heatmaps(Dis()), masks, PixelLatents(), HashedTextStates()):
        assert feature.cost(SHAPE) is None
