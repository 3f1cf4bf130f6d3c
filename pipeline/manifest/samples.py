"""Which files of a WebDataset sample belong to which of its videos.

A sample is what has the same name up to the first dot, so `shot.1.mp4`, `shot.1.txt`, `shot.2.mp4` and `shot.2.txt` are
one. Where it has several videos or several captions, a caption belongs to the video that has its whole name; one that
bears the sample's name alone (`shot.txt`) belongs to those that have none of their own. What could belong to either
belongs to none: a wrong caption is worse than a failed row.
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
    """Whether a member's name is that of a video."""
    return name.lower().endswith(VIDEO_SUFFIXES)


def sample_key(name: str) -> str:
    """A member's name up to the first dot of its last part."""
    folder, slash, last = name.rpartition("/")
    return folder + slash + last.split(".", 1)[0]


class Sample:
    """The members of one sample, looked through once, so that a whole shard may be one sample."""

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
        """The member ``.kind``, of :data:`SIDECARS`, that belongs to one of the videos; None where there is none.

        ValueError, whose message tells what is unclear, where it cannot be said which one it is.
        """
        if (times := self._counts[video]) > 1:
            raise ValueError(f"the sample holds {video} {times} times: give each video a name of its own")
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
                f"it is unclear whether {found[0]} belongs to {video}: name it as the video, {stem}.{kind}"
            )
        return found[0]


def _stem(name: str) -> str:
    """A name without its suffix."""
    return name.rpartition(".")[0]


def _is_piece(name: str) -> bool:
    """Whether between first and last dot there is a number alone, as pieces of one video have (``shot.1.mp4``)."""
    return bool(_PIECE.fullmatch(_stem(name)[len(sample_key(name)) :]))
