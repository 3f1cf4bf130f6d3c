"""Files that nobody sends by accident, and files that nobody finishes sending."""

import io
import socket
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import av
import httpx2
import numpy as np
import pytest
from PIL import Image

from serving.generate.models import ServedModel
from tests.media.pictures import bombs, encoded, jpeg_of_scans
from tests.media.pictures import png as png_of_size
from tests.serving.calls import events, png
from tests.serving.hostile import as_json, check_traces, form, refusal, target_in
from tests.serving.server import Server

MIB = 1 << 20
Way = Callable[[bytes], httpx2.Response]


@pytest.fixture(scope="module")
def target(tiny: ServedModel, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """It generates nothing before the last test lets it."""
    with target_in(tmp_path_factory.mktemp("target"), tiny) as server:
        server.hold.set()
        yield server


@pytest.fixture(scope="module")
def client(target: Server) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=target.url, timeout=60) as opened:
        yield opened


@pytest.fixture(autouse=True)
def no_traces(target: Server, client: httpx2.Client, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    check_traces(target, client, caplog)
    assert list(Path(tempfile.gettempdir()).iterdir()) == []


@pytest.fixture(params=[form, as_json])
def send(request: pytest.FixtureRequest, client: httpx2.Client) -> Way:
    return lambda picture: request.param(client, picture)


@pytest.fixture
def kept(target: Server, send: Way) -> Callable[[bytes], np.ndarray]:
    """What of a picture is kept, as pixels."""

    def keep(picture: bytes) -> np.ndarray:
        answer = send(picture)
        assert answer.status_code == 200, answer.text
        with Image.open(target.files / answer.json()["id"] / "picture.png") as found:
            assert (found.mode, found.info) == ("RGB", {})
            return np.asarray(found)

    return keep


SMALL = Image.new("RGB", (64, 32), "red")
REFUSED = {
    "nothing": (b"", "unsupported_image"),
    "svg": (b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>', "unsupported_image"),
    **{
        kind: (encoded(SMALL, kind), "unsupported_image") for kind in ("GIF", "TIFF", "BMP", "ICO", "PDF", "TGA", "PPM")
    },
    "exe": (b"MZ\x90\0" + bytes(500), "unsupported_image"),
    "elf": (b"\x7fELF" + bytes(500), "unsupported_image"),
    "zip": (b"PK\3\4" + bytes(500), "unsupported_image"),
    "mp4": (b"\0\0\0\x18ftypmp42" + bytes(500), "unsupported_image"),
    "postscript": (b"%!PS\n(/etc/passwd) (r) file", "unsupported_image"),
    "ImageMagick's own": (b"push graphic-context\nimage over 0,0 0,0 '|id'", "unsupported_image"),
    "a zip before a PNG": (b"PK\3\4" + encoded(SMALL), "unsupported_image"),
    "PNG, its first bytes": (b"\x89PNG\r\n\x1a\n", "invalid_image"),
    "PNG, half of it": (png()[: len(png()) // 2], "invalid_image"),
    "JPEG, half of it": (encoded(Image.effect_noise((64, 32), 50), "JPEG")[:500], "invalid_image"),
    "WebP, half of it": (encoded(Image.effect_noise((64, 32), 50), "WEBP")[:300], "invalid_image"),
    "PNG of no width": (png_of_size(0, 9), "invalid_image"),
    "JPEG, the same scan 1500 times": (jpeg_of_scans(1500, (6000, 6500)), "invalid_image"),
    "PNG, a line of pixels": (png_of_size(1, 50_000_000), "image_too_large"),
    **bombs(),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_files_that_are_refused(send: Way, name: str) -> None:
    picture, code = REFUSED[name]
    assert refusal(send(picture)) == (400, code, "input_reference")


@pytest.mark.parametrize("size", [(1, 1), (1, 5000), (5000, 1), (3, 4000)])
def test_odd_shapes(kept: Callable[[bytes], np.ndarray], size: tuple[int, int]) -> None:
    assert kept(encoded(Image.new("RGB", size, "red"))).tolist() == [[[255, 0, 0]] * 64] * 32


def test_what_a_camera_turned(kept: Callable[[bytes], np.ndarray]) -> None:
    upright = Image.new("RGB", (64, 32), "white")
    upright.paste("black", (0, 0, 32, 16))
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: viewers turn the picture clockwise
    stored = upright.transpose(Image.Transpose.ROTATE_90)
    assert (kept(encoded(stored, "PNG", exif=exif)) == np.asarray(upright)).all()


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_an_animation_is_its_first_frame(kept: Callable[[bytes], np.ndarray], kind: str) -> None:
    frames = [Image.new("RGB", (64, 32), colour) for colour in ("red", "green", "blue")]
    data = encoded(frames[0], kind, save_all=True, append_images=frames[1:], lossless=True, duration=100)
    assert (kept(data) == (255, 0, 0)).all()


def test_all_kinds_of_pixels(kept: Callable[[bytes], np.ndarray]) -> None:
    grey = np.full((32, 64), 0x8080, np.uint16)
    assert (kept(encoded(Image.fromarray(grey))) == 128).all()
    clear = Image.new("P", (64, 32), 1)
    clear.putpalette([255, 0, 0, 0, 0, 255])
    assert (kept(encoded(clear, transparency=1)) == 255).all()
    assert (kept(encoded(clear, transparency=0)) == (0, 0, 255)).all()
    ink = Image.new("CMYK", (64, 32), (0, 255, 255, 0))
    assert np.abs(kept(encoded(ink, "JPEG", quality=95)).astype(int) - (255, 0, 0)).max() < 6


MARK = b"<script>alert('a mark')</script>"


@pytest.mark.parametrize(
    "picture",
    [
        encoded(SMALL) + b"PK\3\4" + MARK,
        encoded(SMALL, "JPEG", comment=MARK) + MARK,
        encoded(SMALL, "JPEG", exif=b"Exif\0\0" + MARK),
        encoded(SMALL, "WEBP", lossless=True, xmp=MARK) + MARK,
        encoded(SMALL, icc_profile=MARK),
    ],
    ids=["PNG and ZIP", "JPEG and HTML", "JPEG with EXIF", "WebP and XMP", "PNG with a profile"],
)
def test_of_two_files_in_one_only_pixels_stay(target: Server, client: httpx2.Client, picture: bytes) -> None:
    answer = form(client, picture, kind="text/html", name="a.html")
    assert answer.status_code == 200
    (path,) = (target.files / answer.json()["id"]).iterdir()
    assert MARK not in path.read_bytes()
    assert path.read_bytes().endswith(b"IEND\xaeB`\x82")


@pytest.mark.parametrize(
    "name",
    [
        "../../etc/passwd",
        "/etc/passwd",
        "..\\..\\a",
        "a\0.png",
        "a\r\nX-Y: z",
        "con",
        ".",
        "..",
        "~",
        "$(id)",
        "a" * 3000,
        "✦‮gnp.exe",
    ],
)
def test_names_lead_nowhere(target: Server, client: httpx2.Client, name: str) -> None:
    answer = form(client, png(), name=name)
    assert answer.status_code == 200
    assert [path.name for path in (target.files / answer.json()["id"]).iterdir()] == ["picture.png"]


@pytest.mark.parametrize("said", [True, False], ids=["said", "chunked"])
@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=B", "application/json"])
def test_two_hundred_mebibytes(client: httpx2.Client, kind: str, said: bool) -> None:
    head = b'--B\r\nContent-Disposition: form-data; name="input_reference"; filename="a"\r\n\r\n'

    def parts() -> Iterator[bytes]:
        yield head if "B" in kind else b'{"a": "'
        for _ in range(200):
            yield b"a" * MIB

    headers = {"content-type": kind}
    if said:
        headers["content-length"] = str(sum(map(len, parts())))
    answer = client.post("/v1/videos", content=parts(), headers=headers)
    assert refusal(answer) == (413, "body_too_large", None)


@pytest.mark.parametrize("path", ["/v1/videos", "/v1/videos/sync", "/v1/videos/video_1/remix"])
@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=B", "application/json"])
def test_those_who_hang_up_while_they_send(target: Server, client: httpx2.Client, path: str, kind: str) -> None:
    place = urlsplit(target.url)
    head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: {kind}\r\nContent-Length: {10 * MIB}\r\n\r\n"
    part = b'--B\r\nContent-Disposition: form-data; name="input_reference"; filename="a"\r\n\r\n' + bytes(3 * MIB)
    with socket.create_connection((place.hostname, place.port), 10) as connection:
        connection.sendall(head.encode() + part)
    assert client.get("/ready").status_code == 200


def test_after_all_that_it_makes_videos(target: Server, client: httpx2.Client) -> None:
    """Of a file that is two, and nothing of the second is in anything that it gives back."""
    for video_id in target.store.upkeep.ids():
        assert client.delete(f"/v1/videos/{video_id}").status_code == 200
    assert list(target.files.iterdir()) == []
    target.hold.clear()
    video_id = form(client, encoded(SMALL, "JPEG", comment=MARK) + MARK, prompt="a star").json()["id"]
    assert events(client, video_id)[-1][0] == "completed"
    for variant in ("video", "thumbnail", "spritesheet"):
        data = client.get(f"/v1/videos/{video_id}/content", params={"variant": variant}).content
        assert MARK not in data
        with av.open(io.BytesIO(data)) as container:
            (frame, *_) = container.decode(video=0)
            assert (frame.width, frame.height) in ((64, 32), (128, 64))
