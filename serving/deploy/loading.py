"""A worker from a server's settings: its device, and how it loads models."""

from collections.abc import Sequence

from base.device import find_device, set_kernels
from base.storage.folder import Folder
from models.folder import revision
from models.generator import Generator
from serving.deploy.setup import open_store
from serving.generate.files import Files
from serving.generate.models import Models, ServedModel
from serving.generate.signing import open_signer
from serving.generate.worker import Loaded, Worker
from serving.settings import Compute, Settings


def open_worker(settings: Settings, models: Sequence[ServedModel], compute: Compute) -> Worker:
    """A worker. It sends no heartbeats before its context is entered, and loads models only on demand."""
    by_id = Models(models).by_id
    device = find_device(compute.device)
    set_kernels(device, compute.kernels)

    def load(name: str) -> Loaded:
        place = by_id[name].weights()
        generator = Generator.load(place, device, compute.precision, compute.compile, compute.decoding)
        return Loaded(generator, revision(place))

    files = Files(Folder(settings.folder), open_signer(settings))
    # On a CPU a generator takes one request at a time, so a batch would only delay its first videos.
    batch = settings.batch if device.type == "cuda" else 1
    return Worker(open_store(settings), files, load, batch, compute.loaded, served=by_id)
