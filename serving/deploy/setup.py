"""What every server process opens for itself, from the settings."""

import contextlib
import fcntl
from collections.abc import Iterator, Sequence

from base.errors import InputError
from base.storage.errors import explained
from base.storage.folder import Folder
from serving.generate.files import Files
from serving.generate.models import Models, ServedModel
from serving.jobs.store import JobStore
from serving.jobs.tables import check_database
from serving.requests.videos import Videos, Wake
from serving.settings import Settings


def open_store(settings: Settings) -> JobStore:
    """The job store of a server."""
    if not settings.database:
        Folder(settings.folder).path.mkdir(parents=True, exist_ok=True)
    return JobStore(settings.database_url, settings.keep_hours * 3600)


def check_store(settings: Settings) -> None:
    """StorageError if the job store cannot be opened or is damaged."""
    open_store(settings).close()
    check_database(settings.database_url)


@contextlib.contextmanager
def only_server(settings: Settings) -> Iterator[None]:
    """Lock a folder for this server; InputError if another server holds the lock.

    The kernel releases the lock when the process ends, for whatever reason; children do not inherit it. A folder in
    an object store is not locked: whoever starts servers must give each its own.
    """
    folder = Folder(settings.folder)
    if folder.remote:
        yield
        return
    with explained(settings.folder):
        folder.path.mkdir(parents=True, exist_ok=True)
        held = (folder.path / "lock").open("a")
    with held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"--folder {settings.folder}: another server uses it, and each needs its own. Name "
                "another folder, or stop that server first."
            ) from None
        yield


def open_videos(settings: Settings, models: Sequence[ServedModel], wake: Wake) -> Videos:
    """The videos that the HTTP routes work on."""
    return Videos(settings, Models(models), open_store(settings), Files(Folder(settings.folder)), wake)
