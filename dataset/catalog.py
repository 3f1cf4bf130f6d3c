"""dataset.json: the artifacts of a dataset and their configurations."""

import json
from dataclasses import dataclass, replace
from typing import Any

from base.errors import InputError, StorageError
from base.storage.folder import Folder
from base.storage.uri import split
from dataset.identity import differences, fingerprint
from dataset.parts.footers import make_label

SCHEMA_VERSION = 2
# Version 1: parts without checksums, tensors as fixed-size binary, contents as plain hex of BLAKE2b-128. It is read,
# but nothing is added to it: its frames were chosen and converted differently.
READABLE_VERSIONS = (1, SCHEMA_VERSION)
FILE = "dataset.json"
_LARGEST_VIEW = 256 << 20
# Folders that are not feature artifacts.
RESERVED = ("clips", "sources", "rejects", "runs", "damaged")


class BrokenCatalog(InputError):  # noqa: N818
    """dataset.json cannot be read."""


@dataclass(frozen=True)
class Artifact:
    """One artifact: its ``kind`` (latents, heatmaps, text ...), configuration and columns."""

    kind: str
    identity: dict[str, Any]
    facts: dict[str, Any]
    columns: dict[str, Any]

    @property
    def fingerprint(self) -> str:
        """The configuration in 16 hex digits."""
        return fingerprint(self.identity)

    @property
    def label(self) -> dict[str, str]:
        """The metadata of its parts (:mod:`dataset.parts.footers`)."""
        return make_label(self.kind, self.identity, self.facts)

    @property
    def per_clip(self) -> bool:
        """Whether its parts are aligned with the clips (text is stored by caption)."""
        return self.kind != "text"


@dataclass(frozen=True)
class Catalog:
    """The content of dataset.json: the clips' configuration and the artifacts by folder name."""

    clips: dict[str, Any]
    artifacts: dict[str, Artifact]
    version: int = SCHEMA_VERSION
    """The schema version of the files."""

    @classmethod
    def read(cls, dataset: Folder) -> "Catalog | None":
        """The catalog of a dataset, or None. InputError if the path is a view."""
        try:
            data = json.loads(dataset.read(FILE))
        except FileNotFoundError:
            _refuse_view(dataset)
            return None
        except StorageError:
            _refuse_view(dataset)
            raise
        except ValueError as error:
            raise BrokenCatalog(
                f"{dataset.file(FILE)} is not readable JSON ({error}): restore it, or run `motif preprocess` again, "
                "which rebuilds it from the parts."
            ) from error
        if not isinstance(data, dict) or "schema_version" not in data:
            raise BrokenCatalog(
                f"{dataset.file(FILE)} was not written by motif: restore it, or run `motif preprocess` again, which "
                "rebuilds it from the parts."
            )
        version = data["schema_version"]
        if version not in READABLE_VERSIONS:
            known = " and ".join(map(str, READABLE_VERSIONS))
            raise InputError(
                f"{dataset.uri} has schema version {version}, this motif reads {known}: use the motif that wrote it."
            )
        artifacts = {
            name: Artifact(entry["kind"], entry["identity"], entry["facts"], entry["columns"])
            for name, entry in data["artifacts"].items()
        }
        return cls(data["clips"]["identity"], artifacts, version)

    @classmethod
    def require(cls, dataset: Folder) -> "Catalog":
        """The catalog of a dataset that must exist."""
        found = cls.read(dataset)
        if found is None:
            raise InputError(f"{dataset.uri} is not a dataset: it has no {FILE}. Create one with `motif preprocess`.")
        return found

    def write(self, dataset: Folder) -> None:
        """Write dataset.json atomically."""
        data = {
            "schema_version": self.version,
            "clips": {"fingerprint": fingerprint(self.clips), "identity": self.clips},
            "artifacts": {
                name: {
                    "kind": artifact.kind,
                    "fingerprint": artifact.fingerprint,
                    "identity": artifact.identity,
                    "facts": artifact.facts,
                    "columns": artifact.columns,
                }
                for name, artifact in self.artifacts.items()
            },
        }
        dataset.write(FILE, json.dumps(data, indent=2).encode())

    def find(self, kind: str, identity: dict[str, Any]) -> str | None:
        """The artifact of this kind and configuration, or None."""
        for name, artifact in self.artifacts.items():
            if artifact.kind == kind and artifact.identity == identity:
                return name
        return None

    def nearest(self, kind: str, identity: dict[str, Any]) -> tuple[str, list[str]] | None:
        """The artifact of this kind that differs in the fewest fields, and those fields."""
        near = [
            (name, differences(artifact.identity, identity))
            for name, artifact in self.artifacts.items()
            if artifact.kind == kind
        ]
        return min(near, key=lambda item: len(item[1]), default=None)

    def with_artifact(self, artifact: Artifact) -> "tuple[str, Catalog]":
        """The catalog with another artifact, named by its kind, or kind-fingerprint if that name is taken."""
        name = artifact.kind
        if name in self.artifacts:
            name = f"{artifact.kind}-{artifact.fingerprint[:8]}"
        return name, replace(self, artifacts=self.artifacts | {name: artifact})

    def pick(self, kind: str, name: str | None = None) -> str:
        """The only artifact of a kind, or the named one; InputError if it is missing or ambiguous.

        An artifact can be named by its folder, or by the alias among its facts, such as ``masks``.
        """
        if name is not None:
            return name if name in self.artifacts else self._pick_alias(name)
        names = [name for name, artifact in self.artifacts.items() if artifact.kind == kind]
        if not names:
            raise InputError(f"the dataset holds no {kind}. It has: {', '.join(self.artifacts) or 'nothing yet'}.")
        if len(names) > 1:
            raise InputError(f"the dataset holds {len(names)} {kind} ({', '.join(names)}): give the one to use.")
        return names[0]

    def _pick_alias(self, alias: str) -> str:
        named = [name for name, artifact in self.artifacts.items() if artifact.facts.get("alias") == alias]
        if not named:
            raise InputError(f"artifact '{alias}' is not in the dataset. It has: {', '.join(self.artifacts)}.")
        if len(named) > 1:
            raise InputError(f"the dataset holds {len(named)} {alias} ({', '.join(named)}): give the one to use.")
        return named[0]


def _refuse_view(place: Folder) -> None:
    """InputError if the path is a view written by `motif dataset filter`."""
    fs, path = split(place.uri)
    try:
        with fs.open_input_stream(path, compression=None) as stream:
            facts = json.loads(stream.read(_LARGEST_VIEW))
    except (OSError, ValueError):
        return
    if isinstance(facts, dict) and {"dataset", "artifacts"} <= facts.keys():
        raise InputError(f"{place.uri} is a view of {facts['dataset']}; give the dataset.")
