"""Pretrained weights: located on a hub, in a local folder or on S3.

Results are only as reproducible as the weights, so a hash of their tensors is part of every fingerprint
(:mod:`base.tensor_hash`); a hub's branch name identifies nothing.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from base.errors import WeightsError
from base.storage.folder import Folder
from base.storage.uri import is_remote, local_path

BASE_MODEL = "weights/videocrafter2"
"""The folder that `motif fetch` writes, the default model for preprocessing and training."""
WAN_MODEL = "weights/wan2.2-ti2v-5b"
"""The same of Wan2.2-TI2V-5B, as `motif convert wan` writes it."""
WAN_HUB_ID = "Wan-AI/Wan2.2-TI2V-5B-Diffusers"
_HUB_ID = re.compile(r"^[\w.-]+/[\w.-]+$")
_INDEX = ".index.json"


@dataclass(frozen=True)
class Weights:
    """Where weights come from.

    ``source`` is a hub id (``org/name``), a local file or folder, or an ``s3://`` folder; ``revision`` a hub commit,
    tag or branch; ``subfolder`` the folder inside (``vae`` in a diffusers model folder).
    """

    source: str
    revision: str | None = None
    subfolder: str = ""

    def __reduce__(self) -> "tuple[type[Weights], tuple[str, str | None, str]]":
        """Pickle the absolute path: a relative one would not be found elsewhere, or be taken for a hub id."""
        local = not is_remote(self.source) and local_path(self.source).exists()
        return Weights, (str(local_path(self.source)) if local else self.source, self.revision, self.subfolder)

    def facts(self) -> dict[str, str | None]:
        """Their source as plain values, to record it with results."""
        return {"weights": self.source, "revision": self.revision, "subfolder": self.subfolder}

    @classmethod
    def of(cls, facts: Mapping[str, Any]) -> "Weights | None":
        """Read the output of :meth:`facts`; None if it has no weights."""
        if "weights" not in facts:
            return None
        return cls(facts["weights"], facts.get("revision"), facts.get("subfolder", ""))


@dataclass(frozen=True)
class LocalWeights:
    """Weights on this machine: the requested files, in the order of the patterns, then the shards of an index."""

    files: tuple[Path, ...]

    @property
    def sha256(self) -> str:
        """One hash over the bytes of all files, the identity of weights in older datasets."""
        return _hash_all(self.files)

    @property
    def folder(self) -> Path:
        """The folder that holds the files."""
        return self.files[0].parent


def cache_folder() -> Path:
    """The cache of downloads and hashes: ``$MOTIF_CACHE``, or ``~/.cache/motif``."""
    return Path(os.environ.get("MOTIF_CACHE", "~/.cache/motif")).expanduser()


def locate(
    weights: Weights, wanted: tuple[tuple[str, ...], ...], purpose: str, *, download: bool = True
) -> LocalWeights:
    """Find weights, downloading them if necessary.

    ``wanted`` has, for each required file, its possible names, best first; ``purpose`` names the user of the weights
    in errors. Raises :class:`WeightsError` with a remedy if anything is missing; without ``download`` also if it is
    not on this machine.
    """
    files = tuple(_find(weights, wanted, purpose, download))
    shards = tuple((name,) for path in files if path.name.endswith(_INDEX) for name in _shards(path, purpose))
    return LocalWeights(files + (tuple(_find(weights, shards, purpose, download)) if shards else ()))


def _find(weights: Weights, wanted: tuple[tuple[str, ...], ...], purpose: str, download: bool) -> list[Path]:
    if not weights.source:
        raise WeightsError(f"{purpose}: no weights are given. Set the recipe's base_model, or weights.source.")
    if is_remote(weights.source):
        if not download:
            raise WeightsError(f"{purpose}: weights '{weights.source}' are not on this machine.")
        return _from_store(weights, wanted, purpose)
    if (path := local_path(weights.source)).exists():
        return [path] if path.is_file() else _pick(path / weights.subfolder, wanted, weights, purpose)
    if _HUB_ID.match(weights.source):
        return _from_hub(weights, wanted, purpose, download)
    raise WeightsError(
        f"{purpose}: weights '{weights.source}' are neither a file, a folder, an s3:// folder nor a hub id "
        "(org/name). Correct the path."
    )


def _shards(index: Path, purpose: str) -> list[str]:
    """The files that a sharded checkpoint's index lists."""
    try:
        return sorted(set(json.loads(index.read_text())["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"{purpose}: {index} is not an index of shards: download it again.") from error


def _pick(folder: Path, wanted: tuple[tuple[str, ...], ...], weights: Weights, purpose: str) -> list[Path]:
    found = []
    for names in wanted:
        path = next((folder / name for name in names if (folder / name).is_file()), None)
        if path is None:
            raise WeightsError(
                f"{purpose}: {folder} has no {' or '.join(names)} (requested: weights '{weights.source}'"
                + (f", subfolder '{weights.subfolder}'" if weights.subfolder else "")
                + "). Give the folder that has it."
            )
        found.append(path)
    return found


def _from_hub(weights: Weights, wanted: tuple[tuple[str, ...], ...], purpose: str, download: bool) -> list[Path]:
    import huggingface_hub as hub
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    prefix = f"{weights.subfolder}/" if weights.subfolder else ""
    patterns = [prefix + name for names in wanted for name in names]
    for offline in (True, False) if download else (True,):
        try:
            root = hub.snapshot_download(
                weights.source, revision=weights.revision, allow_patterns=patterns, local_files_only=offline
            )
            return _pick(Path(root) / weights.subfolder, wanted, weights, purpose)
        except (LocalEntryNotFoundError, WeightsError):
            if offline:
                continue  # not in the hub's local cache: ask the hub
            break
        except (HfHubHTTPError, OSError) as error:
            raise WeightsError(
                f"{purpose}: the hub refused '{weights.source}'"
                f" (revision {weights.revision or 'default'}): {str(error).splitlines()[0]}"
            ) from error
    raise WeightsError(
        f"{purpose}: weights '{weights.source}' are not on this machine and the hub cannot be reached. On a machine "
        f"with network run `hf download {weights.source} --include '{prefix}*' --local-dir FOLDER`, copy FOLDER here "
        "and give its path instead of the hub id."
    )


def _from_store(weights: Weights, wanted: tuple[tuple[str, ...], ...], purpose: str) -> list[Path]:
    remote = Folder(weights.source) / weights.subfolder if weights.subfolder else Folder(weights.source)
    present = {entry.name: entry.size for entry in remote.files()}
    stamp = hashlib.sha256(json.dumps([remote.uri, sorted(present.items())]).encode()).hexdigest()[:16]
    local = Folder(str(cache_folder() / "weights" / stamp))
    for names in wanted:
        name = next((name for name in names if name in present), None)
        if name is None:
            raise WeightsError(f"{purpose}: {remote.uri} has no {' or '.join(names)}. Give the folder that has it.")
        if not local.exists(name):
            local.write(name, remote.read(name))
    return _pick(local.path, wanted, weights, purpose)


def _hash_all(files: Sequence[Path]) -> str:
    if len(files) == 1:
        return file_sha256(files[0])
    lines = [f"{path.name} {file_sha256(path)}" for path in files]
    return hashlib.sha256("\n".join(sorted(lines)).encode()).hexdigest()


def file_sha256(path: Path) -> str:
    """The cached hash of a file's bytes."""

    def digest() -> str:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()

    return remembered([path], "sha256", digest)


def remembered(files: Sequence[Path], kind: str, compute: Callable[[], str]) -> str:
    """A hash of files, cached while path, size, modification time and inode of each are unchanged.

    Weights are gigabytes. ``kind`` distinguishes hashes of the same files.
    """
    facts = [(str(path.resolve()), (stat := path.stat()).st_size, stat.st_mtime_ns, stat.st_ino) for path in files]
    memory = Folder(str(cache_folder() / "hashes"))
    name = hashlib.sha256(json.dumps([kind, facts]).encode()).hexdigest()[:32]
    try:
        return memory.read(name).decode()
    except FileNotFoundError:
        found = compute()
        memory.write(name, found.encode())
        return found
