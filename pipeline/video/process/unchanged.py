"""Checks that a file is unchanged since the probe, by its content, read once for all clips of a video."""

import time
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.video.errors import VideoError
from pipeline.video.probe import has_content
from pipeline.video.timeline import Identity, identity

_KEPT = 64
# Two changes within one tick of a file system's clock have the same time; network file systems tick in seconds.
_SETTLED_S = 2.0


class ContentCheck:
    """Compares files with their recorded content, and caches results."""

    def __init__(self) -> None:
        self._known: OrderedDict[Path, tuple[Identity, str]] = OrderedDict()

    def holds(self, path: Path, content: str) -> bool:
        """Whether the file has this content hash."""
        before = identity(path)
        if self._known.get(path) == (before, content):
            self._known.move_to_end(path)
            return True
        same = has_content(path, content) and identity(path) == before
        if same and time.time() - before[-1] / 1e9 > _SETTLED_S:
            self._known[path] = (before, content)
            while len(self._known) > _KEPT:
                self._known.popitem(last=False)
        return same

    @contextmanager
    def held(self, path: Path, content: str) -> Iterator[None]:
        """Context for decoding: VideoError SourceChanged if the file differs before or after."""
        before = identity(path)
        if not self.holds(path, content):
            raise _changed(content)
        yield
        if identity(path) != before:
            raise _changed(content)


def _changed(content: str) -> VideoError:
    return VideoError(
        "SourceChanged",
        f"the file has changed since it was probed ({content}): restore it, "
        "or give the new file another name and list it in the manifest",
    )
