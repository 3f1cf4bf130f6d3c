import errno
import os
import pickle
from pathlib import Path

import pytest

from base.errors import StorageError
from base.storage.errors import explain
from base.storage.folder import Folder
from base.storage.uri import is_remote, local_path


@pytest.fixture(params=["local", "s3"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Folder:
    if request.param == "s3":
        return Folder(request.getfixturevalue("bucket") + "/deep/place")
    return Folder(str(tmp_path / "deep" / "place"))


def test_a_missing_folder_is_empty(folder: Folder) -> None:
    assert folder.files() == []
    assert folder.folders() == []
    assert not folder.exists("a")
    with pytest.raises(FileNotFoundError):
        folder.read("a")


def test_what_is_written_is_read_and_listed(folder: Folder) -> None:
    folder.write("b.txt", b"two")
    folder.write("a.txt", b"one")
    folder.write("a.txt", b"three")
    (folder / "inner").write("c", b"")
    assert folder.read("a.txt") == b"three"
    assert [(entry.name, entry.size) for entry in folder.files(".txt")] == [("a.txt", 5), ("b.txt", 3)]
    assert folder.folders() == ["inner"]
    folder.delete("a.txt")
    folder.delete("a.txt")
    assert not folder.exists("a.txt")
    folder.delete_all()
    assert folder.files() == []


def test_a_folder_that_cannot_be_removed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "no")

    folder = Folder(str(tmp_path / "a"))
    folder.write("x", b"")
    with monkeypatch.context() as patched:
        patched.setattr(os, "unlink", refuse)
        with pytest.raises(StorageError, match="permission denied"):
            folder.delete_all()
    folder.delete_all()
    folder.delete_all()
    assert not folder.path.exists()


def test_create_succeeds_once(folder: Folder) -> None:
    assert folder.create("lock", b"first")
    assert not folder.create("lock", b"second")
    assert folder.read("lock") == b"first"


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Folder(str(tmp_path))
    folder.write("a", b"old")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="disk is full.*what was written is kept"):
        folder.write("a", b"new")
    monkeypatch.undo()
    assert folder.read("a") == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_unfinished_files_are_not_listed(tmp_path: Path) -> None:
    (tmp_path / ".part.parquet.1234.tmp").write_bytes(b"half")
    assert Folder(str(tmp_path)).files() == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("AWS Error NO_SUCH_BUCKET during GetObject", "bucket does not exist"),
        ("The provided token has expired.", "credentials have expired"),
        ("AWS Error INVALID_ACCESS_KEY_ID", "credentials are not valid"),
        ("AWS Error ACCESS_DENIED during PutObject", "access is denied"),
        ("AWS Error NETWORK_CONNECTION: curlCode: 7, Couldn't connect to server", "does not answer"),
    ],
)
def test_store_errors_become_one_sentence(text: str, said: str) -> None:
    story = explain(OSError(text), "s3://bucket/x")
    assert story is not None
    assert said in str(story)
    assert "\n" not in str(story)


def test_a_missing_bucket_is_explained(s3_endpoint: str) -> None:
    with pytest.raises(StorageError, match="bucket does not exist"):
        Folder("s3://no-such-bucket-here").write("a", b"1")


def test_an_unknown_scheme_is_explained() -> None:
    with pytest.raises(StorageError, match="no file system for 'nosuch://'"):
        Folder("nosuch://x").files()


def test_uris() -> None:
    assert is_remote("s3://b/k")
    assert not is_remote("file:///tmp/x")
    assert not is_remote("/tmp/x")
    assert local_path("file:///tmp/x") == Path("/tmp/x")


def test_a_relative_folder_travels_by_its_absolute_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = Folder("data/mine")
    assert pickle.loads(pickle.dumps(folder)) == Folder(f"{tmp_path}/data/mine")
    assert folder.uri == "data/mine"
    assert pickle.loads(pickle.dumps(Folder("s3://b/k"))) == Folder("s3://b/k")
