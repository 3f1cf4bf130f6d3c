"""Which parts count while others take their place, for readers that hold no lock."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from base.errors import DamagedFile, Incomplete, StorageError
from base.storage.folder import Entry, Folder
from dataset.parts.listing import FILE, finish_replacement, list_parts, replacing, undisturbed

FOLDERS = ("clips", "latents")
OLD, NEW = ["part-a.parquet", "part-b.parquet"], ["part-c.parquet"]


@dataclass(frozen=True)
class Watched(Folder):
    """A folder in which something happens after it was listed."""

    happens: Callable[[], None] = field(default=lambda: None, compare=False)

    def __truediv__(self, name: str) -> "Watched":
        return Watched(f"{self.uri}/{name}", self.happens)

    def files(self, suffix: str = "") -> list[Entry]:
        found = super().files(suffix)
        self.happens()
        return found


@pytest.fixture
def dataset(tmp_path: Path) -> Folder:
    write(Folder(str(tmp_path)), OLD)
    return Folder(str(tmp_path))


def write(dataset: Folder, names: list[str]) -> None:
    for folder in FOLDERS:
        for name in names:
            (dataset / folder).write(name, b"x")


def files(names: list[str]) -> list[str]:
    return [f"{folder}/{name}" for folder in FOLDERS for name in names]


def replace(
    dataset: Folder,
    new: list[str] = NEW,
    old: list[str] = OLD,
    check: Callable[[], None] = lambda: None,
    error: Exception | None = None,
) -> None:
    with replacing(dataset, files(new), files(old), check):
        write(dataset, new)
        if error is not None:
            raise error


def counted(dataset: Folder) -> list[str]:
    """The parts, which must be the same in all folders."""
    first, second = list_parts(dataset, FOLDERS).values()
    assert first == second
    return first


def test_new_parts_count_once_all_are_written_and_old_ones_no_more(dataset: Folder) -> None:
    with replacing(dataset, files(NEW), files(OLD), lambda: None):
        assert counted(dataset) == OLD
        write(dataset, NEW)
        assert counted(dataset) == OLD
    assert counted(dataset) == NEW
    assert [entry.name for entry in (dataset / "clips").files()] == NEW


def test_an_error_and_a_lost_lock_change_nothing(dataset: Folder) -> None:
    with pytest.raises(OSError, match="full"):
        replace(dataset, error=OSError("the disk is full"))
    assert [entry.name for entry in (dataset / "latents").files()] == OLD
    held = iter((True, False))

    def check() -> None:
        if not next(held, False):
            raise Incomplete("lost")

    with pytest.raises(Incomplete, match="lost"):
        replace(dataset, check=check)
    assert counted(dataset) == OLD  # the files of the loser are there until the next holder of the lock comes
    finish_replacement(dataset)
    assert [entry.name for entry in (dataset / "clips").files()] == OLD


def test_folders_are_listed_as_of_one_moment(dataset: Folder) -> None:
    """A replacement that begins and ends between two listings would else leave the parts of one folder alone."""
    once = iter((lambda: replace(dataset),))
    assert counted(Watched(dataset.uri, lambda: next(once, lambda: None)())) == NEW
    turns = [(OLD, NEW), (NEW, OLD)] * 100
    with pytest.raises(StorageError, match="replaces its parts faster than they can be listed. Wait for it to end"):
        list_parts(Watched(dataset.uri, lambda: replace(dataset, *turns.pop())), FOLDERS)


def test_reading_that_lists_repeatedly_says_that_it_was_disturbed(dataset: Folder) -> None:
    with undisturbed(dataset):
        pass
    with (
        pytest.raises(StorageError, match="it was compacted meanwhile. Run the same command again"),
        undisturbed(dataset),
    ):
        replace(dataset)


def test_a_broken_file_is_named(dataset: Folder) -> None:
    for text in (b"", b"{}", b"[1", b'{"number": 1, "new": 3, "old": [], "switched": false}'):
        dataset.write(FILE, text)
        with pytest.raises(DamagedFile, match=f"{FILE} is damaged: it is not readable. If `motif dataset compact`"):
            counted(dataset)
