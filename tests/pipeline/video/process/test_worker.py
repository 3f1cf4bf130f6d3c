import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from base.errors import StorageError
from base.storage.folder import Folder
from pipeline.video.decoders import Request
from pipeline.video.errors import VideoError
from pipeline.video.process.worker import DecodeLimits, VideoWorker
from pipeline.video.sampling import Span
from tests.processes import children
from tests.videos import number_of, pictures, write

CHILD = "pipeline.video.process.child"
WANTED = {"count": 4, "fps": 25.0, "variable_rate": False, "turns": 0, "pixel_aspect": 1.0, "height": 64, "width": 64}


def sleeps(request: Request, out: np.ndarray) -> None:
    """A decoder that hangs, as native ones do; beside the video it leaves the number of its process."""
    request.path.with_name(f"{os.getpid()}.hangs").touch()
    time.sleep(3600)


def hanging(video: str) -> set[int]:
    """The processes that it hangs in, or hung."""
    return {int(mark.stem) for mark in Path(video).parent.glob("*.hangs")}


def eats(request: Request, out: np.ndarray) -> None:
    """A decoder that takes all memory it gets."""
    hoard = []
    while True:
        hoard.append(np.ones(1 << 24, np.uint8))


def dies(request: Request, out: np.ndarray) -> None:
    """A decoder that crashes."""
    os.kill(os.getpid(), signal.SIGSEGV)


def dies_once(request: Request, out: np.ndarray) -> None:
    """A decoder whose process is killed the first time."""
    mark = request.path.with_suffix(".tried")
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    out[:] = 7


@pytest.fixture
def video(tmp_path: Path) -> str:
    return str(write(tmp_path / "a.mp4", pictures(12, 64, 64)))


@pytest.fixture
def worker(request: pytest.FixtureRequest) -> Iterator[VideoWorker]:
    worker = VideoWorker(getattr(request, "param", DecodeLimits()))
    yield worker
    worker.close()


def limits(decoder: str, **more: float) -> DecodeLimits:
    return DecodeLimits(decoders=(f"{__name__}:{decoder}",), **more)  # type: ignore[arg-type]


def kind_of(worker: VideoWorker, video: str) -> str:
    with pytest.raises(VideoError) as caught:
        worker.decode(video, Span(0, 1), WANTED)
    return caught.value.kind


def test_probe_and_decode(worker: VideoWorker, video: str) -> None:
    assert worker.probe(video).frames == 12
    decoder, frames = worker.decode(video, Span(2, 3), WANTED)
    assert decoder == "pyav"
    assert [number_of(frame) for frame in frames] == [2, 5, 8, 11]
    larger = WANTED | {"count": 6, "height": 128, "width": 128}
    assert worker.decode(video, Span(0, 1), larger)[1].shape == (6, 128, 128, 3)


def test_a_failure_leaves_the_child_alive(worker: VideoWorker, video: str, tmp_path: Path) -> None:
    before = children(CHILD)
    worker.probe(video)
    (child,) = children(CHILD) - before
    text = tmp_path / "b.mp4"
    text.write_text("no video")
    with pytest.raises(VideoError, match="Invalid data"):
        worker.probe(str(text))
    with pytest.raises(VideoError) as caught:
        worker.probe(str(tmp_path / "none.mp4"))
    assert caught.value.kind == "MissingFile"
    assert worker.probe(video).frames == 12
    assert children(CHILD) - before == {child}


@pytest.mark.parametrize("worker", [limits("sleeps", deadline_s=1.5)], indirect=True)
def test_a_decoder_that_hangs_meets_its_deadline(worker: VideoWorker, video: str) -> None:
    started = time.monotonic()
    assert kind_of(worker, video) == "Timeout"
    assert time.monotonic() - started < 10
    assert worker.probe(video).frames == 12


@pytest.mark.parametrize("worker", [limits("eats", memory_mb=1024)], indirect=True)
def test_a_decoder_that_eats_memory_meets_its_limit(worker: VideoWorker, video: str) -> None:
    assert kind_of(worker, video) == "OutOfMemory"


@pytest.mark.parametrize("worker", [limits("dies")], indirect=True)
def test_a_decoder_that_crashes_is_told(worker: VideoWorker, video: str) -> None:
    with pytest.raises(VideoError, match="SIGSEGV, twice") as caught:
        worker.decode(video, Span(0, 1), WANTED)
    assert caught.value.kind == "DecoderDied"


@pytest.mark.parametrize("worker", [limits("dies_once")], indirect=True)
def test_a_child_that_is_killed_is_replaced(worker: VideoWorker, video: str) -> None:
    _, frames = worker.decode(video, Span(0, 1), WANTED)
    assert (frames == 7).all()


