"""``motif generate``: request a video from a server, wait for it, download it."""

import contextlib
import io
import json
import os
import shutil
import sys
import time
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from PIL import Image

from base.errors import InputError, MotifError, StorageError
from infra.options import parse, plural, report
from media.picture import HEAD, find_kind, read_image
from serving.client.client import Client, failed
from serving.client.http import RefusedError
from serving.video_api import Video

_CANCEL_S = 5.0  # for the server's responses after Ctrl+C
_PATIENCE_S = 600.0  # with a server whose queue is full
_QUARTER = 25  # percent between two lines of a log
_NO_IMAGE = "give --image and --prompt: the first frame, and what should happen"


@dataclass(frozen=True)
class Options:
    """Request a video from a server. Ctrl+C also cancels it on the server."""

    url: str = "http://127.0.0.1:8000"
    """The server's address."""
    image: Path | None = None
    """The first frame; a JPEG, PNG or WebP file, or a video, of which the first frame is used. Not for text-to-video
    models."""
    prompt: str = ""
    """What should happen in the video."""
    out: str = ""
    """An .mp4 file, or a folder for several videos."""
    model: str | None = None
    """One of the server's models."""
    seed: int | None = None
    """The seed of the first video; by default the server draws one, which is printed at the end."""
    num: int = 1
    """Number of videos to request at once, with consecutive seeds."""
    num_frames: int | None = None
    """Frames of the video."""
    fps: float | None = None
    """Frames per second."""
    steps: int | None = None
    """Denoising steps."""
    guidance: float | None = None
    """Classifier-free guidance scale; larger values follow the prompt more closely."""
    negative_prompt: str | None = None
    """What should not appear."""
    motion_level: int | None = None
    """How much moves, from 1 to 10, for models that take it."""
    key: str = ""
    """The server's API key, if it requires one; MOTIF_API_KEY is safer, as process lists do not show it."""


def main(args: list[str]) -> int:
    """Run the command."""
    options = parse(Options, args, "motif generate")
    started = time.perf_counter()
    jobs = _Jobs(_targets(options))
    key = options.key or os.environ.get("MOTIF_API_KEY")
    with Client(options.url, key, patience=_PATIENCE_S, on_retry=jobs.line.report) as client:
        try:
            _ask(client, options, jobs)
            jobs.fetch(client)
        except KeyboardInterrupt:
            with Client(options.url, key, timeout=_CANCEL_S, patience=_CANCEL_S) as hasty:
                jobs.cancel(hasty)
            return 130
        except MotifError:
            jobs.left("not downloaded, still on the server")
            raise
    seconds = {"seconds": round(time.perf_counter() - started, 2)}
    if options.num > 1:
        print(json.dumps({"out": options.out, "videos": jobs.finished, "failed": len(jobs.failed)} | seconds))
    elif jobs.finished:
        print(json.dumps(jobs.finished[0] | seconds))
    for video in jobs.failed[1:]:
        report(failed(video).message)
    if jobs.failed:
        raise failed(jobs.failed[0])
    return 0


def _targets(options: Options) -> list[Path]:
    """The files to write; their folder is created before the server does any work."""
    if not options.prompt:
        raise InputError(f"{_NO_IMAGE}; for a text-to-video model, --prompt alone.")
    if not options.out or "://" in options.out:
        raise InputError(f"--out '{options.out}': give an .mp4 file or a folder on this machine.")
    if options.num < 1:
        raise InputError(f"--num {options.num}: must be at least 1.")
    single = options.out.endswith(".mp4")
    if single and options.num > 1:
        raise InputError(f"--out {options.out}: {options.num} videos will be written; give a folder.")
    out = Path(options.out)
    try:
        (out.parent if single else out).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"--out {out}: its folder cannot be created: {error.strerror}.") from error
    targets = [out] if single else [out / f"{number:04}.mp4" for number in range(options.num)]
    if there := next((target for target in targets if target.exists()), None):
        raise InputError(f"--out {out}: {there} exists already and is not overwritten. Give another path.")
    return targets


