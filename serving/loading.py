"""A worker from a server's settings: the device that it computes on, and how it opens models."""

from collections.abc import Sequence

from diffusion.device import find_device
from diffusion.generation import Generator
from diffusion.model_folder import revision
from diffusion.storage import Folder
from serving.files import Files
from serving.models import Models, ServedModel
from serving.settings import Compute, Settings
from serving.setup import open_store
from serving.signing import open_signer
from serving.worker import Loaded, Worker


def open_worker(settings: Settings, models: Sequence[ServedModel], compute: Compute) -> Worker:
    """A worker; it is not alive before its context is entered, and loads no model before it is told to."""
    by_id = Models(models).by_id
    device = find_device(compute.device)

    def load(name: str) -> Loaded:
        place = by_id[name].weights()
        generator = Generator.load(place, device, compute.precision, compute.compile)
        return Loaded(generator, revision(place))

    files = Files(Folder(settings.folder), open_signer(settings))
    # On a CPU a generator takes one request at a time, so a batch would only keep its first videos back.
    batch = settings.batch if device.type == "cuda" else 1
    return Worker(open_store(settings), files, load, batch, compute.loaded, served=by_id)
