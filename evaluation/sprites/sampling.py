"""Samples a model's videos of held-out pairs, as `motif sample` does, and keeps those that are there already."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from base.device import find_device
from base.errors import InputError
from base.storage.folder import Folder
from dataset.identity import digest
from diffusion.options import SamplingChanges
from evaluation.sprites.pairs import Pairs
from media.video_file import encode_video
from models.card import ModelFacts, checked_sampling
from models.find import Candidate
from models.folder import revision
from models.generator import Generator, Request
from models.tags import model_tags, request_tags
from pipeline.sprites.files import Clip

_RECORD = "videos.json"
_EACH = 16  # videos from one message to the next


@dataclass(frozen=True)
class SamplingOptions:
    """How models are sampled."""

    seed: int = 0
    """All prompts of an image begin with the same noise, which depends on this seed and the image's number."""
    batch: int = 16
    """Videos sampled together on a GPU; a CPU takes one at a time."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["float32", "bfloat16"] = "float32"
    sampling: SamplingChanges = SamplingChanges()

    def __post_init__(self) -> None:
        """Check the values."""
        for name, least in (("seed", 0), ("batch", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} {getattr(self, name)}: must be at least {least}")


def sample_videos(
    model: Candidate, pairs: Pairs, options: SamplingOptions, out: Folder, report: Callable[[str], None]
) -> str:
    """Write a video of each pair that is not there yet, named by the clip's number; returns a key of all that they are.

    Videos of another model, step, options or pairs are deleted first. InputError if the model's videos are longer
    than the pairs' clips.
    """
    sampling = checked_sampling(model.facts, options.sampling, model.name)
    length = frames_of(model.facts, pairs)
    key = digest(revision(model.weights()), sampling.to_dict(), options.seed, options.precision, pairs.digest, length)
    if _key(out) != key:
        out.delete_all()
        out.write(_RECORD, json.dumps({"key": key, "model": model.name, "step": model.facts.step}).encode())
    there = {entry.name for entry in out.files()}
    missing = [clip for clip in pairs.clips if video_name(clip.number) not in there]
    if not missing:
        return key
    generator = Generator.load(model.weights(), find_device(options.device), options.precision)
    tags = model_tags(model.name, revision(model.weights()), sampling)
    batch = min(options.batch, generator.at_once or options.batch)
    for first in range(0, len(missing), batch):
        some = missing[first : first + batch]
        requests = [_request(pairs, clip, options.seed) for clip in some]
        videos = generator.generate(requests, sampling, frames=length)
        for clip, request, frames in zip(some, requests, videos, strict=True):
            rate = generator.rate(request)
            data = encode_video(frames, rate, metadata=tags | request_tags(request, rate))
            out.write(video_name(clip.number), data)
        done = first + len(some)
        if done % _EACH < batch or done == len(missing):
            report(f"{model.name}: {done} of {len(missing)} videos sampled")
    return key


def _request(pairs: Pairs, clip: Clip, seed: int) -> Request:
    return Request(pairs.images[clip.scene_number], clip.motion.caption, seed + clip.scene_number)


def video_name(number: int) -> str:
    """The file of a clip's video."""
    return f"{number:06}.mp4"


def frames_of(facts: ModelFacts, pairs: Pairs) -> int:
    """How many frames a model's videos of the pairs have: its own number, or as many as the clips last."""
    length = min(facts.video_frames, 1 + int(pairs.seconds * facts.default_fps + 1e-6))
    if length < 2:
        raise InputError(
            f"--pairs: its clips last {pairs.seconds:g} s, in which a model of {facts.default_fps:g} frames per second "
            "has fewer than two frames. Generate longer ones (`motif sprites --frames`)."
        )
    return length


def _key(out: Folder) -> str:
    """The key of the videos in a folder; empty if there are none."""
    if not out.exists(_RECORD):
        return ""
    try:
        saved: Any = json.loads(out.read(_RECORD))
        return str(saved["key"])
    except (ValueError, KeyError, TypeError):  # truncated by a crash
        return ""
