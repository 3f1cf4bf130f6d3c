"""Checks of a machine, with remedies. Each check is one function."""

import importlib
import importlib.metadata
import os
import shutil
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from base.errors import StorageError
from base.storage.folder import Folder
from base.storage.uri import is_remote, local_path

_GB = 1e9
# Below these a run is likely to fail: a part has some hundred MB, and Ray uses a third of the memory for its store.
_LEAST_DISK_GB, _LEAST_MEMORY_GB, _LEAST_SHM_GB = 10, 4, 1


@dataclass(frozen=True)
class Finding:
    """One finding. ``wrong`` prevents some work, ``note`` is worth knowing; both have a remedy."""

    name: str
    state: Literal["good", "note", "wrong"]
    found: str
    remedy: str = ""


def examine(out: str, s3: str | None) -> Iterator[Finding]:
    """Run all checks; ``out`` is the dataset folder, ``s3`` a bucket or folder to try."""
    checks: list[Callable[[], Iterator[Finding]]] = [
        _python,
        _packages,
        _gpus,
        _decoders,
        _memory,
        lambda: _disk(out),
        lambda: _object_store(s3),
        _ray,
    ]
    for check in checks:
        yield from check()


def _python() -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    supported = (3, 11) <= sys.version_info[:2] <= (3, 12)
    yield Finding("Python", "good" if supported else "wrong", version, "" if supported else "use Python 3.11 or 3.12")


def _packages() -> Iterator[Finding]:
    """Versions, and whether each can be imported: a wheel for another system fails only then."""
    modules = {"torch": "torch", "torchvision": "torchvision", "diffusers": "diffusers", "transformers": "transformers"}
    modules |= {"open_clip_torch": "open_clip", "pyarrow": "pyarrow", "opencv-python-headless": "cv2", "boto3": "boto3"}
    for package, module in modules.items():
        try:
            importlib.import_module(module)
            yield Finding(package, "good", importlib.metadata.version(package))
        except Exception as error:  # noqa: BLE001 - any failure is the finding
            yield Finding(
                package, "wrong", f"{type(error).__name__}: {_first(error)}", f"pip install --force-reinstall {package}"
            )


def _gpus() -> Iterator[Finding]:
    import torch

    if not torch.cuda.is_available():
        driver = shutil.which("nvidia-smi")
        if driver:
            remedy = (
                f"torch {torch.__version__} cannot use it: update the driver, or install torch for its CUDA version"
            )
            yield Finding("GPU", "wrong", "a driver, but no CUDA device", remedy)
        else:
            remedy = "the recipes sprites and laptop need none; motif (RAFT, VAE, ViT-H) does"
            yield Finding("GPU", "note", "none", remedy)
        return
    for index in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(index)
        free, total = torch.cuda.mem_get_info(index)
        text = f"{facts.name}, {free / _GB:.0f} of {total / _GB:.0f} GB free, bf16 {torch.cuda.is_bf16_supported()}"
        busy = free < total / 2
        yield Finding(
            f"GPU {index}",
            "note" if busy else "good",
            text,
            "another process uses more than half of its memory: nvidia-smi shows which" if busy else "",
        )


def _decoders() -> Iterator[Finding]:
    """Both decoders read a freshly generated video."""
    import av
    import numpy as np

    from media.video_file import encode_video
    from pipeline.video.process.worker import DecodeLimits, VideoWorker
    from pipeline.video.sampling import Span

    ffmpeg = ".".join(map(str, av.library_versions["libavcodec"]))
    missing = [name for name in ("h264", "hevc", "vp9", "av1") if not _has_codec(name)]
    yield Finding(
        "FFmpeg",
        "note" if missing else "good",
        f"libavcodec {ffmpeg} in av {av.__version__}" + (f", without {', '.join(missing)}" if missing else ""),
        "videos of these codecs will be rejected: pip install av from its wheels" if missing else "",
    )
    facts = {"count": 8, "fps": 8.0, "variable_rate": False, "turns": 0, "pixel_aspect": 1.0, "height": 64, "width": 64}
    facts["frames"] = facts["count"]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "video.mp4"
        brighter = np.arange(8, dtype=np.uint8)[:, None, None, None] * 25  # decord rejects a static video
        path.write_bytes(encode_video(np.broadcast_to(brighter, (8, 64, 64, 3)), 8))
        for name in ("pyav", "decord"):
            worker = VideoWorker(DecodeLimits(decoders=(name,)))
            try:
                worker.decode(str(path), Span(0, 1), facts)
                yield Finding(f"decoder {name}", "good", "reads H.264 in a child process")
            except Exception as error:  # noqa: BLE001 - any failure is the finding
                package = {"pyav": "av"}.get(name, name)
                remedy = f"pip install --force-reinstall {package}"
                yield Finding(f"decoder {name}", "wrong", _first(error), remedy)
            finally:
                worker.close()


