"""The two folders of videos: which belong together, whether they can be compared, and their copies without names."""

from dataclasses import dataclass
from pathlib import Path

import av

from base.errors import InputError
from pipeline.video.errors import VideoError
from pipeline.video.probe import Facts, probe

_NAMED = 3  # of many faults, the message has this many
_RATE_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Videos:
    """The videos of both models for one name."""

    a: Path
    b: Path
    shape: tuple[int, int, int, float]
    """Frames, height, width and frames per second."""


def match_videos(a: Path, b: Path) -> dict[str, Videos]:
    """The videos of two folders by name without suffix, sorted.

    InputError names those that lack a partner, cannot be read or played, are equal, or differ in size, length or rate.
    """
    ours, theirs = _list(a), _list(b)
    lonely = [f"{b if name in ours else a} has no {name}.mp4" for name in sorted(ours.keys() ^ theirs.keys())]
    _refuse(lonely, "Each video of one folder needs one of the same name in the other")
    faults: list[str] = []
    found = {}
    for name in sorted(ours):
        facts = [_probe(path, faults) for path in (ours[name], theirs[name])]
        if facts[0] is None or facts[1] is None:
            continue
        if fault := _fault(facts[0], facts[1]):
            faults.append(f"{name}.mp4 has {fault}")
        found[name] = Videos(ours[name], theirs[name], _shape(facts[0]))
    _refuse(
        faults, "Raters need two different H.264 videos of the same size, length and frame rate; convert them first"
    )
    return found


def copy_without_metadata(source: Path, target: Path) -> None:
    """Copy a video's pictures into a new mp4 file, bit for bit; titles and tags that may name the model stay behind."""
    with av.open(source) as read, av.open(target, "w", format="mp4", options={"movflags": "+faststart"}) as written:
        stream = read.streams.video[0]
        copy = written.add_stream_from_template(stream)
        copy.metadata.clear()
        for packet in read.demux(stream):
            if packet.dts is not None:
                packet.stream = copy
                written.mux(packet)


def _list(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder. Give a folder of mp4 files for each model.")
    found = {path.stem: path for path in folder.iterdir() if path.suffix == ".mp4" and path.is_file()}
    if not found:
        raise InputError(f"{folder}: there is no .mp4 file. Give a folder of mp4 files for each model.")
    return found


def _probe(path: Path, faults: list[str]) -> Facts | None:
    try:
        facts = probe(path)
    except VideoError as error:
        faults.append(f"{path} cannot be read ({error})")
        return None
    except OSError as error:
        faults.append(f"{path} cannot be read ({error.strerror})")
        return None
    if (facts.codec, facts.pixel_format) != ("h264", "yuv420p"):
        faults.append(f"{path} is {facts.codec} in {facts.pixel_format}, which not every browser plays")
        return None
    return facts


def _shape(facts: Facts) -> tuple[int, int, int, float]:
    return facts.frames, facts.height, facts.width, facts.fps


def _fault(a: Facts, b: Facts) -> str:
    if a.content == b.content:
        return "the same content in both folders"
    if (a.height, a.width) != (b.height, b.width):
        return f"{a.height} x {a.width} pixels in one folder and {b.height} x {b.width} in the other"
    if a.frames != b.frames:
        return f"{a.frames} frames in one folder and {b.frames} in the other"
    if abs(a.fps - b.fps) > _RATE_TOLERANCE * a.fps:
        return f"{a.fps:g} frames per second in one folder and {b.fps:g} in the other"
    return ""


def _refuse(faults: list[str], rule: str) -> None:
    if faults:
        more = f"; and {len(faults) - _NAMED} more" if len(faults) > _NAMED else ""
        raise InputError(f"{'; '.join(faults[:_NAMED])}{more}. {rule}.")
