"""Where a frame's pixels go: turn, scale so that they just cover the target, cut out the centre."""

from dataclasses import dataclass

from av.video.frame import VideoFrame


@dataclass(frozen=True)
class Placement:
    """How a stored frame becomes a training frame: scale to ``scaled``, turn by ``turns`` x 90 degrees, crop.

    ``scaled`` (height, width) is before the turn; ``top``/``left`` are after it.
    """

    scaled: tuple[int, int]
    turns: int
    top: int
    left: int


def place(stored: tuple[int, int], pixel_aspect: float, turns: int, target: tuple[int, int]) -> Placement:
    """Resize the short side to cover, then centre crop.

    Args:
        stored: height and width of the stored frame.
        pixel_aspect: width of a stored pixel over its height.
        turns: quarter turns anticlockwise that bring the stored frame upright.
        target: height and width wanted.
    """
    height, width = float(stored[0]), stored[1] * pixel_aspect
    if turns % 2:
        height, width = width, height
    scale = max(target[0] / height, target[1] / width)
    upright = (max(target[0], round(height * scale)), max(target[1], round(width * scale)))
    top, left = (upright[0] - target[0]) // 2, (upright[1] - target[1]) // 2
    scaled = (upright[1], upright[0]) if turns % 2 else upright
    return Placement(scaled, turns % 4, top, left)


def quarter_turns(frame: VideoFrame) -> int:
    """Quarter turns anticlockwise that bring a stored frame upright, from its display matrix."""
    return round(frame.rotation / 90) % 4
