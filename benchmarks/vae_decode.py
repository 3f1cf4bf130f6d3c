"""The autoencoder's decoder in bfloat16 against float32: how far the frames differ, and seconds a frame.

    python -m benchmarks.vae_decode --height 64 --width 64 --frames 1 [--save]            on two cores, half a minute
    python -m benchmarks.vae_decode --device cuda --height 320 --width 512 --frames 16

Needs torch, diffusers, einops, jaxtyping and numpy; no Ray. The decoder has the sizes of the base model's and random
weights, scaled to the base model's range: its last convolution is multiplied so that pictures deviate by 64 levels of
255, as photographs do. Rounding in bfloat16 is relative, so it is that of trained weights in kind; how large it is
there may differ. Differences are those of 8-bit frames, as they are written.
"""

import time
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8

from benchmarks.report import alternate, arguments, report
from diffusion.sampling import to_frames
from models.encoders.autoencoder import Autoencoder, base_config

_DEVIATION = 64 / 127.5  # of pixels, in -1 to 1
_CELL = 8


def decoders(device: torch.device, seed: int) -> dict[str, Autoencoder]:
    """The same decoder in both precisions."""
    found = {}
    for name in ("float32", "bfloat16"):
        torch.manual_seed(seed)
        made = Autoencoder.new(base_config(), torch.device("cpu"), torch.float32)
        last = made.model.decoder.conv_out
        probe = made.images(torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(seed)))
        for tensor in (last.weight, last.bias):
            tensor.mul_(_DEVIATION / probe.std())
        found[name] = Autoencoder(made.model, device, torch.float32, getattr(torch, name))
    return found


def differences(plain: UInt8[np.ndarray, "b t h w 3"], other: UInt8[np.ndarray, "b t h w 3"]) -> dict[str, float]:
    """Of frames, in levels of 255."""
    found = np.abs(plain.astype(int) - other.astype(int))
    return {
        "mean_levels": round(float(found.mean()), 3),
        "most_levels": int(found.max()),
        "share_over_4_levels": round(float((found > 4).mean()), 6),
    }


def main() -> None:
    """Measure and report."""
    parser = arguments(__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--height", type=int, default=128)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--frames", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    device = torch.device(options.device)
    both = decoders(device, options.seed)
    draw = torch.Generator().manual_seed(options.seed + 1)
    latents = torch.randn(options.frames, 4, options.height // _CELL, options.width // _CELL, generator=draw).to(device)
    frames = {name: to_frames(made.images(latents), options.frames) for name, made in both.items()}

    def seconds(made: Autoencoder) -> float:
        started = time.perf_counter()
        made.images(latents)
        if device.type == "cuda":
            torch.cuda.synchronize()
        return (time.perf_counter() - started) / int(options.frames)

    spent = alternate({name: partial(seconds, made) for name, made in both.items()}, options.rounds)
    figures: dict[str, Any] = {
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        "frames": [options.frames, options.height, options.width],
        "deviation_levels": round(float(frames["float32"].std()), 1),
        **differences(frames["float32"], frames["bfloat16"]),
        "seconds_a_frame": {name: round(found, 4) for name, found in spent.items()},
    }
    goals = {"mean difference of at most a level": figures["mean_levels"] <= 1}
    if device.type == "cuda":
        goals["bfloat16 is faster"] = spent["bfloat16"] < spent["float32"]
    report("vae_decode", figures, goals)


if __name__ == "__main__":
    main()
