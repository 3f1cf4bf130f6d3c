"""Scores of many videos in a file, computed once."""

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import partial
from pathlib import Path

from pydantic import TypeAdapter

from base.errors import InputError
from base.storage.folder import Folder
from dataset.identity import digest
from evaluation.sprites.controls import CONTROLS, control
from evaluation.sprites.pairs import Pairs
from evaluation.sprites.sampling import video_name
from evaluation.sprites.summary import Scored
from evaluation.sprites.videos import Video, decode, read_video
from pipeline.sprites.files import Clip

_VERSION = 1
"""Part of every key; raised when videos are scored in another way."""
_FILE = "scores.json"


def kept_scores(out: Folder, key: str, compute: Callable[[], list[Scored]]) -> list[Scored]:
    """The scores in a folder that were computed with this key, else computed and written now."""
    key = digest(_VERSION, key)
    adapter = TypeAdapter(list[Scored])
    if out.exists(_FILE):
        try:
            saved = json.loads(out.read(_FILE))
            if saved["key"] == key:
                return adapter.validate_python(saved["videos"])
        except (ValueError, KeyError, TypeError):  # truncated by a crash, or of another version
            pass
    found = compute()
    out.write(_FILE, json.dumps({"key": key, "videos": [asdict(one) for one in found]}).encode())
    return found


def score_folder(videos: Path, pairs: Pairs, report: Callable[[str], None]) -> list[Scored]:
    """The scores of a folder with a video of each pair, named by the clip's number. InputError names a missing one."""
    missing = [video_name(clip.number) for clip in pairs.clips if not (videos / video_name(clip.number)).is_file()]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise InputError(f"{videos} lacks {missing[0]}{more}. It must have a video of each pair, named as theirs.")
    return _score(
        ((clip, read_video(videos / video_name(clip.number))) for clip in pairs.clips), pairs, videos.name, report
    )


def score_controls(
    pairs: Pairs, frames: int, fps: float, seed: int, out: Folder, report: Callable[[str], None]
) -> dict[str, list[Scored]]:
    """The scores of the controls, as H.264, with as many frames per second as the models' videos."""
    found = {}
    for name in CONTROLS:
        made = ((clip, decode(control(name, pairs.world, clip, frames, fps, seed).encoded())) for clip in pairs.clips)
        place = out / name.replace(" ", "_")
        key = digest(name, pairs.digest, frames, fps, seed)
        found[name] = kept_scores(place, key, partial(_score, made, pairs, name, report))
    return found


def _score(
    videos: Iterable[tuple[Clip, Video]], pairs: Pairs, name: str, report: Callable[[str], None]
) -> list[Scored]:
    found = []
    for clip, video in videos:
        found.append(pairs.score(clip, video))
        if len(found) % 64 == 0:
            report(f"{name}: {len(found)} of {len(pairs.clips)} videos scored")
    return found
