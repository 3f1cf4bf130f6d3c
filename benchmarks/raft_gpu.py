"""Featurizing on a GPU: batched mixed-precision RAFT against torchvision's pair by pair, and GPU-hours a million clips.

    python -m benchmarks.raft_gpu [--weights FILE] [--save]
    python -m benchmarks.raft_gpu --device cpu --pairs 2 --height 128 --width 128 --small     does the code run?

Needs torch, torchvision, numpy, einops, jaxtyping, OpenCV and pyarrow; no Ray. The VAE is timed where diffusers is
there; the text tower where open_clip is, else in transformers' form of the same size. Weights are random where none
are given: that changes no speed. It does change the difference of the flows, which then is that of a random model.

Ours is :class:`pipeline.motion.raft.Raft` with the settings of the paper's recipe. The peer is torchvision's
``raft_large`` in float32 as most code calls it: two frames in, twelve updates, the last flow out, in inference mode.
Both take uint8 frames on the host's side and leave the flow on the device. Clips are moving sprites.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.report import alternate, arguments, rate, report
from pipeline.motion.raft import Raft
from pipeline.motion.raft_flow import RaftFlow
from pipeline.sprites.motions import move
from pipeline.sprites.render import render
from pipeline.sprites.world import World, draw_scene

FRAMES = 16  # of a clip; one more is decoded for the last flow
CAPTIONS = 32  # in one forward pass, as ClipTextStates groups them
MILLION = 1_000_000


@dataclass(frozen=True)
class Bench:
    """What is measured: ``pairs`` pairs of frames of ``height`` x ``width`` on a device, over so many rounds."""

    device: torch.device
    pairs: int
    height: int
    width: int
    rounds: int
    small: bool = False
    """One update of the flow, a narrow autoencoder on two frames, a small text tower: their seconds say nothing."""

    @property
    def captions(self) -> int:
        """In one forward pass of the text tower."""
        return 2 if self.small else CAPTIONS

    @property
    def updates(self) -> int:
        """Of the flow."""
        return 1 if self.small else 12

    @property
    def precision(self) -> Literal["float16", "float32"]:
        """The recipe's; on a CPU, where float16 takes a hundred times as long, float32."""
        return "float16" if self.device.type == "cuda" else "float32"

    @property
    def dtype(self) -> torch.dtype:
        """The precision as torch names it."""
        dtype: torch.dtype = getattr(torch, self.precision)
        return dtype

    def wait(self) -> None:
        """Until the device has done everything."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def seconds(self, function: Callable[[], Any]) -> float:
        """Median seconds of a call, after one to warm up."""
        function()
        return median(1 / rate(1, partial(self.finish, function)) for _ in range(self.rounds))

    def finish(self, function: Callable[[], Any]) -> None:
        """Call it and wait for the device."""
        function()
        self.wait()


def make_clips(bench: Bench) -> Tensor:
    """Moving-sprites clips ``[n t h w 3]`` with at least ``bench.pairs`` pairs; one short clip where fewer will do."""
    frames = min(FRAMES, bench.pairs) + 1
    world = World(bench.height, bench.width, frames)
    clips = []
    for number in range(math.ceil(bench.pairs / (frames - 1))):
        rng = np.random.default_rng(number)
        scene = draw_scene(world, rng)
        clips.append(render(world, scene, move(scene, frames, rng))[0])
    return torch.from_numpy(np.stack(clips))


def load_models(bench: Bench, weights: Path | None) -> tuple[RaftFlow, torch.nn.Module]:
    """Ours and torchvision's, with the same weights."""
    from torchvision.models.optical_flow import raft_large

    torch.manual_seed(0)
    peer = raft_large(weights=None)
    if weights is not None:
        peer.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    config = Raft(updates=bench.updates)
    if bench.device.type != "cuda":
        config = replace(config, precision=bench.precision, clips_a_batch=1)
    ours = RaftFlow(config, peer.state_dict(), bench.device)
    return ours, peer.eval().requires_grad_(False).to(bench.device)


@torch.inference_mode()
def pair_by_pair(model: torch.nn.Module, clips: Tensor, bench: Bench) -> Tensor:
    """Flow ``[n t-1 2 h w]`` as torchvision's documentation computes it."""
    flows = []
    for clip in clips:
        images = clip.permute(0, 3, 1, 2)
        for first, second in zip(images[:-1, None], images[1:, None], strict=True):
            pair = (image.to(bench.device).float() / 127.5 - 1 for image in (first, second))
            flows.append(model(*pair, num_flow_updates=bench.updates)[-1])
    return torch.cat(flows).view(len(clips), -1, *flows[0].shape[1:])


