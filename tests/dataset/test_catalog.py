import json
from pathlib import Path
from typing import Any

import pytest

from base.errors import InputError, StorageError
from base.storage.folder import Folder
from dataset.catalog import Artifact, Catalog
from dataset.view import View

CLIPS = {"frames": 16, "height": 256}


def artifact(kind: str, **identity: Any) -> Artifact:
    return Artifact(kind, identity, {"about": kind}, {"mean": {"dtype": "float16", "shape": [2, 3], "axes": "c w"}})


LATENTS = artifact("latents", encoder="vae", cell=8)
PIXELS = artifact("latents", encoder="pixels", cell=16)
HEATMAPS = artifact("heatmaps", cell=8)


@pytest.fixture
def dataset(tmp_path: Path) -> Folder:
    return Folder(str(tmp_path / "d"))


@pytest.fixture
def catalog() -> Catalog:
    return Catalog(CLIPS, {"latents": LATENTS, "latents-pixels": PIXELS, "heatmaps": HEATMAPS})


def test_a_catalog_is_read_as_it_was_written(dataset: Folder, catalog: Catalog) -> None:
    assert Catalog.read(dataset) is None
    catalog.write(dataset)
    assert Catalog.read(dataset) == catalog
    assert Catalog.require(dataset) == catalog
    Catalog(CLIPS, {}).write(dataset)
    assert Catalog.require(dataset).artifacts == {}
    assert [path.name for path in dataset.path.iterdir()] == ["dataset.json"]


def test_the_file_names_the_configuration_of_each_artifact(dataset: Folder, catalog: Catalog) -> None:
    catalog.write(dataset)
    data = json.loads((dataset.path / "dataset.json").read_text())
    assert data["schema_version"] == 2
    assert data["clips"]["identity"] == CLIPS
    assert data["artifacts"]["latents"]["fingerprint"] == LATENTS.fingerprint
    assert data["artifacts"]["latents"]["identity"] == {"encoder": "vae", "cell": 8}


def test_a_folder_that_is_no_dataset(dataset: Folder) -> None:
    with pytest.raises(
        InputError, match=r"d is not a dataset: it has no dataset.json. Create one with `motif preprocess`"
    ):
        Catalog.require(dataset)


def test_a_view_in_a_datasets_place(dataset: Folder, catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    catalog.write(dataset)
    View(dataset.uri, ("latents",)).save(Folder(str(dataset.path.parent)), "lively.json")
    monkeypatch.chdir(dataset.path.parent)
    for place in ("lively.json", str(dataset.path.parent / "lively.json")):
        with pytest.raises(InputError, match=rf"lively.json is a view of {dataset.uri}; give the dataset\."):
            Catalog.require(Folder(place))
    (dataset.path.parent / "other.json").write_text("[1]")
    with pytest.raises(StorageError, match="a part of the path is a file"):
        Catalog.read(Folder("other.json"))


def test_a_view_in_a_bucket(bucket: str, catalog: Catalog) -> None:
    catalog.write(Folder(f"{bucket}/d"))
    View(f"{bucket}/d", ()).save(Folder(bucket), "lively.json")
    with pytest.raises(InputError, match=f"is a view of {bucket}/d; give the dataset"):
        Catalog.require(Folder(f"{bucket}/lively.json"))
    assert Catalog.read(Folder(f"{bucket}/none")) is None


def test_another_schema_version(dataset: Folder) -> None:
    dataset.write("dataset.json", b'{"schema_version": 3}')
    with pytest.raises(
        InputError, match="d has schema version 3, this motif reads 1 and 2: use the motif that wrote it"
    ):
        Catalog.read(dataset)


@pytest.mark.parametrize("text", [b"", b'{"schema_version": 2, "clips"', b"\x00\x01"])
def test_a_broken_file(dataset: Folder, text: bytes) -> None:
    dataset.write("dataset.json", text)
    with pytest.raises(
        InputError, match=r"dataset.json is not readable JSON .*: restore it, or run `motif preprocess`"
    ):
        Catalog.read(dataset)


def test_the_first_of_a_kind_has_its_name_and_a_second_its_fingerprint() -> None:
    first, catalog = Catalog(CLIPS, {}).with_artifact(LATENTS)
    second, catalog = catalog.with_artifact(PIXELS)
    assert (first, second) == ("latents", f"latents-{PIXELS.fingerprint[:8]}")
    assert catalog.artifacts == {first: LATENTS, second: PIXELS}


def test_an_artifact_is_found_by_kind_and_configuration(catalog: Catalog) -> None:
    assert catalog.find("latents", {"cell": 16, "encoder": "pixels"}) == "latents-pixels"
    assert catalog.find("latents", {"encoder": "pixels", "cell": 8}) is None
    assert catalog.find("heatmaps", PIXELS.identity) is None


def test_the_nearest_differs_in_the_fewest_fields(catalog: Catalog) -> None:
    assert catalog.nearest("latents", {"encoder": "pixels", "cell": 32}) == ("latents-pixels", ["cell: 16 -> 32"])
    name, reasons = catalog.nearest("latents", {"encoder": "vae", "cell": 8, "flow": 1}) or ("", [])
    assert (name, reasons) == ("latents", ["flow: (not there) -> 1"])
    assert catalog.nearest("depth", {}) is None


def test_the_only_one_of_a_kind_needs_no_name(catalog: Catalog) -> None:
    assert catalog.pick("heatmaps") == "heatmaps"
    assert catalog.pick("latents", "latents-pixels") == "latents-pixels"


@pytest.mark.parametrize(
    ("kind", "name", "said"),
    [
        ("latents", None, r"holds 2 latents \(latents, latents-pixels\): give the one to use"),
        ("depth", None, "the dataset holds no depth"),
        ("latents", "latent", "artifact 'latent' is not in the dataset. It has: latents, latents-pixels, heatmaps"),
    ],
)
def test_which_artifact_is_meant_must_be_clear(catalog: Catalog, kind: str, name: str | None, said: str) -> None:
    with pytest.raises(InputError, match=said):
        catalog.pick(kind, name)


def test_text_alone_is_not_kept_by_clip() -> None:
    assert LATENTS.per_clip
    assert not artifact("text").per_clip
