"""The files of a video: the input picture, the video, a thumbnail, a sprite sheet of its frames."""

import io
import math
import re
from typing import Literal

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from base.storage.folder import Folder
from media.video_file import encode_video
from serving.generate.signing import Sign, unsigned

Variant = Literal["video", "thumbnail", "spritesheet"]
NAMES: dict[Variant, tuple[str, str]] = {
    "video": ("video.mp4", "video/mp4"),
    "thumbnail": ("thumbnail.webp", "image/webp"),
    "spritesheet": ("spritesheet.jpg", "image/jpeg"),
}
_PICTURE = "picture.png"
_PROBE, _PROBE_BYTES = "probe", 1 << 16  # less than a picture and its video; enough to notice a full disk
_ID = re.compile(r"video_[0-9a-f]{32}")  # as generated in serving/jobs/job.py


class Files:
    """Files by the id of their video, one folder per video; local or in an object store."""

    def __init__(self, folder: Folder, sign: Sign = unsigned) -> None:
        self.root, self.folder, self.sign = folder, folder / "files", sign

    def keep_picture(self, video_id: str, picture: UInt8[np.ndarray, "height width 3"]) -> None:
        """Store the first frame losslessly; of the upload only the pixels are kept."""
        (self.folder / video_id).write(_PICTURE, _encoded(Image.fromarray(picture), "PNG", compress_level=1))

    def picture(self, video_id: str) -> UInt8[np.ndarray, "height width 3"]:
        """The first frame; FileNotFoundError if the video was deleted."""
        data = (self.folder / video_id).read(_PICTURE)
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"), np.uint8).copy()

    def copy_picture(self, source: str, target: str) -> None:
        """Copy the picture of one video to another."""
        (self.folder / target).write(_PICTURE, (self.folder / source).read(_PICTURE))

    def keep_video(
        self, video_id: str, frames: UInt8[np.ndarray, "t height width 3"], fps: float, tags: dict[str, str]
    ) -> None:
        """Write all variants, the video last; ``tags`` become its metadata."""
        place = self.folder / video_id
        place.write(NAMES["thumbnail"][0], _encoded(Image.fromarray(frames[len(frames) // 2]), "WEBP", quality=85))
        place.write(NAMES["spritesheet"][0], _encoded(Image.fromarray(sheet(frames)), "JPEG", quality=88))
        place.write(NAMES["video"][0], self.sign(encode_video(frames, fps, metadata=tags), tags))

    def read(self, video_id: str, variant: Variant) -> bytes:
        """The bytes of a file; FileNotFoundError if the video was deleted."""
        return (self.folder / video_id).read(NAMES[variant][0])

    def try_to_write(self) -> None:
        """StorageError if a local folder is not writable; object stores, which charge for requests, are not checked."""
        if not self.root.remote:
            self.root.write(_PROBE, bytes(_PROBE_BYTES))
            self.root.delete(_PROBE)

    def remove(self, video_id: str) -> None:
        """Remove all files of a video."""
        (self.folder / video_id).delete_all()

    def remove_all_but(self, known: set[str]) -> None:
        """Remove files without a job, left by a server that was killed between two writes.

        Only folders named like a video id are removed: a user's own files may be here.
        """
        for name in set(self.folder.folders()) - known:
            if _ID.fullmatch(name):
                self.remove(name)


def sheet(frames: UInt8[np.ndarray, "t height width 3"]) -> UInt8[np.ndarray, "all_height all_width 3"]:
    """All frames in one picture, row by row, as square as possible; unused cells are black."""
    t, height, width, _ = frames.shape
    columns = math.ceil(math.sqrt(t))
    rows = math.ceil(t / columns)
    out = np.zeros((rows * height, columns * width, 3), np.uint8)
    for number, frame in enumerate(frames):
        y, x = number // columns * height, number % columns * width
        out[y : y + height, x : x + width] = frame
    return out


def _encoded(picture: Image.Image, kind: str, **options: int) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()
