"""Assigns the sidecar files of a WebDataset sample to its videos.

A sample is the files with the same name up to the first dot: `shot.1.mp4`, `shot.1.txt`, `shot.2.mp4` and `shot.2.txt`
are one. With several videos or captions, a caption belongs to the video with the same stem; one with only the sample's
name (`shot.txt`) belongs to videos without their own. Ambiguous captions are not assigned: a wrong caption is worse
than a failed row.
"""

import re
from collections import Counter
from collections.abc import Iterable

SIDECARS = ("txt", "json")
_LISTED = 3
_PIECE = re.compile(r"(\.\d+)+")

VIDEO_SUFFIXES = (
    ".mp4",
    ".mkv",
    ".webm",
    ".mov",
    ".avi",
    ".m4v",
    ".mpg",
    ".mpeg",
    ".ts",
    ".wmv",
    ".flv",
    ".3gp",
)


def is_video(name: str) -> bool:
    """Whether a member is a video, by its name."""
    return name.lower().endswith(VIDEO_SUFFIXES)


def sample_key(name: str) -> str:
    """A member's name up to the first dot of its last part."""
    folder, slash, last = name.rpartition("/")
    return folder + slash + last.split(".", 1)[0]


class Sample:
    """The members of one sample, indexed once, since a whole shard may be one sample."""

    def __init__(self, names: Iterable[str]) -> None:
        self._counts = Counter(names)
        videos = [name for name in self._counts if is_video(name)]
        self._videos = sum(self._counts[name] for name in videos)
        stems = {_stem(name) for name in videos}
        self._named: dict[tuple[str, str], list[str]] = {}
        self._open: dict[str, list[str]] = {kind: [] for kind in SIDECARS}
        for name in self._counts.elements():
            stem, _, suffix = name.rpartition(".")
            if (kind := suffix.lower()) in SIDECARS:
                self._named.setdefault((kind, stem), []).append(name)
                if stem not in stems:
                    self._open[kind].append(name)

    def beside(self, video: str, kind: str) -> str | None:
        """The sidecar member of a kind in :data:`SIDECARS` for one of the videos; None if there is none.

        ValueError with an explanation if it is ambiguous.
        """
        if (times := self._counts[video]) > 1:
            raise ValueError(f"the sample holds {video} {times} times: give each video its own name")
        stem = _stem(video)
        if same := self._named.get((kind, stem)) or self._named.get((kind, sample_key(video))):
            if len(same) > 1:
                listed = ", ".join(same[:_LISTED]) + (", ..." if len(same) > _LISTED else "")
                raise ValueError(f"the sample holds {listed}, and one .{kind} is expected for {video}")
            return same[0]
        found = self._open[kind]
        if not found:
            return None
        if self._videos > 1 or len(found) > 1 or (_is_piece(video) and _is_piece(found[0])):
            raise ValueError(
                f"it is unclear whether {found[0]} belongs to {video}: rename it after the video, {stem}.{kind}"
            )
        return found[0]


def _stem(name: str) -> str:
    """A name without its suffix."""
    return name.rpartition(".")[0]


def _is_piece(name: str) -> bool:
    """Whether only numbers are between the first and last dot, as in pieces of one video (``shot.1.mp4``)."""
    return bool(_PIECE.fullmatch(_stem(name)[len(sample_key(name)) :]))
