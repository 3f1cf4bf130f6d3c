"""Explains a dataset: where each artifact comes from, what a recipe would change, the state of a clip."""

import json
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from base.errors import InputError
from base.storage.folder import Folder
from dataset.catalog import SCHEMA_VERSION, Catalog
from dataset.identity import differences
from dataset.parts.listing import list_parts
from dataset.rejects import read_rejects
from dataset.view import scalars
from pipeline.planning.artifacts import CHANGES, choose_targets
from pipeline.recipes import Preprocess


def explain_artifacts(dataset: Folder) -> list[str]:
    """Each artifact with its fingerprint and every setting that it depends on."""
    catalog = Catalog.require(dataset)
    lines = ["clips", *_settings(catalog.clips)]
    for name, artifact in catalog.artifacts.items():
        lines.append(f"{name}  ({artifact.kind}, fingerprint {artifact.fingerprint})")
        lines += _settings({key: value for key, value in artifact.identity.items() if key != "clips"})
        lines += _settings(artifact.facts)
    return lines


def _settings(values: dict[str, Any], prefix: str = "") -> list[str]:
    lines = []
    for key, value in values.items():
        if isinstance(value, dict):
            lines += _settings(value, f"{prefix}{key}.")
        else:
            lines.append(f"  {prefix}{key}: {value if isinstance(value, str) else json.dumps(value)}")
    return lines


def explain_recipe(dataset: Folder, recipe: Preprocess) -> list[str]:
    """What a recipe would reuse and compute, and which settings are the reason."""
    catalog = Catalog.require(dataset)
    clips, wanted = catalog.clips, recipe.clips_identity()
    if catalog.version != SCHEMA_VERSION:
        said = f"schema version {catalog.version}: this recipe needs a new dataset (another --out), because version"
        return [f"{said} {SCHEMA_VERSION} {CHANGES}", *(f"  {reason}" for reason in differences(clips, wanted))]
    if clips != wanted:
        said = "clips: another configuration, so this recipe needs a new dataset (another --out), because"
        return [said, *(f"  {reason}" for reason in differences(clips, wanted))]
    targets = choose_targets(recipe, dataset)
    lines = []
    for target in (*targets.clips, *targets.text):
        if not target.is_new:
            lines.append(f"{target.folder}: the same, nothing to compute")
        elif target.nearest is None:
            lines.append(f"{target.folder}: new")
        else:
            lines.append(f"{target.folder}: new, beside '{target.nearest}', because")
            lines += [f"  {reason}" for reason in target.reasons]
    return lines


def explain_clip(dataset: Folder, text: str) -> list[str]:
    """Everything known about clips whose id begins with ``text`` or whose uri contains it; at most twenty."""
    catalog = Catalog.require(dataset)
    names = tuple(name for name, artifact in catalog.artifacts.items() if artifact.per_clip)
    found = _matching(scalars(dataset, ()), text)
    scored: dict[str, dict[str, Any]] = {}
    for name in names:
        for row in _matching(scalars(dataset, (name,)), text):
            scored.setdefault(row["clip_id"], {}).update(row)
    lines = []
    for clip in found[:20]:
        lines.append(f"{clip['clip_id']}: written")
        lines += _settings({**clip, **scored.get(clip["clip_id"], {})})
    for row in _matching(read_rejects(dataset), text)[:20]:
        what = f"artifact {row['artifact']}: " if row["artifact"] else ""
        said = f"{row['stage']}: {row['error_class']}: {row['message']} (attempt {row['attempts']}, run {row['run']})"
        lines.append(f"{row['uri']}: {what}{row['outcome']}, {said}")
    if not lines:
        parts = len(list_parts(dataset, ("clips",))["clips"])
        raise InputError(
            f"'{text}': no clip id begins with it and no uri contains it, in {parts} parts of clips and the rejects. "
            "Was the video in a manifest of `motif preprocess`?"
        )
    return lines


def _matching(table: pa.Table, text: str) -> list[dict[str, Any]]:
    by_id = pc.fill_null(pc.starts_with(table.column("clip_id"), text), False)
    by_uri = pc.fill_null(pc.match_substring(table.column("uri"), text), False)
    rows: list[dict[str, Any]] = table.filter(pc.or_(by_id, by_uri)).to_pylist()
    return rows
