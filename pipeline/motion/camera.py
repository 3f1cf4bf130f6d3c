"""Camera motion in a dense flow: a homography that most of the picture follows.

If the camera rotates or zooms, or moves in front of a flat or distant scene, the static part of the picture moves by a
homography (Hartley & Zisserman 2004, section 8.4). It is estimated by RANSAC from flow vectors on a grid and
subtracted; the rest is independent motion.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

# Grid spacing of vectors in pixels: 2,560 vectors for a frame of 320 x 512.
_GRID = 8
# A vector is an inlier within this distance, as a share of the frame's diagonal (1.8 pixels for 320 x 512); the
# heatmap is dark at such a length.
_AGREES = 0.003
# With that tolerance, a homography may be a compromise between static parts and a slow object. A second one is fitted
# with this smaller tolerance; the one with the better fit at the small tolerance is used.
_AGREES_CLOSELY = 0.001
_LEAST_AGREEING = 0.5
# Largest plausible motion of the corners between frames, as a share of the diagonal.
_FURTHEST = 0.5
_SEED, _CONFIDENCE, _ITERATIONS = 0, 0.999, 2000


@dataclass(frozen=True)
class Camera:
    """Camera motion in each step of a clip: a 3 x 3 homography of pixels (x, y), or None if none was found."""

    steps: tuple[np.ndarray | None, ...]
    height: int
    width: int

    @property
    def found(self) -> tuple[bool, ...]:
        """In which steps a homography was found."""
        return tuple(step is not None for step in self.steps)

    def flow(self) -> Float[np.ndarray, "s 2 h w"]:
        """The displacement of each pixel of a step's first frame, in pixels, x before y; zero if none was found."""
        return np.stack([self._displacement(step) for step in self.steps])

    def back(self) -> Float[np.ndarray, "s 2 h w"]:
        """The backward displacement of each pixel of a step's second frame."""
        return np.stack([self._displacement(None if step is None else np.linalg.inv(step)) for step in self.steps])

    def _displacement(self, matrix: np.ndarray | None) -> Float[np.ndarray, "2 h w"]:
        if matrix is None:
            return np.zeros((2, self.height, self.width), np.float32)
        rows, columns = np.arange(self.height, dtype=np.float64)[:, None], np.arange(self.width, dtype=np.float64)
        x, y, w = (line[0] * columns + (line[1] * rows + line[2]) for line in matrix)
        return np.stack([x / w - columns, y / w - rows]).astype(np.float32)


def find_camera(flow: Float[Tensor, "s 2 h w"]) -> Camera:
    """Estimate the camera motion in the steps of a clip; deterministic.

    A step has no camera motion if fewer than half of the vectors agree on a homography, or if it is implausible
    (folds the picture or moves its corners too far). Objects that cover up to two fifths of the picture are not taken
    for the camera; objects that cover more than half are.
    """
    height, width = flow.shape[-2:]
    rows, columns = (torch.arange(_GRID // 2, size, _GRID, device=flow.device) for size in (height, width))
    vectors = flow[:, :, rows][..., columns].flatten(2).transpose(1, 2).double().cpu().numpy()
    grid = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1).reshape(-1, 2).double().cpu().numpy()
    return Camera(tuple(_homography(grid, grid + step, height, width) for step in vectors), height, width)


def _homography(start: np.ndarray, end: np.ndarray, height: int, width: int) -> np.ndarray | None:
    """The 3 x 3 matrix that most vectors follow, or None."""
    if not np.isfinite(end).all():
        return None
    diagonal = float(np.hypot(height, width))
    best, best_score = None, 0.0
    for tolerance in (_AGREES, _AGREES_CLOSELY):
        matrix = _fitted(start, end, tolerance * diagonal)
        if matrix is None or not _is_plausible(matrix, height, width):
            continue
        distances = np.linalg.norm(cv2.perspectiveTransform(start[:, None], matrix)[:, 0] - end, axis=1) / diagonal
        score = float(np.maximum(0, 1 - (distances / _AGREES_CLOSELY) ** 2).sum())
        if (distances <= _AGREES).mean() >= _LEAST_AGREEING and score > best_score:
            best, best_score = matrix, score
    return best


def _fitted(start: np.ndarray, end: np.ndarray, tolerance: float) -> np.ndarray | None:
    settings = cv2.UsacParams()
    settings.randomGeneratorState = _SEED
    settings.confidence, settings.maxIterations = _CONFIDENCE, _ITERATIONS
    settings.threshold = tolerance
    settings.sampler, settings.score = cv2.SAMPLING_UNIFORM, cv2.SCORE_METHOD_MSAC
    settings.loMethod, settings.final_polisher = cv2.LOCAL_OPTIM_INNER_LO, cv2.LSQ_POLISHER
    settings.isParallel = False
    matrix: np.ndarray | None = cv2.findHomography(start, end, settings)[0]
    return matrix


def _is_plausible(matrix: np.ndarray, height: int, width: int) -> bool:
    corners = np.array([[0, 0, 1], [width, 0, 1], [width, height, 1], [0, height, 1]], np.float64)
    moved = corners @ matrix.T
    if not np.isfinite(matrix).all() or np.linalg.det(matrix) <= 0 or (moved[:, 2] <= 0).any():
        return False
    distances = np.linalg.norm(moved[:, :2] / moved[:, 2:] - corners[:, :2], axis=1)
    return bool(distances.max() <= _FURTHEST * np.hypot(height, width))