def measure_raft(bench: Bench, weights: Path | None) -> dict[str, Any]:
    """Pairs a second of both, in turn, and how far their flows differ."""
    clips = make_clips(bench)
    ours, peer = load_models(bench, weights)
    functions: dict[str, Callable[[], Tensor]] = {
        "ours": lambda: ours(clips),
        "torchvision": lambda: pair_by_pair(peer, clips, bench),
    }
    flows = {name: function() for name, function in functions.items()}  # the first call warms up
    difference = (flows["ours"] - flows["torchvision"]).norm(dim=2)
    bench.wait()
    pairs = clips.shape[0] * (clips.shape[1] - 1)
    speeds = alternate(
        {name: partial(rate, pairs, partial(bench.finish, function)) for name, function in functions.items()},
        bench.rounds,
    )
    return {
        "pairs": pairs,
        "pairs_per_s": {name: round(speed, 3) for name, speed in speeds.items()},
        "ours_to_torchvision": round(speeds["ours"] / speeds["torchvision"], 2),
        "mean_difference_px": float(f"{difference.mean().item():.3g}"),
        "largest_difference_px": float(f"{difference.max().item():.3g}"),
        "mean_flow_px": float(f"{flows['torchvision'].norm(dim=2).mean().item():.3g}"),
        "weights": weights.name if weights else "random",
        "raft_s_a_clip": FRAMES / speeds["ours"],
    }


def vae_seconds(bench: Bench) -> float | str:
    """Seconds to encode a clip with the base model's autoencoder, as VaeLatents does; or why they are not known."""
    try:
        from models.encoders.autoencoder import Autoencoder, base_config

        config = base_config((32, 32, 32, 32)) if bench.small else base_config()
        encoder = Autoencoder.new(config, bench.device, bench.dtype)
    except ImportError as error:
        return f"not measured: {error}"
    images = torch.rand(2 if bench.small else FRAMES, 3, bench.height, bench.width) * 2 - 1
    return bench.seconds(lambda: encoder.posterior(images))


def text_seconds(bench: Bench) -> tuple[float | str, str]:
    """Seconds for a caption in a group of 32 through OpenCLIP's ViT-H text tower, and by which package."""
    try:
        from models.encoders.clip_text import ClipText

        tower = (
            ClipText("ViT-B-32" if bench.small else "ViT-H-14")
            .eval()
            .requires_grad_(False)
            .to(bench.device, bench.dtype)
        )
        tokens = tower.tokens(["a person in a red coat walks past a shop"] * bench.captions)
        return bench.seconds(lambda: tower(tokens)) / bench.captions, "open_clip"
    except ImportError as missing:
        try:
            from transformers import CLIPTextConfig, CLIPTextModel
        except ImportError as error:
            return f"not measured: {missing}; {error}", "none"
    # The layers that the states come from: all 24 but the last.
    config = CLIPTextConfig(
        hidden_size=1024,
        intermediate_size=4096,
        num_hidden_layers=23,
        num_attention_heads=16,
        hidden_act="gelu",
        projection_dim=1024,
    )
    model: nn.Module = CLIPTextModel(config)
    model = model.eval().requires_grad_(False).to(bench.device, bench.dtype)
    ids = torch.randint(1, config.vocab_size, (bench.captions, 77), device=bench.device)
    with torch.inference_mode():
        return bench.seconds(lambda: model(input_ids=ids)) / bench.captions, "transformers"


def per_clip(bench: Bench, raft_s: float) -> dict[str, Any]:
    """Seconds a clip by model, GPU-hours of a million clips from those that are known."""
    text, package = text_seconds(bench)
    spent: dict[str, float | str] = {"raft": raft_s, "vae": vae_seconds(bench), "text": text}
    known = {name: value for name, value in spent.items() if isinstance(value, float)}
    hours: dict[str, float | None] = {name: round(value * MILLION / 3600, 1) for name, value in known.items()}
    hours["all"] = round(sum(known.values()) * MILLION / 3600, 1) if len(known) == len(spent) else None
    return {
        "seconds_a_clip": {name: float(f"{known[name]:.3g}") if name in known else None for name in spent},
        "not_measured": {name: value for name, value in spent.items() if name not in known},
        "text_package": package,
        "gpu_hours_a_million_clips": hours if bench.device.type == "cuda" else None,
    }


def main() -> None:
    """Measure and report."""
    parser = arguments(__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="cpu shows that the code runs")
    parser.add_argument("--pairs", type=int, default=128)
    parser.add_argument("--height", type=int, default=320)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--small", action="store_true", help="small models, and one update of the flow")
    parser.add_argument("--weights", type=Path, help="torchvision's raft_large .pth; random without")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        report("raft_gpu", {"skipped": "needs a CUDA device"}, {})
        return
    device = torch.device(options.device)
    bench = Bench(device, options.pairs, options.height, options.width, options.rounds, options.small)
    started = time.perf_counter()
    figures = measure_raft(bench, options.weights)
    figures |= per_clip(bench, figures.pop("raft_s_a_clip"))
    figures["device"] = torch.cuda.get_device_name() if device.type == "cuda" else "cpu"
    figures |= {"precision": bench.precision, "size": [bench.height, bench.width], "torch": torch.__version__}
    figures["seconds"] = round(time.perf_counter() - started)
    goals = {
        ">= 3x torchvision pair by pair": figures["ours_to_torchvision"] >= 3,
        "mean difference < 0.05 px": figures["mean_difference_px"] < 0.05,
    }
    report("raft_gpu", figures, goals)


if __name__ == "__main__":
    main()
