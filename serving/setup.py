"""What every process of a server opens for itself, from its settings."""

from collections.abc import Sequence

from diffusion.storage import Folder
from serving.files import Files
from serving.models import Models, ServedModel
from serving.settings import Settings
from serving.store import JobStore
from serving.videos import Videos, Wake


def open_store(settings: Settings) -> JobStore:
    """The job store of a server."""
    if not settings.database:
        Folder(settings.folder).path.mkdir(parents=True, exist_ok=True)
    return JobStore(settings.database_url, settings.keep_hours * 3600)


def open_videos(settings: Settings, models: Sequence[ServedModel], wake: Wake) -> Videos:
    """What the routes work on."""
    return Videos(settings, Models(models), open_store(settings), Files(Folder(settings.folder)), wake)
