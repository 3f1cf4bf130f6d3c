"""Local and object store folders behind one small interface, with atomic writes and readable errors.

``Folder("data/sprites")`` and ``Folder("s3://bucket/sprites")`` behave the same. Files are written atomically: locally
by rename, in an object store by one PUT. Any file system of pyarrow or fsspec works.
"""

import contextlib
import os
import shutil
import uuid
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs

from base.storage.errors import explained
from base.storage.retries import direct, retry, retrying_store
from base.storage.uri import is_remote, local_path, split

_CHUNK = 16 << 20


@dataclass(frozen=True)
class Entry:
    """One file of a folder: its name and its size in bytes."""

    name: str
    size: int


@dataclass(frozen=True)
class Folder:
    """A folder by URI. Nothing is opened or created before it is used; picklable."""

    uri: str

    @property
    def remote(self) -> bool:
        """Whether it is in an object store."""
        return is_remote(self.uri)

    @property
    def path(self) -> Path:
        """The local path; must not be used for remote folders."""
        assert not self.remote, self.uri
        return local_path(self.uri)

    def absolute(self) -> "Folder":
        """The same folder by its absolute path."""
        return self if self.remote else Folder(str(self.path))

    def __reduce__(self) -> "tuple[type[Folder], tuple[str]]":
        """Pickle the absolute path, since other processes have other working directories."""
        return Folder, (self.absolute().uri,)

    def __truediv__(self, name: str) -> "Folder":
        """The subfolder of this name."""
        return Folder(f"{self.uri.rstrip('/')}/{name}")

    def file(self, name: str) -> str:
        """The URI of a file in this folder."""
        return f"{self.uri.rstrip('/')}/{name}"

    def files(self, suffix: str = "") -> list[Entry]:
        """Files directly inside, sorted by name; without hidden and unfinished ones; a missing folder is empty."""
        fs, path = split(self.uri)
        with explained(self.uri):
            found = fs.get_file_info(pafs.FileSelector(path, allow_not_found=True))
        files = (item for item in found if item.type == pafs.FileType.File)
        return sorted(
            (
                Entry(item.base_name, item.size)
                for item in files
                if item.base_name.endswith(suffix) and not item.base_name.startswith(".")
            ),
            key=lambda entry: entry.name,
        )

    def folders(self) -> "list[str]":
        """Names of the folders directly inside, sorted."""
        fs, path = split(self.uri)
        with explained(self.uri):
            found = fs.get_file_info(pafs.FileSelector(path, allow_not_found=True))
        return sorted(item.base_name for item in found if item.type == pafs.FileType.Directory)

    def exists(self, name: str) -> bool:
        """Whether a file of this name exists."""
        fs, path = split(self.file(name))
        with explained(self.uri):
            return bool(fs.get_file_info(path).type == pafs.FileType.File)

    def modified(self, name: str) -> datetime | None:
        """When a file was last written, in UTC; None if it does not exist, or the store does not say."""
        fs, path = split(self.file(name))
        with explained(self.uri):
            found: datetime | None = fs.get_file_info(path).mtime
        return found

    def open(self, name: str) -> pa.NativeFile:
        """Open a file for random access."""
        fs, path = split(self.file(name))
        with explained(self.file(name)):
            return fs.open_input_file(path)

    def read(self, name: str) -> bytes:
        """The content of a file; FileNotFoundError if it does not exist."""
        with explained(self.file(name)), self.open(name) as stream:
            return bytes(stream.read())

    def write(self, name: str, data: bytes | memoryview | pa.Buffer) -> None:
        """Write a file atomically, replacing an older one."""
        with explained(self.uri):
            if self.remote:
                fs, path = split(self.file(name))
                with fs.open_output_stream(path) as stream:
                    stream.write(data)
            else:
                temporary = self._temporary(name, data)
                try:
                    temporary.replace(self.path / name)
                finally:
                    temporary.unlink(missing_ok=True)

    def put(self, source: Path) -> None:
        """Move a local file into this folder atomically, keeping its name; large files are streamed."""
        with explained(self.uri):
            if self.remote:
                retry(lambda: self._upload(source), retrying_store(split(self.uri)[0]))
                source.unlink()
            else:
                self.path.mkdir(parents=True, exist_ok=True)
                with source.open("rb") as stream:
                    os.fsync(stream.fileno())
                shutil.move(source, self.path / source.name)

    def _upload(self, source: Path) -> None:
        fs, path = split(self.file(source.name))
        with source.open("rb") as stream, direct(fs).open_output_stream(path) as sink:
            shutil.copyfileobj(stream, sink, _CHUNK)

    def fetch(self, name: str, target: Path) -> None:
        """Copy a file to a local path, streamed."""
        with explained(self.file(name)), self.open(name) as stream, target.open("wb") as sink:
            shutil.copyfileobj(stream, sink, _CHUNK)

    def create(self, name: str, data: bytes) -> bool:
        """Write a file atomically if none of this name exists; False if one does.

        In an object store that may be our own earlier attempt, if the store executed a request but reported overload;
        ``data`` should identify it.
        """
        with explained(self.uri):
            if self.uri.startswith("s3://"):
                store = retrying_store(split(self.uri)[0])
                return retry(lambda: _create_on_s3(self.file(name), data), store)
            if self.remote:
                if self.exists(name):
                    return False
                self.write(name, data)
                return True
            temporary = self._temporary(name, data)
            try:
                os.link(temporary, self.path / name)
            except FileExistsError:
                return False
            finally:
                temporary.unlink(missing_ok=True)
            return True

    def _temporary(self, name: str, data: bytes | memoryview | pa.Buffer) -> Path:
        self.path.mkdir(parents=True, exist_ok=True)
        temporary = self.path / f".{name}.{uuid.uuid4().hex[:8]}.tmp"
        try:
            with temporary.open("wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
        return temporary

    def delete(self, name: str) -> None:
        """Remove a file, if it exists."""
        fs, path = split(self.file(name))
        with explained(self.uri), contextlib.suppress(FileNotFoundError):
            fs.delete_file(path)

    def move(self, name: str, target: "Folder") -> None:
        """Move a file into another folder of the same store, keeping its name."""
        fs, path = split(self.file(name))
        _, there = split(target.file(name))
        with explained(self.uri):
            if not self.remote:
                target.path.mkdir(parents=True, exist_ok=True)
            fs.move(path, there)

    def delete_all(self) -> None:
        """Remove this folder and its content, if it exists."""
        if self.remote:
            fs, path = split(self.uri)
            with explained(self.uri), contextlib.suppress(FileNotFoundError):
                fs.delete_dir(path)
        else:
            with explained(self.uri):
                while self.path.exists():  # repeated if another process removes a file meanwhile
                    with contextlib.suppress(FileNotFoundError):
                        shutil.rmtree(self.path)


def _create_on_s3(uri: str, data: bytes) -> bool:
    import boto3
    import botocore.exceptions

    bucket, key = uri.removeprefix("s3://").split("/", 1)
    try:
        boto3.client("s3").put_object(Bucket=bucket, Key=key, Body=data, IfNoneMatch="*")
    except botocore.exceptions.ClientError as error:
        if error.response["Error"]["Code"] in {"PreconditionFailed", "ConditionalRequestConflict"}:
            return False
        raise OSError(str(error)) from error
    except botocore.exceptions.BotoCoreError as error:
        raise OSError(f"{type(error).__name__}: {error}") from error
    return True
