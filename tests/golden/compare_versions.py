"""Whether two checkouts compute the same, byte for byte: python tests/golden/compare_versions.py BEFORE AFTER

BEFORE and AFTER are checkouts with their own ``.venv``. Each makes moving sprites, computes features of them, trains
the toy on these, validates it and samples from it, with the ``motif`` command and in a folder of the same name, because
paths of videos are part of a dataset. Compared are the videos, the part files, the losses, the validation and the
sampled video. Prints what differs and ends with status 1 where something does.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import av

COMMANDS = (
    "sprites --out videos --num 16 --seed 3 --kinds moves",
    "preprocess sprites --manifest videos --out dataset",
    "train sprites --data dataset --out run --steps 4 --saves.every 2 --workers 0",
    "validate run --data dataset --out validation --limit 4 --allow-training-data",
    "sample run --image IMAGE --prompt moves --seed 5 --steps 4 --out sample.mp4",
)
# What two runs of one version do not have in common: times, process numbers, speeds.
VARYING = ("seconds", "clips_per_s", "data_wait", "memory_gb", "mfu")


def play(checkout: Path, folder: Path) -> None:
    """Run the commands in a new ``folder``."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for command in COMMANDS:
        if "IMAGE" in command:
            command = command.replace("IMAGE", str(min(p.relative_to(folder) for p in folder.rglob("videos/**/*.mp4"))))
        subprocess.run([checkout / ".venv/bin/motif", *command.split()], cwd=folder, check=True)
        for video in folder.rglob("*.mp4"):  # a dataset records when its sources were changed
            os.utime(video, (1e9, 1e9))


def content(folder: Path) -> dict[str, str]:
    """A hash of every file whose bytes are a result, and the losses."""
    files = [p for kind in ("*.mp4", "*.parquet", "*.safetensors") for p in folder.rglob(kind) if "runs" not in p.parts]
    found = {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}
    found["sample.mp4"] = _sample(folder / "sample.mp4")
    for line in (folder / "run/metrics.jsonl").read_text().splitlines():
        step = json.loads(line)
        kept = {name: value for name, value in step.items() if name not in VARYING}
        found[f"run/metrics.jsonl step {step.get('step')}"] = json.dumps(kept, sort_keys=True)
    validation = json.loads((folder / "validation/validation.json").read_text())
    del validation["seconds"]
    found["validation.json"] = json.dumps(validation, sort_keys=True)
    return found


def _sample(path: Path) -> str:
    """A sampled video without its revision, which is a hash of the model's files and so of its config.json, too."""
    with av.open(path) as video:
        tags = sorted((name, value) for name, value in video.metadata.items() if name != "revision")
        frames = [frame.to_ndarray(format="rgb24").tobytes() for frame in video.decode(video=0)]
    return hashlib.sha256(str(tags).encode() + b"".join(frames)).hexdigest()


def main() -> None:
    """Compare, and say what differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "work"
        results = []
        for checkout in (options.before.resolve(), options.after.resolve()):
            play(checkout, folder)
            results.append(content(folder))
    before, after = results
    differing = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    for name in differing:
        print(f"differs: {name}\n  before {before.get(name)}\n  after  {after.get(name)}")
    print(json.dumps({"compared": len(before), "differing": len(differing)}))
    sys.exit(bool(differing))


if __name__ == "__main__":
    main()
