"""All figures of a GPU in one command, `make bench-gpu`: under ten minutes on one bare GPU, without Ray.

    python -m benchmarks.gpu [--save]
    python -m benchmarks.gpu --device cpu --toy     does the code run?

Runs, one after the other, each in a process of its own with a time limit:

- raft_gpu: optical flow against torchvision pair by pair; autoencoder and text tower; GPU-hours a million clips.
- train_gpu: a training step in all ways that fit, against a reference-style loop. The compiled ways come last, and none
  begins once the eager ones and those before took 220 seconds.
- vae_decode: the autoencoder's decoder in bfloat16 against float32.
- generation: a video's seconds, together and one by one, against a reference-style sampling loop.

Each ends in its JSON line, which ``--save`` keeps in ``benchmarks/results``. A benchmark that fails or takes too long
has a line with ``failed`` instead, which is never kept; the exit status is then 1.
"""

import argparse
import importlib
import json
import multiprocessing
import sys
from pathlib import Path

from benchmarks.report import RESULTS, arguments

# Forking costs nothing: this process neither asks for a GPU nor begins threads.
_FORK = multiprocessing.get_context("fork")
# Seconds for each: in all under ten minutes.
_LIMITS = {"raft_gpu": 120, "train_gpu": 280, "vae_decode": 30, "generation": 160}
_FULL = {
    "raft_gpu": "--device cuda --pairs 128 --rounds 3",
    "train_gpu": "--device cuda --batch 8 --rounds 5 --within 220",
    "vae_decode": "--device cuda --height 320 --width 512 --frames 16",
    "generation": "--full --device cuda --precision bfloat16 --steps 20 --rounds 2",
}
_TOY = {
    "raft_gpu": "--device cpu --pairs 1 --height 128 --width 128 --rounds 1 --small",
    "train_gpu": "--device cpu --small --no-compile --batch 1 --rounds 1",
    "vae_decode": "--device cpu --height 32 --width 32 --frames 1 --rounds 1",
    "generation": "--device cpu --requests 1 --steps 1 --rounds 1",
}


def run(name: str, settings: list[str], save: Path | None, limit_s: float) -> bool:
    """Run a benchmark in a process of its own; whether it ended well. Otherwise print a line that says why not."""
    kept = [] if save is None else ["--save", str(save)]
    process = _FORK.Process(target=_main, args=(name, [*settings, *kept]))
    process.start()
    process.join(limit_s)
    failed = ""
    if process.is_alive():
        process.kill()
        process.join()
        failed = f"took longer than {limit_s:g} s"
    elif process.exitcode:
        failed = f"ended with status {process.exitcode}; its error is above"
    if failed:
        print(json.dumps({"benchmark": name, "failed": failed}), flush=True)
    return not failed


def _main(name: str, settings: list[str]) -> None:
    sys.argv = [f"benchmarks.{name}", *settings]
    importlib.import_module(f"benchmarks.{name}").main()


def main() -> None:
    """Run them all."""
    parser = arguments(__doc__)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--toy", action="store_true", help="small sizes, whose figures say nothing")
    options = parser.parse_args()
    _check(parser, options)
    chosen = _TOY if options.toy else _FULL
    if options.toy:  # imports take longer than toys, so they are made once for all
        for name in chosen:
            importlib.import_module(f"benchmarks.{name}")
    ended = [run(name, settings.split(), options.save, _LIMITS[name]) for name, settings in chosen.items()]
    sys.exit(0 if all(ended) else 1)


def _check(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """End with a sentence if these sizes cannot run on this device, or would overwrite figures."""
    if options.toy != (options.device == "cpu"):
        parser.error("--toy and --device cpu belong together: the full sizes would take a CPU days.")
    if options.toy:
        if options.save == RESULTS:
            parser.error("--save with --toy: give another folder, since toy figures say nothing.")
        return
    check = _FORK.Process(target=_need_gpu)  # a process that has asked for a GPU cannot be forked
    check.start()
    check.join()
    if check.exitcode:
        parser.error(
            "--device cuda: torch finds no GPU on this machine; `--device cpu --toy` shows that the code runs."
        )


def _need_gpu() -> None:
    import torch

    sys.exit(0 if torch.cuda.is_available() else 1)


if __name__ == "__main__":
    main()
