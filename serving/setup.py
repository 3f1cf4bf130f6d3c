"""A server's parts from its settings: what every process of it opens for itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch

from diffusion.errors import InputError
from diffusion.generation import Generator
from diffusion.model_folder import revision
from diffusion.storage import Folder
from serving.files import Files
from serving.models import Models, ServedModel
from serving.settings import Settings
from serving.store import JobStore
from serving.videos import Videos, Wake
from serving.worker import Loaded, Worker


@dataclass(frozen=True)
class Compute:
    """What a worker computes with."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["float32", "bfloat16"] = "float32"
    """Of the U-Net; bfloat16 halves its memory and is several times faster on GPUs."""
    compile: bool = False
    """Compile the U-Net: minutes at the first video, faster from then on."""
    loaded: int = 1
    """Models that a worker keeps loaded."""

    def torch_device(self) -> torch.device:
        """InputError where there is no such device."""
        there = torch.cuda.is_available()
        if self.device == "cuda" and not there:
            raise InputError("device cuda: this machine has no GPU that torch can use. Set it to auto or cpu.")
        return torch.device("cuda" if there and self.device != "cpu" else "cpu")


def open_store(settings: Settings) -> JobStore:
    """The job store of a server."""
    if not settings.database:
        Folder(settings.folder).path.mkdir(parents=True, exist_ok=True)
    return JobStore(settings.database_url, settings.keep_hours * 3600)


def open_videos(settings: Settings, models: Sequence[ServedModel], wake: Wake) -> Videos:
    """What the routes work on."""
    return Videos(settings, Models(models), open_store(settings), Files(Folder(settings.folder)), wake)


def open_worker(settings: Settings, models: Sequence[ServedModel], compute: Compute) -> Worker:
    """A worker; it is not alive before its context is entered, and loads no model before it is told to."""
    by_id = Models(models).by_id
    device = compute.torch_device()

    def load(name: str) -> Loaded:
        place = by_id[name].weights()
        generator = Generator.load(place, device, compute.precision, compute.compile)
        return Loaded(generator, revision(place))

    # On a CPU a generator takes one request at a time, so a batch would only keep its first videos back.
    batch = settings.batch if device.type == "cuda" else 1
    return Worker(open_store(settings), Files(Folder(settings.folder)), load, batch, compute.loaded)
