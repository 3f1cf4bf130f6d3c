"""Videos of held-out first frames: the same image and seed with several prompts."""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import cv2
import torch

from base.storage.folder import Folder
from diffusion.options import Sampling, SamplingChanges
from infra.toy.data import WORLD
from infra.toy.heldout import WAYS, HeldOut, held_out
from media.video_file import encode_video
from models.find import find_candidates
from models.generator import Generator, Request

_RECORD = "samples.json"


@dataclass(frozen=True)
class Plan:
    """What to sample: ``scenes`` scenes of a seed, each in every direction of ``WAYS``."""

    seed: int = 0
    scenes: int = 3
    sampling: SamplingChanges = SamplingChanges()


@dataclass(frozen=True)
class Sample:
    """A sampled video: its file, image, prompt, and the requested and measured direction (empty: none)."""

    file: str
    image: str
    prompt: str
    way: str
    moved: str

    @property
    def right(self) -> bool:
        """Whether it moves as prompted."""
        return self.moved == self.way


def write_samples(model: str, folder: Folder, plan: Plan, report: Callable[[str], None]) -> list[list[Sample]]:
    """Sample videos of a model (a run or a model folder): a list per scene, in the order of ``WAYS``.

    Existing ones of the same model and step are kept.
    """
    (candidate,) = find_candidates([model])
    key = {"step": candidate.facts.step, "plan": asdict(plan)}
    if found := _read(folder, key):
        return found
    generator = Generator.load(candidate.weights(), torch.device("cpu"))
    for number, scene in enumerate(held_out(WORLD, plan.scenes, plan.seed)):
        found.append(_sample(generator, scene, (number, plan.sampling.of(candidate.facts.sampling)), folder))
        report(f"  {(number + 1) * len(WAYS)} of {plan.scenes * len(WAYS)} videos of step {candidate.facts.step}")
    saved = [[asdict(sample) for sample in row] for row in found]
    folder.write(_RECORD, json.dumps({"key": key, "samples": saved}, indent=2).encode())
    return found


def _read(folder: Folder, key: dict[str, Any]) -> list[list[Sample]]:
    """The samples of an earlier demo with the same key, if complete."""
    if not folder.exists(_RECORD):
        return []
    saved = json.loads(folder.read(_RECORD))
    found = [[Sample(**sample) for sample in row] for row in saved["samples"]]
    whole = all(folder.exists(name) for row in found for sample in row for name in (sample.file, sample.image))
    return found if whole and saved["key"] == key else []


def _sample(generator: Generator, scene: HeldOut, how: tuple[int, Sampling], folder: Folder) -> list[Sample]:
    """One scene's videos; ``how`` is the scene's number, also the seed of its videos, and the sampling options."""
    number, sampling = how
    image = f"{number:02}.png"
    done, png = cv2.imencode(".png", cv2.cvtColor(scene.image, cv2.COLOR_RGB2BGR))
    assert done
    folder.write(image, png.tobytes())
    requests = [Request(scene.image, scene.prompt(way), number) for way in WAYS]
    made = []
    for way, request, frames in zip(WAYS, requests, generator.generate(requests, sampling), strict=True):
        file = f"{number:02}-{way}.mp4"
        folder.write(file, encode_video(frames, generator.rate(request), metadata={"prompt": request.prompt}))
        made.append(Sample(file, image, request.prompt, way, scene.direction(frames)))
    return made