def _picture(image: Path) -> Path | bytes:
    """What to upload: a picture file unchanged, or the first frame of a video as PNG."""
    with contextlib.suppress(OSError), image.open("rb") as stream:  # read_image reports errors below
        if find_kind(stream.read(HEAD)):
            return image
    png = io.BytesIO()
    Image.fromarray(read_image(image)).save(png, "PNG")
    return png.getvalue()


def _ask(client: Client, options: Options, jobs: "_Jobs") -> None:
    """Create all jobs; without a seed, the server chooses the first one and the others follow it."""
    image, first = _picture(options.image) if options.image else None, options.seed
    for number in range(options.num):
        try:
            video = client.create(
                options.prompt,
                image,
                model=options.model,
                seed=None if first is None else first + number,
                num_frames=options.num_frames,
                fps=options.fps,
                num_inference_steps=options.steps,
                guidance_scale=options.guidance,
                negative_prompt=options.negative_prompt,
                motion_level=options.motion_level,
            )
        except RefusedError as error:
            if image is None and error.param == "input_reference":  # only the server knows what its models take
                raise InputError(f"{_NO_IMAGE}.") from error
            raise
        jobs.open.append(video)
        first = video.seed if first is None else first
    for warning in jobs.open[0].warnings:
        jobs.line.report(f"warning: {warning}")


@dataclass
class _Jobs:
    """The requested jobs: ``open`` until downloaded or failed. All run at once and are awaited in turn."""

    targets: list[Path]
    open: list[Video] = field(default_factory=list)
    finished: list[dict[str, object]] = field(default_factory=list)
    failed: list[Video] = field(default_factory=list)
    line: "_Line" = field(default_factory=lambda: _Line())

    def fetch(self, client: Client) -> None:
        """Wait for each job and download its video."""
        for number, target in enumerate(self.targets, 1):
            many = f"video {number} of {len(self.targets)}, " if len(self.targets) > 1 else ""
            video = client.wait(self.open[0].id, partial(self.line.show, many))
            if video.status == "failed":
                self.failed.append(video)
            else:
                client.download(video.id, target)
                finished = {"id": video.id, "seed": video.seed, "out": str(target), "model": video.model}
                self.finished.append(finished | {"inference_s": video.inference_time_s})
            del self.open[0]
        self.line.clear()

    def cancel(self, client: Client) -> None:
        """Delete open jobs on the server."""
        count = len(self.open)
        try:
            while self.open:
                with contextlib.suppress(RefusedError):  # already deleted
                    client.delete(self.open[-1].id)
                self.open.pop()
        except MotifError as error:
            self.line.report(str(error))
            self.left("not cancelled")
        self.line.report(f"motif: interrupted; {plural(count - len(self.open), 'job')} cancelled on the server.")

    def left(self, what: str) -> None:
        """Report the ids of open jobs, so that the user can download or delete them."""
        if self.open:
            self.line.report(f"{what}: {', '.join(video.id for video in self.open)}")


class _Line:
    """Progress on stderr: one changing line on a terminal, elsewhere a line per stage and quarter."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._last: object = None

    def show(self, many: str, video: Video) -> None:
        """Show a change."""
        if video.status == "queued":
            how = f"queued, {video.queue_position} before it" if video.queue_position else "queued"
        else:
            how = video.status if video.done else f"{video.stage or 'in progress'}, {video.progress} %"
        text = f"{many}seed {video.seed}: {how}"
        mark = (many, video.status, video.stage, video.progress // _QUARTER)
        if self._live:
            width = shutil.get_terminal_size().columns - 1
            print(f"\r\x1b[K{text[:width]}", end="", file=sys.stderr, flush=True)
        elif mark != self._last:
            self._last = mark
            report(text)

    def report(self, line: str) -> None:
        """Print a permanent line."""
        self.clear()
        report(line)

    def clear(self) -> None:
        """Clear the line on a terminal."""
        if self._live:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
