"""Which files of a WebDataset sample belong to which of its videos.

A sample is what has the same name up to the first dot, so `shot.1.mp4`, `shot.1.txt`, `shot.2.mp4` and `shot.2.txt` are
one. Where it has several videos or several captions, a caption belongs to the video that has its whole name; one that
bears the sample's name alone (`shot.txt`) belongs to those that have none of their own. What could belong to either
belongs to none: a wrong caption is worse than a failed row.
"""

from collections.abc import Sequence

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


def beside(video: str, names: Sequence[str], kind: str) -> str | None:
    """The member ``.kind`` of a sample that belongs to one of its videos; None where there is none.

    ValueError, whose message tells what is unclear, where it cannot be said which one it is.
    """
    if names.count(video) > 1:
        raise ValueError(f"the sample holds {video} {names.count(video)} times: give each video a name of its own")
    found = [name for name in names if name.lower().endswith(f".{kind}")]
    own = [name for name in found if _stem(name) == _stem(video)]
    shared = [name for name in found if _stem(name) == sample_key(video)]
    if same := own or shared:
        if len(same) > 1:
            raise ValueError(f"the sample holds {', '.join(same)}, and one .{kind} is expected for {video}")
        return same[0]
    videos = [name for name in names if is_video(name)]
    open_to_all = [name for name in found if _stem(name) not in {_stem(other) for other in videos}]
    if not open_to_all:
        return None
    if len(videos) > 1 or len(open_to_all) > 1 or _numbered(video, open_to_all[0]):
        raise ValueError(
            f"it is unclear whether {open_to_all[0]} belongs to {video}: name it as the video, {_stem(video)}.{kind}"
        )
    return open_to_all[0]


def _stem(name: str) -> str:
    """A name without its suffix."""
    return name.rpartition(".")[0]


def _numbered(video: str, other: str) -> bool:
    """Whether two names that differ between first and last dot do so by a number, as pieces of one video do."""
    key = len(sample_key(video))
    return any(any(letter.isdigit() for letter in _stem(name)[key:]) for name in (video, other))
