"""A dataset of schema version 1 stays readable everywhere, and nothing is added to it (tests/golden/dataset_v1)."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from base.errors import InputError
from base.storage.folder import Folder
from dataset.catalog import Catalog
from dataset.identity import text_id
from dataset.ledger import Ledger, Sources
from dataset.parts.part_file import read_part
from dataset.parts.tables import part_names
from dataset.reading import FeatureReader, TextReader
from dataset.view import View
from infra import cli
from pipeline.curation.explain import explain_artifacts, explain_clip, explain_recipe
from pipeline.curation.export import export
from pipeline.curation.merge import merge
from pipeline.curation.recaption import recaption
from pipeline.curation.stats import read_stats
from pipeline.manifest import ManifestColumns
from pipeline.manifest.stamps import stamp_all
from pipeline.recipes import sprites_image
from pipeline.report.page import ReportOptions, write_report
from pipeline.run.records import last_job
from tests.conftest import ROOT
from tests.pipeline.datasets import set_values, write_dataset
from training.data.artifacts import Artifacts
from training.data.source import Source

GOLDEN = ROOT / "tests" / "golden" / "dataset_v1"
VIDEOS = GOLDEN / "videos"


@pytest.fixture
def old(tmp_path: Path) -> Folder:
    """A copy of the dataset, its clips' uris where the videos are."""
    ignored = shutil.ignore_patterns("videos", "README.md")
    dataset = Folder(str(shutil.copytree(GOLDEN, tmp_path / "old", ignore=ignored)))
    for record in (dataset.path / "runs").glob("*.json"):
        record.write_text(record.read_text().replace("/videos/", f"{VIDEOS}/"))
    return dataset


@pytest.fixture
def with_videos(old: Folder) -> Folder:
    for part in part_names(old / "clips"):
        uris = read_part(old / "clips", part)["uri"].to_pylist()
        moved = pa.array([uri.replace("/videos", str(VIDEOS)) for uri in uris])
        set_values(old / "clips", part, "uri", moved)
    return old


def test_its_catalog_and_ledger_are_read(old: Folder) -> None:
    catalog = Catalog.require(old)
    assert catalog.version == 1
    assert set(catalog.artifacts) == {"latents", "heatmaps", "text", "image"}
    ledger = Ledger.read(old)
    assert (len(ledger.written), len(ledger.rejected), ledger.rows) == (6, 2, 6)
    assert len(Sources.read(old)) == 8


def test_it_is_read_for_training(old: Folder) -> None:
    reader = FeatureReader(old, ("latents", "heatmaps", "image"))
    samples = list(reader.samples(seed=0, epoch=0))
    assert len(samples) == 6
    for sample in samples:
        assert sample["latents/mean"].shape == (16, 8, 4, 4)
        assert sample["latents/mean"].dtype == np.float16
        assert np.isfinite(sample["latents/mean"]).all()
        assert sample["heatmaps/heatmap"].shape == (8, 4, 4)
        assert sample["text_id"] in TextReader(old)
    source = Source(old.uri, Artifacts(), image=True)
    assert len(source) == 6
    assert np.isfinite(source.empty_text).all()
    assert text_id("") in source.text


def test_it_is_looked_at(old: Folder, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stats = read_stats(old)
    assert (stats.clips, stats.videos) == (6, 6)
    assert stats.rejects == {"filtered, probe: TooShort": 1, "failed, probe: NotAVideo": 1}
    assert "  flow.estimator: dis" in explain_artifacts(old)
    assert explain_clip(old, "000003.mp4")[0].endswith(": written")
    assert "schema version 1: this recipe needs a new dataset" in explain_recipe(old, sprites_image())[0]
    write_report(old, tmp_path / "page.html", ReportOptions(num=3))
    assert "the cyan triangle" in (tmp_path / "page.html").read_text() or (tmp_path / "page.html").stat().st_size
    out = tmp_path / "view.json"
    assert cli.run(["dataset", "filter", old.uri, "--where", "source_frames>=8", "--out", str(out)]) == 0
    assert View.load(Folder(str(tmp_path)), "view.json").clips().num_rows == 6
    capsys.readouterr()


def test_it_is_exported(with_videos: Folder, tmp_path: Path) -> None:
    view = View(with_videos.uri, ("heatmaps",))
    said: list[str] = []
    result = export(view, Folder(str(tmp_path / "out")), ("latents",), said.append)
    assert (result.written, result.failed, said) == (6, 0, [])
    arrays = np.load(next((tmp_path / "out" / "arrays").iterdir()))
    assert arrays["latents.mean"].shape == (16, 8, 4, 4)


def test_its_captions_are_changed(with_videos: Folder, tmp_path: Path) -> None:
    old = with_videos
    (part,) = part_names(old / "sources")
    uris = [uri.replace("/videos", str(VIDEOS)) for uri in read_part(old / "sources", part)["uri"].to_pylist()]
    set_values(old / "sources", part, "uri", pa.array(uris))
    set_values(old / "sources", part, "stamp", pa.array(stamp_all(uris)))
    manifest = tmp_path / "m.csv"
    manifest.write_text(f"video,caption\n{VIDEOS}/000000.mp4,another caption\n")
    assert recaption(old, str(manifest), ManifestColumns()) == 1
    captions = [c for part in part_names(old / "clips") for c in read_part(old / "clips", part)["caption"].to_pylist()]
    assert captions.count("another caption") == 1
    assert len(captions) == 6


def test_it_is_merged_with_its_like_and_with_no_other(old: Folder, tmp_path: Path) -> None:
    out = Folder(str(tmp_path / "merged"))
    merged = merge([old, old], out)
    assert (merged.clips, merged.duplicates) == (6, 6)
    assert Catalog.require(out).version == 1
    assert len(list(FeatureReader(out, ("latents", "heatmaps")).samples(0, 0))) == 6
    other = write_dataset(Folder(str(tmp_path / "new")))
    with pytest.raises(InputError, match=r"holds other clips|schema versions 1 and 2 cannot be merged"):
        merge([old, other], Folder(str(tmp_path / "both")))
    new = Catalog.require(other)
    Catalog(Catalog.require(old).clips, new.artifacts).write(other)
    with pytest.raises(InputError, match=r"schema versions 1 and 2 cannot be merged.*another --out"):
        merge([old, other], Folder(str(tmp_path / "both")))


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
@pytest.mark.parametrize("command", ["preprocess", "retry"])
def test_nothing_is_added_to_it(old: Folder, command: str, more: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in old.path.rglob("*") if path.is_file()}
    where = ["sprites_image", "--manifest", str(VIDEOS / "manifest.csv"), "--out", old.uri, "--height", "64"]
    args = [command, *(where if command == "preprocess" else [old.uri]), *more]
    assert cli.run(args) == 2
    told = capsys.readouterr().err
    for text in ("schema version 1", "stays readable", "6 clips", "computed again", "another --out", "must not mix"):
        assert text in told
    assert {path: path.read_bytes() for path in old.path.rglob("*") if path.is_file()} == before


def test_the_fixture_names_no_machine() -> None:
    assert last_job(Folder(str(GOLDEN))).manifest == "/videos/manifest.csv"
    for path in GOLDEN.rglob("*.json"):
        assert json.loads(path.read_text())
