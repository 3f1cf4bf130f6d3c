"""Pictures of a clip as data URIs: a poster, the clip itself, and the clip overlaid with its heatmap."""

import base64

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from media.video_file import encode_video

_WIDEST = 384
_COLOUR = np.array([255, 96, 0], np.float32)
_STRENGTH = 0.65


def shrink(frames: UInt8[np.ndarray, "t h w 3"]) -> UInt8[np.ndarray, "t h2 w2 3"]:
    """Frames scaled to at most the width of a card, with even sides."""
    height, width = frames.shape[1:3]
    scale = min(1.0, _WIDEST / width)
    return resized(frames, (round(height * scale / 2) * 2, round(width * scale / 2) * 2))


def resized(frames: UInt8[np.ndarray, "t h w 3"], size: tuple[int, int]) -> UInt8[np.ndarray, "t h2 w2 3"]:
    """Frames scaled down to a height and width."""
    return np.stack([cv2.resize(frame, size[::-1], interpolation=cv2.INTER_AREA) for frame in frames])


def poster(frame: UInt8[np.ndarray, "h w 3"]) -> str:
    """A frame as JPEG."""
    done, data = cv2.imencode(".jpg", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 80])
    assert done
    return data_uri("image/jpeg", data.tobytes())


def video(frames: UInt8[np.ndarray, "t h w 3"], fps: float) -> str:
    """Frames as mp4."""
    return data_uri("video/mp4", encode_video(frames, fps, crf=26))


def overlay(
    frames: UInt8[np.ndarray, "t h w 3"], heatmap: Float[np.ndarray, "t gh gw"]
) -> UInt8[np.ndarray, "t h w 3"]:
    """Frames tinted by the heatmap (0 to 1); its cells stay visible as squares."""
    height, width = frames.shape[1:3]
    out = np.empty_like(frames)
    for index, (frame, cells) in enumerate(zip(frames, heatmap, strict=True)):
        weight = _STRENGTH * cv2.resize(cells, (width, height), interpolation=cv2.INTER_NEAREST)[..., None]
        # Greyscale, so that only the heatmap is coloured.
        grey = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)[..., None].astype(np.float32)
        out[index] = np.clip(grey * (1 - weight) + _COLOUR * weight, 0, 255).astype(np.uint8)
    return out


def data_uri(kind: str, data: bytes) -> str:
    """Bytes of a media type, such as ``video/mp4``, as a data URI."""
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