@pytest.mark.parametrize("worker", [limits("sleeps", deadline_s=60)], indirect=True)
def test_a_child_killed_from_outside_twice_is_given_up(worker: VideoWorker, video: str) -> None:
    killed, given_up = set[int](), threading.Event()

    def kill() -> None:
        while len(killed) < 2 and not given_up.wait(0.05):
            for child in hanging(video) - killed:
                killed.add(child)
                os.kill(child, signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    assert kind_of(worker, video) == "DecoderDied"
    given_up.set()
    thread.join()
    assert len(killed) == 2


@pytest.mark.parametrize("worker", [DecodeLimits(clips_a_child=2)], indirect=True)
def test_a_fresh_child_after_so_many_clips(worker: VideoWorker, video: str) -> None:
    before, seen = children(CHILD), set[int]()
    for _ in range(5):
        worker.decode(video, Span(0, 1), WANTED)
        (child,) = children(CHILD) - before
        seen.add(child)
    assert len(seen) == 3


ORPHAN = """
import json, sys
from pipeline.video.process.worker import DecodeLimits, VideoWorker
from pipeline.video.sampling import Span
video, decoder, wanted = sys.argv[1:]
VideoWorker(DecodeLimits(decoders=(decoder,))).decode(video, Span(0, 1), json.loads(wanted))
"""


def test_the_child_dies_with_its_parent(video: str) -> None:
    """A decoder that hangs must not outlive a worker process that was killed."""
    with subprocess.Popen([sys.executable, "-c", ORPHAN, video, f"{__name__}:sleeps", json.dumps(WANTED)]) as parent:
        while not hanging(video):
            assert parent.poll() is None
            time.sleep(0.05)
        parent.kill()
    (child,) = hanging(video)
    deadline = time.monotonic() + 20
    while _state(child) != "Z":
        assert time.monotonic() < deadline, "the child is still there"
        time.sleep(0.05)


def _state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return "Z"


def test_from_s3(worker: VideoWorker, video: str, bucket: str) -> None:
    Folder(bucket).write("a.mp4", Path(video).read_bytes())
    assert worker.probe(f"{bucket}/a.mp4") == worker.probe(video)
    _, frames = worker.decode(f"{bucket}/a.mp4", Span(1, 1), WANTED)
    assert number_of(frames[0]) == 1
    with pytest.raises(VideoError, match="no such object"):
        worker.probe(f"{bucket}/b.mp4")
    with pytest.raises(StorageError, match="bucket does not exist"):
        worker.probe("s3://nowhere-to-be-found/a.mp4")


def test_nothing_is_left_of_a_source_from_s3(
    video: str, bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process ends by SIGKILL with the actor that owns it; a million videos would fill the disk."""
    Folder(bucket).write("a.mp4", Path(video).read_bytes())
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    worker = VideoWorker(DecodeLimits())
    worker.probe(f"{bucket}/a.mp4")
    worker.close()
    assert not list((tmp_path / "temporary").iterdir())


def replaced(worker: VideoWorker, uri: str, content: str) -> bool:
    """Whether the worker refuses the file as another one."""
    try:
        worker.decode(uri, Span(0, 1), WANTED, content)
    except VideoError as error:
        return error.kind == "SourceChanged" and "restore it" in error.message
    return False


def test_another_file_than_was_probed(worker: VideoWorker, video: str, tmp_path: Path) -> None:
    content, path = worker.probe(video).content, Path(video)
    old, stat = path.read_bytes(), path.stat()
    assert not replaced(worker, video, content)
    new = bytearray(old)
    new[-1] ^= 1
    path.write_bytes(new)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # same path, size, inode and time
    assert replaced(worker, video, content)
    os.utime(path, ns=(0, 0))
    assert replaced(worker, video, content)
    path.unlink()
    path.write_bytes(old)
    os.utime(path, ns=(0, 0))
    assert not replaced(worker, video, content)
    assert not replaced(worker, video, content)  # from memory
    write(path, pictures(12, 64, 64)[::-1])
    assert replaced(worker, video, content)


def test_another_object_than_was_probed(worker: VideoWorker, video: str, bucket: str) -> None:
    Folder(bucket).write("a.mp4", Path(video).read_bytes())
    uri = f"{bucket}/a.mp4"
    content = worker.probe(uri).content
    assert not replaced(worker, uri, content)
    Folder(bucket).write("a.mp4", b"")
    worker.close()
    assert replaced(worker, uri, content)
    Folder(bucket).write("a.mp4", Path(video).read_bytes())
    assert not replaced(worker, uri, content), "the child's copy of an object is not the last word"


def replaces_its_file(request: Request, out: np.ndarray) -> None:
    """A decoder during which the file is replaced."""
    request.path.write_bytes(request.path.read_bytes())


@pytest.mark.parametrize("worker", [limits("replaces_its_file")], indirect=True)
def test_a_file_that_is_replaced_while_it_is_decoded(worker: VideoWorker, video: str) -> None:
    assert replaced(worker, video, worker.probe(video).content)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"decoders": ()}, "decoders: give at least one"),
        ({"deadline_s": 0.0}, "deadline_s 0.0: must be above 0"),
        ({"memory_mb": 100}, "memory_mb 100"),
        ({"clips_a_child": 0}, "clips_a_child 0"),
    ],
)
def test_wrong_limits(fields: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        DecodeLimits(**fields)  # type: ignore[arg-type]
