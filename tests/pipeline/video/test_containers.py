"""Which frames come out of containers whose seeking is hard, told by the barcode in the picture."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.video.decoders import Request, decode
from pipeline.video.probe import Facts, probe
from pipeline.video.sampling import Span
from tests.containers import CONTAINERS, COUNT, read_barcode, write_container

FRAMES = 16
SIZE = 64


@pytest.fixture(scope="module", params=CONTAINERS)
def container(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_container(tmp_path_factory.mktemp("container"), request.param)


def clip(path: Path, facts: Facts, span: Span, count: int = FRAMES) -> np.ndarray:
    out = np.zeros((count, SIZE, SIZE, 3), np.uint8)
    request = Request(path, span, count, facts.fps, facts.variable_rate, facts.turns, facts.pixel_aspect, SIZE, SIZE)
    decode(request, ("pyav", "decord"), out)
    return out


def wrong_clips(path: Path, starts: range) -> dict[int, list[int | None]]:
    """Start -> the frames that came, where they are not those asked for."""
    facts = probe(path)
    assert facts.frames == COUNT
    wrong = {}
    for first in starts:
        came = [read_barcode(frame) for frame in clip(path, facts, Span(first, 1))]
        if came != list(range(first, first + FRAMES)):
            wrong[first] = came
    return wrong


def test_no_wrong_frame(container: Path) -> None:
    assert wrong_clips(container, range(0, COUNT - FRAMES + 1, 9)) == {}


@pytest.mark.slow
def test_no_wrong_frame_in_any_clip(container: Path) -> None:
    starts = range(COUNT - FRAMES + 1)
    assert len(starts) == 167
    assert wrong_clips(container, starts) == {}
