"""The videos to measure: whether they are there and alike, and their frames."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from base.errors import InputError
from pipeline.video.decoders import DECODERS, Request, decode
from pipeline.video.errors import VideoError
from pipeline.video.probe import Facts, probe
from pipeline.video.sampling import Span

_NAMED = 3  # of many faults, the message has this many
_RATE_TOLERANCE = 1e-3
_MOST_BYTES = 4 << 30


@dataclass(frozen=True)
class Video:
    """A readable video file."""

    path: Path
    facts: Facts

    @property
    def shape(self) -> str:
        """Its length, size and rate, for messages."""
        facts = self.facts
        return f"{facts.frames} frames of {facts.height} x {facts.width} pixels at {facts.fps:g} per second"

    def frames(self) -> UInt8[np.ndarray, "t h w 3"]:
        """All frames, upright RGB; InputError if one cannot be decoded."""
        facts = self.facts
        out = np.empty((facts.frames, facts.height, facts.width, 3), np.uint8)
        request = Request(
            self.path, Span(0, 1), facts.frames, facts.fps, False, facts.turns, facts.pixel_aspect, facts.height,
            facts.width, facts.frames,
        )  # fmt: skip
        try:
            decode(request, tuple(DECODERS), out)
        except VideoError as error:
            raise InputError(f"{self.path} cannot be decoded ({error}). Make it anew.") from error
        except OSError as error:
            raise InputError(f"{self.path} cannot be read: {error.strerror}.") from error
        return out


def list_videos(folder: Path, option: str) -> dict[str, Path]:
    """The mp4 files of a folder by name without suffix, sorted; ``option`` names the folder in errors.

    InputError if there are none.
    """
    if not folder.is_dir():
        raise InputError(f"{option} {folder}: there is no such folder. Give a folder of mp4 files.")
    try:
        found = {path.stem: path for path in sorted(folder.iterdir()) if path.suffix == ".mp4" and path.is_file()}
    except OSError as error:
        raise InputError(f"{option} {folder} cannot be read: {error.strerror}.") from error
    if not found:
        raise InputError(f"{option} {folder}: there is no .mp4 file. Give a folder of mp4 files.")
    return found


def check_names(videos: Mapping[str, Path], prompts: Iterable[str], folder: Path) -> None:
    """InputError if a prompt has no video: a mean over the others would not be comparable."""
    absent = [f"{folder} has no {name}.mp4" for name in prompts if name not in videos]
    _refuse(absent, "Each line of --prompts needs its video; generate it, or remove the line")


def open_videos(paths: Mapping[str, Path]) -> dict[str, Video]:
    """The videos with their properties; no pixel of more than one frame is decoded.

    InputError names those that cannot be used.
    """
    faults: list[str] = []
    found = {name: video for name, path in paths.items() if (video := _open(path, faults)) is not None}
    _refuse(faults, "Make these videos anew, or convert them")
    return found


def check_alike(videos: Iterable[Video], first: Video) -> None:
    """InputError if videos differ from the first in length, size or rate: their metrics would not be comparable."""
    others = [f"{video.path} has {video.shape}" for video in videos if not _alike(video, first)]
    _refuse(others, f"All videos must be like the first, {first.path.name}: {first.shape}")


def check_reference(reference: Iterable[Video], video: Video) -> None:
    """InputError if real videos have another length or rate than the measured ones, which FVD would count."""
    others = [f"{other.path} has {other.shape}" for other in reference if not _alike(other, video, size=False)]
    rule = f"For FVD they must be as long and fast as the measured videos: {video.shape}. Cut or convert them first"
    _refuse(others, rule)


def _open(path: Path, faults: list[str]) -> Video | None:
    try:
        facts = probe(path)
    except VideoError as error:
        faults.append(f"{path} cannot be read ({error})")
    except OSError as error:
        faults.append(f"{path} cannot be read ({error.strerror})")
    else:
        if fault := _fault(facts):
            faults.append(f"{path} cannot be used: {fault}")
        return Video(path, facts)
    return None


def _fault(facts: Facts) -> str:
    if facts.message:
        return facts.message.rstrip(".")
    if facts.frames < 2:
        return "it has one frame"
    size = facts.frames * facts.height * facts.width * 3
    return f"its frames take {size >> 30} GiB, more than {_MOST_BYTES >> 30}" if size > _MOST_BYTES else ""


def _alike(video: Video, other: Video, *, size: bool = True) -> bool:
    one, two = video.facts, other.facts
    same_size = (one.height, one.width) == (two.height, two.width)
    return one.frames == two.frames and abs(one.fps - two.fps) <= _RATE_TOLERANCE * two.fps and (same_size or not size)


def _refuse(faults: list[str], rule: str) -> None:
    if faults:
        more = f"; and {len(faults) - _NAMED} more" if len(faults) > _NAMED else ""
        raise InputError(f"{'; '.join(faults[:_NAMED])}{more}. {rule}.")
