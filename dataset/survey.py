"""Finds damaged parts of a dataset, by their footers.

A damaged file is never deleted: :func:`set_aside` moves it to ``damaged/RUN/FOLDER/NAME``, and the run
recomputes it like a missing one.
"""

from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence

from base.errors import DamagedFile, InputError
from base.storage.folder import Folder
from dataset.catalog import Catalog
from dataset.identity import fingerprint
from dataset.ledger import committed_reject_parts
from dataset.parts.footers import CLIPS, REJECTS, SOURCES, Footer, read_footers
from dataset.parts.listing import list_parts
from dataset.parts.tables import read_parts

DAMAGED = "damaged"
Damage = dict[str, dict[str, DamagedFile]]
"""Folder -> part -> its damage; folders without damage are left out."""


def find_damage(dataset: Folder, catalog: Catalog) -> Damage:
    """Compare the footers of all parts with the catalog and with the parts of clips.

    InputError if dataset.json belongs to another dataset: the parts agree with each other but not with it.
    """
    found: Damage = {}
    listed = list_parts(dataset, (SOURCES, REJECTS, CLIPS, *catalog.artifacts))
    for name in (SOURCES, REJECTS):
        _, found[name] = _check(dataset / name, listed[name], name, None, {})
    clips, found[CLIPS] = _check(dataset / CLIPS, listed[CLIPS], CLIPS, fingerprint(catalog.clips), {})
    nulls: dict[tuple[str, str], int] = {}
    for name, artifact in catalog.artifacts.items():
        beside = clips if artifact.per_clip else {}
        whole, found[name] = _check(dataset / name, listed[name], artifact.kind, artifact.fingerprint, beside)
        if artifact.per_clip:
            nulls |= {(name, part): footer.nulls for part, footer in whole.items() if footer.nulls and part in clips}
    rejects = [part for part in listed[REJECTS] if part not in found[REJECTS]]
    for (name, part), missing in _unexplained(dataset, nulls, clips, rejects):
        what = f"{missing:,} failed clips in it have no reject"
        found.setdefault(name, {})[part] = DamagedFile((dataset / name).file(part), what)
    return {folder: parts for folder, parts in found.items() if parts}


def _check(
    folder: Folder, names: Sequence[str], kind: str, fingerprint: str | None, beside: Mapping[str, Footer]
) -> tuple[dict[str, Footer], dict[str, DamagedFile]]:
    """The intact parts of a folder, and the damaged ones."""
    footers, damaged = read_footers(folder, names)
    _refuse_other_dataset(folder, kind, fingerprint, footers)
    whole = {}
    for part, footer in footers.items():
        try:
            footer.check(folder, kind, fingerprint, beside.get(part))
            whole[part] = footer
        except DamagedFile as error:
            damaged[part] = error
    return whole, damaged


def _refuse_other_dataset(folder: Folder, kind: str, expected: str | None, footers: Mapping[str, Footer]) -> None:
    """InputError if all parts have the same other configuration: then dataset.json is wrong, not the parts."""
    said = {footer.facts.get("fingerprint") for footer in footers.values() if footer.facts.get("kind") == kind}
    if expected is not None and len(said) == 1 and said.isdisjoint({expected, None}):
        raise InputError(
            f"{folder.uri}: its parts were made with another configuration (fingerprint {said.pop()}) than "
            f"dataset.json says ({expected}). Restore the dataset.json that belongs to them, or choose another --out."
        )


def _unexplained(
    dataset: Folder, nulls: Mapping[tuple[str, str], int], clips: Container[str], rejects: Sequence[str]
) -> Iterator[tuple[tuple[str, str], int]]:
    """Parts of artifacts with more null rows than rejects for them."""
    if not nulls:
        return
    names = committed_reject_parts(dataset, clips, rejects)
    failures: Counter[tuple[str, str]] = Counter()
    table = read_parts(dataset / REJECTS, ["artifact", "part"], names)
    if table.num_rows:
        failures.update(zip(*(table.column(name).to_pylist() for name in ("artifact", "part")), strict=True))
    yield from ((place, count - failures[place]) for place, count in nulls.items() if count > failures[place])


def find_orphans(dataset: Folder, catalog: Catalog) -> list[tuple[str, str]]:
    """Parts of artifacts without a part of clips, as (folder, part)."""
    folders = [name for name, artifact in catalog.artifacts.items() if artifact.per_clip]
    listed = list_parts(dataset, (CLIPS, *folders))
    clips = set(listed[CLIPS])
    return [(name, part) for name in folders for part in listed[name] if part not in clips]


def set_aside(dataset: Folder, folder: str, name: str, run: str) -> None:
    """Move a file of a dataset to the folder of damaged files."""
    (dataset / folder if folder else dataset).move(name, dataset / DAMAGED / run / (folder or "."))