def _has_codec(name: str) -> bool:
    import av

    try:
        return bool(av.codec.Codec(name, "r"))
    except av.codec.codec.UnknownCodecError:
        return False


def _memory() -> Iterator[Finding]:
    facts = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    free = int(facts["MemAvailable"].split()[0]) * 1024 / _GB
    enough = free >= _LEAST_MEMORY_GB
    remedy = "" if enough else "close other programs; a run needs about 1 GB per core and 2 GB for its driver"
    yield Finding("memory", "good" if enough else "wrong", f"{free:.1f} GB free, {os.cpu_count()} cores", remedy)


def _disk(out: str) -> Iterator[Finding]:
    places = {"Ray's folder": (os.environ.get("RAY_TMPDIR", tempfile.gettempdir()), _LEAST_DISK_GB)}
    if not is_remote(out):
        places = {"dataset folder": (str(_existing(local_path(out))), _LEAST_DISK_GB)} | places
    if Path("/dev/shm").exists():
        places["shared memory"] = ("/dev/shm", _LEAST_SHM_GB)
    remedies = {
        "dataset folder": "free space, or choose another --out",
        "Ray's folder": "free space, or set RAY_TMPDIR to another disk",
        "shared memory": "start the container with a larger --shm-size",
    }
    for name, (place, least) in places.items():
        free = shutil.disk_usage(place).free / _GB
        enough = free >= least
        text = f"{free:.1f} GB free in {place}"
        yield Finding(name, "good" if enough else "wrong", text, "" if enough else remedies[name])
    if not is_remote(out) and not os.access(_existing(local_path(out)), os.W_OK):
        yield Finding("dataset folder", "wrong", f"{out} cannot be written to", "choose another --out")


def _existing(path: Path) -> Path:
    return next(place for place in (path, *path.parents) if place.exists())


def _object_store(s3: str | None) -> Iterator[Finding]:
    """Write, read and remove a small object; without ``s3``, only report which credentials would be used."""
    import boto3

    if s3 is None:
        session = boto3.Session()
        credentials = session.get_credentials()
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or "AWS"
        found = f"credentials from {credentials.method}, endpoint {endpoint}" if credentials else "no credentials"
        yield Finding("S3", "note", found, "give a bucket to try: motif doctor --s3 s3://BUCKET")
        return
    folder, name = Folder(s3), f"motif-doctor-{uuid.uuid4().hex[:8]}"
    try:
        folder.write(name, b"hello")
        read = folder.read(name)
        folder.delete(name)
        good = read == b"hello"
        yield Finding("S3", "good" if good else "wrong", f"{s3} can be written, read and deleted")
    except (StorageError, OSError) as error:
        yield Finding("S3", "wrong", _first(error), "`motif` needs s3:PutObject, GetObject, DeleteObject, ListBucket")


def _ray() -> Iterator[Finding]:
    from base.ray_session import cluster_facts

    try:
        yield Finding("Ray", "good", cluster_facts())
    except Exception as error:  # noqa: BLE001 - any failure is the finding
        address = os.environ.get("RAY_ADDRESS")
        remedy = f"is the cluster at RAY_ADDRESS {address} up?" if address else "ray stop --force, then try again"
        yield Finding("Ray", "wrong", _first(error), remedy)


def _first(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
