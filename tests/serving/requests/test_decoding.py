"""Pictures that would take the server's time or memory: their process pays, and nobody else waits for it."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from media.picture import PictureError, decode_picture, fit
from serving.errors import ApiError
from serving.requests.decoding import DecodeLimits, PictureDecoder
from tests.media.pictures import encoded, jpeg_of_scans
from tests.processes import children
from tests.serving.calls import png

MIB = 1 << 20
Open = Callable[[DecodeLimits], PictureDecoder]


@pytest.fixture
def opened() -> Iterator[Open]:
    decoders = []

    def make(limits: DecodeLimits) -> PictureDecoder:
        decoders.append(PictureDecoder(limits))
        return decoders[-1]

    yield make
    for decoder in decoders:
        decoder.close()


def decoding() -> dict[int, int]:
    """The processes that decode for this one, and the bytes of memory that they hold."""
    return {pid: resident(pid) for pid in children("picture_child")}


def resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def decode(decoder: PictureDecoder, data: bytes) -> np.ndarray:
    with decoder.turn():
        return decoder.first_frame(data, 32, 64)


def test_the_pixels_are_those_of_the_decoder(opened: Open) -> None:
    decoder = opened(DecodeLimits())
    pictures = [png(seed, 300, 200) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda data: decode(decoder, data), pictures))
    for data, frame in zip(pictures, found, strict=True):
        assert (frame == fit(decode_picture(data), 32, 64)).all()
    for data, code in ((b"nothing", "unsupported_image"), (pictures[0][:-900], "invalid_image")):
        with pytest.raises(PictureError) as caught:
            decode(decoder, data)
        assert caught.value.code == code
    assert 1 <= len(decoding()) <= 2


def test_computing_has_an_end(opened: Open) -> None:
    """The slowest file that its headers let through, in a tenth of the time that a server grants it."""
    decoder = opened(DecodeLimits(cpu_s=1))
    with pytest.raises(PictureError, match="more than 1 s of CPU time") as caught:
        decode(decoder, jpeg_of_scans(85, (6000, 6500)))
    assert caught.value.code == "invalid_image"
    assert decode(decoder, png()).shape == (32, 64, 3)


def test_memory_has_an_end(opened: Open) -> None:
    decoder = opened(DecodeLimits(memory_mb=300))
    with pytest.raises(PictureError, match="too much memory") as caught:
        decode(decoder, encoded(Image.new("RGBA", (6000, 6000)), compress_level=1))
    assert caught.value.code == "image_too_large"
    assert decode(decoder, png()).shape == (32, 64, 3)


def test_what_a_large_picture_took_is_given_back(opened: Open) -> None:
    """Decoded in threads of the server, sixteen of them left 3 GB behind."""
    decoder = opened(DecodeLimits())
    data = encoded(Image.new("RGBA", (6000, 6000), "red"), compress_level=1)
    before = resident(os.getpid())
    assert np.abs(decode(decoder, data).astype(int) - (255, 0, 0)).max() <= 1  # what scaling rounds
    assert resident(os.getpid()) - before < 64 * MIB
    assert sum(decoding().values()) < 256 * MIB


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "form", "options"),
    [
        ("RGBA", "PNG", {"compress_level": 1}), ("P", "PNG", {"transparency": 0}), ("I;16", "PNG", {}),
        ("CMYK", "JPEG", {"progressive": True}), ("RGBA", "WEBP", {"lossless": True, "method": 0}),
    ],
)  # fmt: skip
def test_the_limits_leave_room_for_the_largest_pictures(
    opened: Open, mode: str, form: str, options: dict[str, object]
) -> None:
    """Turned by EXIF, too, which takes one more copy."""
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(Image.new(mode, (6250, 6399)), form, exif=exif, **options)
    assert decode(opened(DecodeLimits()), data).shape == (32, 64, 3)


def test_a_lost_process_is_replaced(opened: Open) -> None:
    decoder = opened(DecodeLimits())
    for number in (signal.SIGKILL, signal.SIGSEGV):
        decode(decoder, png())
        (process,) = decoding()
        os.kill(process, number)
        assert (decode(decoder, png(1)) == fit(decode_picture(png(1)), 32, 64)).all()
        assert process not in decoding()


def test_a_turn_that_does_not_come(opened: Open) -> None:
    """Both processes are at work for others."""
    decoder, go = opened(DecodeLimits(turn_s=0.1)), threading.Event()
    taken = threading.Barrier(3, timeout=20)

    def keep() -> None:
        with decoder.turn():
            taken.wait()
            go.wait(20)

    with ThreadPoolExecutor(2) as pool:
        for _ in range(2):
            pool.submit(keep)
        taken.wait()
        with pytest.raises(ApiError) as caught:
            decode(decoder, png())
        go.set()
    assert (caught.value.status, caught.value.code, caught.value.headers) == (503, "busy", {"retry-after": "10"})
    assert decode(decoder, png()).shape == (32, 64, 3)
