"""Rebuilds a missing or broken dataset.json from the metadata of the parts."""

import json
from collections import Counter

import pyarrow.parquet as pq

from base.errors import InputError
from base.storage.errors import explained
from base.storage.folder import Folder
from base.storage.uri import split
from dataset.catalog import FILE, RESERVED, Artifact, Catalog
from dataset.identity import fingerprint
from dataset.parts.footers import CLIPS, Footer, read_footers
from dataset.parts.schema import Column, describe
from dataset.parts.tables import part_names

_KEYS = ("clip_id", "text_id", "caption")


def recover_catalog(dataset: Folder) -> Catalog | None:
    """Rebuild the catalog from the parts; None if there are no parts of clips or artifacts.

    InputError if the parts lack metadata or disagree.
    """
    artifacts: dict[str, Artifact] = {}
    clips = _majority(dataset / CLIPS, CLIPS)
    for name in dataset.folders():
        if name in RESERVED or name.startswith("."):
            continue
        footer = _majority(dataset / name, name)
        if footer is not None:
            columns = _columns(dataset / name, footer.name)
            facts = json.loads(footer.facts.get("facts", "{}"))
            artifacts[name] = Artifact(footer.facts["kind"], json.loads(footer.facts["identity"]), facts, columns)
    if clips is not None:
        return Catalog(json.loads(clips.facts["identity"]), artifacts)
    identities = [artifact.identity["clips"] for artifact in artifacts.values() if "clips" in artifact.identity]
    return Catalog(identities[0], artifacts) if identities else None


def _majority(folder: Folder, name: str) -> Footer | None:
    """A part with the configuration of most parts of a folder; None if no part is intact."""
    footers, _ = read_footers(folder, part_names(folder))
    fitting = [footer for footer in footers.values() if _fits(footer, name)]
    if footers and not any("identity" in footer.facts for footer in footers.values()):
        raise InputError(
            f"{folder.uri}: {FILE} is missing or broken, and these parts do not describe their configuration (they are "
            f"of an older version). Restore {FILE}, or choose another --out."
        )
    votes = Counter(footer.facts["fingerprint"] for footer in fitting).most_common(2)
    if len(votes) > 1 and votes[0][1] == votes[1][1]:
        raise InputError(
            f"{folder.uri}: {FILE} is missing or broken, and these parts have different configurations. "
            f"Restore {FILE}, or choose another --out."
        )
    return next((footer for footer in fitting if footer.facts["fingerprint"] == votes[0][0]), None)


def _fits(footer: Footer, folder: str) -> bool:
    """Whether a part can belong to a folder, which is named by kind, or by kind and fingerprint."""
    facts = footer.facts
    if not {"kind", "fingerprint", "identity", "part"} <= facts.keys() or facts["part"] != footer.name:
        return False
    if facts["fingerprint"] != fingerprint(json.loads(facts["identity"])):
        return False
    return folder in (facts["kind"], f"{facts['kind']}-{facts['fingerprint'][:8]}")


def _columns(folder: Folder, part: str) -> dict[str, dict[str, object]]:
    fs, path = split(folder.file(part))
    with explained(folder.uri):
        schema = pq.read_schema(path, filesystem=fs)
    return {field.name: describe(Column.of(field)) for field in schema if field.name not in _KEYS}
