"""Which parts of a dataset count, also while larger ones take their place.

``motif dataset compact`` writes the rows of several parts as one new part and then deletes the old ones. In between,
and after a kill, both are in their folders. The file ``compaction.json`` says which of them count: the old ones until
``switched``, then the new ones, so that one atomic write is the moment of the change.

    list_parts(dataset, folders)     the parts that count in these folders, as of one moment
    replacing(dataset, ...)          makes new files count in place of old ones
    finish_replacement(dataset)      completes or undoes what a killed process began

Readers need no lock. One that has listed the old parts either reads them or finds them gone (:class:`MissingPart`).
"""

import contextlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace

from base.errors import DamagedFile, MotifError, StorageError
from base.storage.folder import Entry, Folder
from dataset.parts.each import apply_each

FILE = "compaction.json"
_TRIES = 20


@dataclass(frozen=True)
class Replacement:
    """The content of compaction.json; ``new`` and ``old`` are files of the dataset, as ``folder/name``.

    ``number`` grows with every change, so a reader can tell whether a listing was disturbed.
    """

    number: int = 0
    new: tuple[str, ...] = ()
    old: tuple[str, ...] = ()
    switched: bool = False

    @classmethod
    def read(cls, dataset: Folder) -> "Replacement":
        """The current one; empty if the dataset was never compacted."""
        try:
            facts = json.loads(dataset.read(FILE))
            return cls(int(facts["number"]), tuple(facts["new"]), tuple(facts["old"]), bool(facts["switched"]))
        except FileNotFoundError:
            return cls()
        except (ValueError, KeyError, TypeError) as error:
            what = "it is not readable. If `motif dataset compact` was not interrupted, delete it"
            raise DamagedFile(dataset.file(FILE), what) from error

    def write(self, dataset: Folder) -> None:
        """Write compaction.json atomically."""
        dataset.write(FILE, json.dumps(asdict(self)).encode())

    @property
    def hidden(self) -> frozenset[str]:
        """The files that do not count."""
        return frozenset(self.old if self.switched else self.new)


def list_entries(dataset: Folder, folders: Sequence[str]) -> dict[str, list[Entry]]:
    """The parts that count in each folder, with their sizes, all as of one moment; sorted by name."""
    before = Replacement.read(dataset)
    for _ in range(_TRIES):
        listed = apply_each(dataset, lambda folder: (dataset / folder).files(".parquet"), folders)
        now = Replacement.read(dataset)
        if now == before:
            return {
                folder: [entry for entry in entries if f"{folder}/{entry.name}" not in now.hidden]
                for folder, entries in zip(folders, listed, strict=True)
            }
        before = now
    raise StorageError(
        f"{dataset.uri}: `motif dataset compact` replaces its parts faster than they can be listed. Wait for it to end."
    )


def list_parts(dataset: Folder, folders: Sequence[str]) -> dict[str, list[str]]:
    """Names of the parts that count in each folder, all as of one moment; sorted."""
    listed = list_entries(dataset, folders)
    return {folder: [entry.name for entry in entries] for folder, entries in listed.items()}


@contextlib.contextmanager
def undisturbed(dataset: Folder) -> Iterator[None]:
    """Raise StorageError at the end if parts have been replaced meanwhile; for reading that lists parts repeatedly."""
    before = Replacement.read(dataset).number
    yield
    if Replacement.read(dataset).number != before:
        raise StorageError(f"{dataset.uri}: it was compacted meanwhile. Run the same command again.")


@contextlib.contextmanager
def replacing(dataset: Folder, new: Sequence[str], old: Sequence[str], check: Callable[[], None]) -> Iterator[None]:
    """Files (``folder/name``) written inside count once the context ends, in place of ``old`` ones, which are deleted.

    Requires the dataset's lock; ``check`` raises if it is lost. After an error inside nothing has changed; after a kill
    at any moment, :func:`finish_replacement` restores order.
    """
    assert not set(new) & set(old), new
    check()
    begun = Replacement(Replacement.read(dataset).number + 1, tuple(new), tuple(old))
    begun.write(dataset)
    try:
        yield
    except Exception:
        with contextlib.suppress(MotifError, OSError):
            check()
            finish_replacement(dataset)
        raise
    check()
    replace(begun, number=begun.number + 1, switched=True).write(dataset)
    finish_replacement(dataset)


def finish_replacement(dataset: Folder) -> None:
    """Delete the files that do not count because of an unfinished replacement. Requires the dataset's lock."""
    found = Replacement.read(dataset)
    if not found.new:
        return

    def delete(file: str) -> None:
        folder, _, name = file.rpartition("/")
        (dataset / folder).delete(name)

    apply_each(dataset, delete, sorted(found.hidden))
    Replacement(found.number + 1).write(dataset)
