"""The artifacts of a recipe in a dataset: existing ones with the same configuration, and new ones."""

import difflib
from dataclasses import dataclass, replace

import pyarrow as pa

from base.errors import InputError
from base.storage.folder import Folder
from dataset.catalog import RESERVED, SCHEMA_VERSION, Artifact, BrokenCatalog, Catalog
from dataset.identity import differences
from dataset.parts.part_file import read_footer
from dataset.parts.schema import describe
from dataset.parts.tables import PLANNED, part_names
from dataset.recovery import recover_catalog
from pipeline.featurizers.base import ClipFeature, Feature, TextFeature
from pipeline.recipes import Preprocess

# What schema version 2 changed in the clips, for users with datasets of version 1.
CHANGES = (
    "chooses frames by their time and checks them, converts colours exactly, and stores checksums; frames of both must "
    "not mix"
)


@dataclass(frozen=True)
class Target:
    """A feature and the artifact it is stored as. ``reasons``: how it differs from the nearest existing one."""

    folder: str
    feature: Feature
    artifact: Artifact
    is_new: bool
    nearest: str | None = None
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True)
class Targets:
    """All artifacts of a run, and the catalog that includes them."""

    catalog: Catalog
    clips: tuple[Target, ...]
    text: tuple[Target, ...]
    recovered: bool = False
    """Whether dataset.json was missing or broken, and the catalog was rebuilt from the parts."""

    def features(self, folders: frozenset[str]) -> dict[str, ClipFeature]:
        """The clip features of these artifacts."""
        found = {target.folder: target.feature for target in self.clips if target.folder in folders}
        return {folder: feature for folder, feature in found.items() if isinstance(feature, ClipFeature)}


def choose_targets(recipe: Preprocess, dataset: Folder) -> Targets:
    """Match a recipe with a dataset.

    InputError if the recipe cannot be computed or its clips differ from the dataset's; WeightsError if weights are
    missing.
    """
    catalog, recovered = _read_catalog(dataset)
    catalog = catalog or Catalog(recipe.clips_identity(), {})
    refuse_old_version(catalog, dataset)
    if catalog.clips != recipe.clips_identity():
        differing = "; ".join(differences(catalog.clips, recipe.clips_identity()))
        raise InputError(
            f"{dataset.uri} holds clips of another configuration ({differing}). Choose another --out, or the recipe "
            "that made it."
        )
    if recipe.rules:
        _check_rules(recipe)
    targets: list[Target] = []
    for name, feature in recipe.features.items():
        try:
            feature.check(recipe.shape)
        except ValueError as error:
            raise InputError(f"features.{name}: {error}") from error
        columns = {column.name: describe(column) for column in feature.columns(recipe.shape)}
        artifact = Artifact(feature.kind, recipe.feature_identity(feature), feature.facts(), columns)
        target, catalog = _place(feature, artifact, catalog)
        targets.append(target)
    clips = tuple(target for target in targets if isinstance(target.feature, ClipFeature))
    text = tuple(target for target in targets if isinstance(target.feature, TextFeature))
    return Targets(catalog, clips, text, recovered)


def _read_catalog(dataset: Folder) -> tuple[Catalog | None, bool]:
    """The catalog, if any, and whether it was rebuilt from the parts."""
    try:
        catalog = Catalog.read(dataset)
    except BrokenCatalog:
        return recover_catalog(dataset), True
    if catalog is not None:
        return catalog, False
    catalog = recover_catalog(dataset)
    return catalog, catalog is not None


def refuse_old_version(catalog: Catalog, dataset: Folder) -> None:
    """InputError if a dataset was made by an earlier version, so that nothing may be added."""
    if catalog.version == SCHEMA_VERSION:
        return
    clips = sum(read_footer(dataset / "clips", part).metadata.num_rows for part in part_names(dataset / "clips"))
    raise InputError(
        f"{dataset.uri} has schema version {catalog.version}: it stays readable (train, stats, inspect, explain, "
        f"filter, export, merge, recaption), but nothing can be added to it. Its {clips:,} clips and "
        f"{', '.join(catalog.artifacts) or 'artifacts'} would all be computed again, because version "
        f"{SCHEMA_VERSION} {CHANGES}. Choose another --out."
    )


def _check_rules(recipe: Preprocess) -> None:
    """Refuse rules on unknown columns, which would silently keep every clip."""
    scored = {
        column.name
        for feature in recipe.clip_features.values()
        for column in feature.columns(recipe.shape)
        if not column.shape
    }
    known = scored | {f.name for f in PLANNED if pa.types.is_integer(f.type) or pa.types.is_floating(f.type)}
    for rule in recipe.rules:
        if rule.column not in known:
            close = difflib.get_close_matches(rule.column, known, 1)
            hint = f"Did you mean {close[0]}?" if close else f"Known: {', '.join(sorted(known))}."
            raise InputError(f"keep '{rule}': clips have no numeric column {rule.column}. {hint}")


def _place(feature: Feature, artifact: Artifact, catalog: Catalog) -> tuple[Target, Catalog]:
    if artifact.kind in RESERVED or (artifact.kind == "text") != isinstance(feature, TextFeature):
        raise InputError(f"feature {type(feature).__name__}: its kind '{artifact.kind}' is taken; choose another name.")
    found = catalog.find(artifact.kind, artifact.identity)
    if found is not None:
        return Target(found, feature, artifact, False), catalog
    nearest = catalog.nearest(artifact.kind, artifact.identity)
    folder, catalog = catalog.with_artifact(artifact)
    target = Target(folder, feature, artifact, True)
    if nearest is not None:
        target = replace(target, nearest=nearest[0], reasons=tuple(nearest[1]))
    return target, catalog
