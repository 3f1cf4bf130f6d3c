"""Videos a second: four requests together against one by one, and against a reference-style sampling loop.

    python -m benchmarks.generation [--rounds 5] [--steps 10] [--save]                                 a toy model, CPU
    python -m benchmarks.generation --model FOLDER --device cuda --precision bfloat16 --steps 50 [--compile]
    python -m benchmarks.generation --full --device cuda --precision bfloat16 --steps 50     random weights, full sizes

Needs torch, diffusers, einops, jaxtyping, numpy, PyAV and OpenCV; no Ray. The toy is the sprites recipe's: 16 frames of
256 x 256 through the pixel codec. ``--full`` is VideoCrafter2's U-Net with x-cat and Stable Diffusion's autoencoder, 16
frames of 320 x 512, with 77 x 1024 hashed text states instead of OpenCLIP's; random weights cost as much as trained.

All ways run :meth:`models.generator.Generator.generate`, from images to frames, in turn after one round to warm up:

- together: all requests share the network's passes (``at_once`` None), the way of a GPU.
- one by one: a request a pass (``at_once`` 1), the way of a CPU.
- reference: one by one, a pass for each branch of guidance, float32 weights under float16 autocast, as DynamiCrafter's
  inference script samples; on a CPU, which has no fast float16, float32.

On a CPU seconds are those that the process computes, so that other work on the machine counts little; ``load_average``
is the machine's at the start. On a GPU they are the clock's, and memory is what is allocated at most, with the weights
of the way's own model.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from base.weights import Weights
from benchmarks.report import alternate, arguments, rate, report
from diffusion.options import Sampling
from diffusion.schedule import Schedule
from models.card import ModelCard, ModelFacts
from models.folder import save_model
from models.generator import Generator, Precision, Request
from models.video_model import predict
from models.videocrafter2.unet import VideoUNet

TOGETHER, ALONE, REFERENCE = "together", "one_by_one", "reference"


class Reference(Generator):
    """A pass of the network for each guidance branch."""

    def _predict(self, sample: Tensor, timestep: Tensor, given: dict[str, Tensor]) -> Tensor:
        branches = zip(sample.chunk(2), timestep.chunk(2), *(value.chunk(2) for value in given.values()), strict=True)
        with torch.autocast(self.device.type, torch.float16, enabled=self.device.type == "cuda"):
            found = [predict(self.network, x, t, dict(zip(given, rest, strict=True))) for x, t, *rest in branches]
        return torch.cat(found)


def toy(folder: Path) -> Path:
    """A model folder of the sprites recipe's sizes with random weights."""
    torch.manual_seed(0)
    unet = VideoUNet(
        latent_channels=16,
        block_out_channels=(32, 64),
        layers_per_block=1,
        cross_attention_dim=64,
        attention_head_dim=16,
        norm_num_groups=8,
    )
    latents = {"encoder": "PixelCodec", "cell": 16, "luma": 10, "chroma": 3, "version": 1}
    text = {"encoder": "HashedText", "tokens": 16, "width": 64, "version": 1}
    facts = ModelFacts(latents, 1.0, text, Schedule(), 16, 16, 16)
    save_model(folder / "toy", unet, ModelCard(facts))
    return folder / "toy"


def full(folder: Path) -> Path:
    """A model folder of the full sizes with random weights; 6 GB."""
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    AutoencoderKL(
        block_out_channels=(128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        latent_channels=4,
        scaling_factor=0.18215,
    ).save_pretrained(folder / "autoencoder" / "vae")
    text = {"encoder": "HashedText", "tokens": 77, "width": 1024, "version": 1}
    facts = ModelFacts({"encoder": "AutoencoderKL"}, 0.18215, text, Schedule(rescale=0.7), 16, 40, 64)
    save_model(folder / "full", VideoUNet(), ModelCard(facts, Weights(str(folder / "autoencoder"), subfolder="vae")))
    return folder / "full"


def requests(count: int) -> list[Request]:
    """Requests of random pictures."""
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (count, 480, 640, 3), np.uint8)
    return [Request(picture, f"something moves to side {n}", seed=n) for n, picture in enumerate(pictures)]


class Memory:
    """The most that is allocated on a GPU beyond what was when this began, in GiB; 0 on a CPU."""

    def __init__(self, device: torch.device) -> None:
        self.there = device.type == "cuda"
        self.before = torch.cuda.memory_allocated() if self.there else 0

    def peak(self) -> float:
        """Since it was last asked."""
        if not self.there:
            return 0.0
        found = torch.cuda.max_memory_allocated() - self.before
        torch.cuda.reset_peak_memory_stats()
        return round(found / 2**30, 2)


def measure(model: Path, options: argparse.Namespace) -> tuple[dict[str, float], dict[str, float]]:
    """Videos a second and GiB, by way."""
    device, sampling = torch.device(options.device), Sampling(steps=options.steps)
    wanted = requests(options.requests)
    clock = time.perf_counter if device.type == "cuda" else time.process_time

    def run(generator: Generator, at_once: int | None) -> float:
        generator.at_once = at_once
        return rate(len(wanted), partial(generator.generate, wanted, sampling), clock)

    ways: dict[str, Callable[[], float]] = {}
    memory: dict[str, float] = {}
    kinds: list[tuple[type[Generator], Precision, dict[str, int | None]]] = [
        (Generator, options.precision, {TOGETHER: None, ALONE: 1}),
        (Reference, "float32", {REFERENCE: 1}),
    ]
    for kind, precision, own in kinds:
        used = Memory(device)
        generator = kind.load(model, device, precision, options.compile and kind is Generator)
        for name, at_once in own.items():
            ways[name] = partial(run, generator, at_once)
            used.peak()
            ways[name]()
            memory[name] = used.peak()
    return alternate(ways, options.rounds), memory


def main() -> None:
    """Measure and report."""
    parser = arguments(__doc__)
    parser.add_argument("--model", type=Path, help="a model folder; by default a toy's with random weights")
    parser.add_argument("--full", action="store_true", help="the full sizes with random weights")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--compile", action="store_true", help="compile the network of our ways")
    parser.add_argument("--requests", type=int, default=4)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        model = options.model or (full if options.full else toy)(Path(folder))
        speed, memory = measure(model, options)
    usual = ALONE if options.device == "cpu" else TOGETHER
    figures: dict[str, Any] = {
        "model": options.model.name if options.model else ("full" if options.full else "toy"),
        "device": torch.cuda.get_device_name() if options.device == "cuda" else options.device,
        "precision": options.precision,
        "compiled": options.compile,
        "requests": options.requests,
        "steps": options.steps,
        "rounds": options.rounds,
        "threads": torch.get_num_threads(),
        "videos_per_s": {name: round(found, 4) for name, found in speed.items()},
        "video_s": {name: round(1 / found, 3) for name, found in speed.items()},
        "together_to_one_by_one": round(speed[TOGETHER] / speed[ALONE], 2),
        "speed_to_reference": round(speed[usual] / speed[REFERENCE], 2),
        "load_average": round(load, 1),
    }
    goals = {f"{usual}, the default here, is the faster": speed[usual] >= max(speed[TOGETHER], speed[ALONE])}
    if options.device != "cpu":
        figures["memory_gib"] = memory
        goals["faster than the reference style"] = speed[usual] > speed[REFERENCE]
    report("generation", figures, goals)


if __name__ == "__main__":
    main()
