import csv
import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from base.errors import InputError
from base.storage.folder import Folder
from dataset.heatmap.normalisation import CONVENTIONS
from dataset.parts.schema import Column
from dataset.parts.tables import part_names
from dataset.reading import FeatureReader, TextReader
from dataset.view import View
from models.encoders.text import HashedText
from pipeline.curation.calibrate import calibrate
from pipeline.curation.diff import diff
from pipeline.curation.explain import explain_artifacts, explain_clip, explain_recipe
from pipeline.curation.export import export
from pipeline.curation.merge import merge
from pipeline.curation.recaption import recaption
from pipeline.curation.stats import read_stats
from pipeline.featurizers.text import HashedTextStates
from pipeline.manifest import ManifestColumns
from tests.pipeline.conftest import SMALL, Preprocessing, part_bytes
from tests.pipeline.datasets import set_values

BOTH = ("heatmaps", "latents")


def values(dataset: Path) -> dict[str, bytes]:
    """All tensors of each clip, whatever part it lies in."""
    reader = FeatureReader(Folder(str(dataset)), BOTH)
    samples = (sample for group in reader.groups for sample in reader.read(group))
    return {s["clip_id"]: b"".join(s[name].tobytes() for name in sorted(s) if "/" in name) for s in samples}


@pytest.fixture
def own_copy(sprites_dataset: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sprites_dataset, tmp_path / "copy"))


@pytest.fixture(scope="module")
def halves(
    preprocess: Preprocessing, sprites_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """Two datasets of ten sprites each, four of them in both."""
    folder = tmp_path_factory.mktemp("halves")
    lines = (sprites_folder / "manifest.csv").read_text().splitlines()
    made = []
    for name, rows in (("first", lines[1:11]), ("second", lines[7:17])):
        manifest = folder / f"{name}.csv"
        manifest.write_text("\n".join([lines[0], *rows]))
        preprocess(manifest, folder / name, columns=ManifestColumns(root=str(sprites_folder)))
        made.append(folder / name)
    return made[0], made[1]


def test_stats(sprites_dataset: Path) -> None:
    stats = read_stats(Folder(str(sprites_dataset)))
    assert (stats.clips, stats.videos, stats.frames, stats.height) == (16, 16, 8, 128)
    assert stats.parts == len(part_names(Folder(str(sprites_dataset / "clips"))))
    assert {name: (a.rows, a.lacking) for name, a in stats.artifacts.items() if name != "text"} == {
        "heatmaps": (16, 0),
        "latents": (16, 0),
    }
    assert stats.artifacts["text"].rows == stats.captions
    assert set(stats.scores) == {"mean_intensity", "moving_share", "mean_ssim"}
    spread = stats.scores["mean_intensity"]
    assert 0 <= spread.least <= spread.low <= spread.median <= spread.high <= spread.greatest
    assert stats.hours == pytest.approx(16 * 8 / 8 / 3600, abs=1e-4)
    assert json.dumps(asdict(stats))


def test_explain_tells_settings_and_differences(sprites_dataset: Path) -> None:
    dataset = Folder(str(sprites_dataset))
    assert "  flow.estimator: dis" in explain_artifacts(dataset)
    assert explain_recipe(dataset, SMALL) == [
        f"{name}: the same, nothing to compute" for name in ("heatmaps", "latents", "text")
    ]
    other = replace(SMALL, features=SMALL.features | {"text": HashedTextStates(HashedText(width=32))})
    *_, said, why = explain_recipe(dataset, other)
    assert said.endswith("new, beside 'text', because")
    assert why == "  width: 64 -> 32"
    assert explain_recipe(dataset, replace(SMALL, height=256)) == [
        "clips: another configuration, so this recipe needs a new dataset (another --out), because",
        "  height: 128 -> 256",
    ]


def test_explain_a_clip(sprites_dataset: Path) -> None:
    dataset = Folder(str(sprites_dataset))
    said = explain_clip(dataset, "000003.mp4")
    assert said[0].endswith(": written")
    assert any(line.startswith("  mean_intensity: ") for line in said)
    assert explain_clip(dataset, said[0][:12]) == said
    with pytest.raises(InputError, match="'nothing-like-this': no clip id begins with it"):
        explain_clip(dataset, "nothing-like-this")


def test_calibrate_tells_the_conventions_apart(sprites_dataset: Path) -> None:
    found = calibrate(Folder(str(sprites_dataset)))
    assert found.clips == 16
    assert list(found.effects) == list(CONVENTIONS)
    # The smaller the flow at which a convention lights up, the more cells it lights.
    fixed = sorted((e for e in found.effects.values() if e.centre_px is not None), key=lambda e: e.centre_px or 0)
    assert [e.lit for e in fixed] == sorted((e.lit for e in fixed), reverse=True)
    assert found.effects["pixels"].lit > 0.02 > found.effects["diagonal"].lit
    assert found.effects["diagonal"].dark_clips > found.effects["pixels"].dark_clips
    assert calibrate(Folder(str(sprites_dataset)), limit=3).clips == 3


def test_calibrate_agrees_with_the_heatmaps_that_are_stored(sprites_dataset: Path) -> None:
    lit = []
    for path in sorted((sprites_dataset / "heatmaps").iterdir()):
        table = pq.read_table(path)
        lit.append((Column.of(table.schema.field("heatmap")).to_numpy(table["heatmap"]) > 127).mean(axis=(1, 2, 3)))
    stored = float(np.concatenate(lit).mean())
    assert calibrate(Folder(str(sprites_dataset))).effects["0.15 diagonal"].lit == pytest.approx(stored, abs=0.01)


def test_recaption_changes_captions_and_nothing_else(
    preprocess: Preprocessing, own_copy: Path, sprites_folder: Path, tmp_path: Path
) -> None:
    rows = list(csv.DictReader((sprites_folder / "manifest.csv").read_text().splitlines()))
    manifest = tmp_path / "new.csv"
    lines = [f'{row["video"]},"{row["caption"]}{" again" if n < 3 else ""}"' for n, row in enumerate(rows)]
    manifest.write_text("\n".join(["video,caption", *lines]))
    columns = ManifestColumns(root=str(sprites_folder))
    before = part_bytes(own_copy)
    dataset = Folder(str(own_copy))
    assert recaption(dataset, str(manifest), columns) == 3
    assert recaption(dataset, str(manifest), columns) == 0
    after = part_bytes(own_copy)
    assert {name for name in before if before[name] != after[name]} <= {n for n in before if n.startswith("clips/")}
    table = pq.read_table(own_copy / "clips").to_pylist()
    changed = [row for row in table if row["caption"].endswith(" again")]
    assert len(changed) == 3
    assert read_stats(dataset).artifacts["text"].lacking == len({row["text_id"] for row in changed})
    assert preprocess(manifest, own_copy, columns=columns).captions == len({row["text_id"] for row in changed})
    assert np.abs(TextReader(dataset).states(changed[0]["text_id"])).max() > 0


def test_merge_joins_clips_and_drops_doubles(
    preprocess: Preprocessing, halves: tuple[Path, Path], sprites_dataset: Path, sprites_folder: Path, tmp_path: Path
) -> None:
    out = Folder(str(tmp_path / "merged"))
    merged = merge([Folder(str(half)) for half in halves], out)
    assert (merged.clips, merged.duplicates, merged.left_out) == (16, 4, ())
    assert values(tmp_path / "merged") == values(sprites_dataset)
    stats = read_stats(out)
    assert (stats.clips, stats.artifacts["text"].lacking) == (16, 0)
    # It is a dataset like any other: a run on it has nothing to do.
    account = preprocess(sprites_folder / "manifest.csv", tmp_path / "merged")
    assert (account.planned, account.reused, account.artifacts_added, account.captions) == (0, 16, 0, 0)
    with pytest.raises(InputError, match="is already a dataset"):
        merge([Folder(str(half)) for half in halves], out)


def test_merge_refuses_clips_of_another_shape(
    preprocess: Preprocessing, halves: tuple[Path, Path], sprites_folder: Path, tmp_path: Path
) -> None:
    only_latents = replace(SMALL, height=64, width=64, features={"latents": SMALL.features["latents"]})
    preprocess(sprites_folder / "manifest.csv", tmp_path / "small", only_latents, limit=2)
    with pytest.raises(InputError, match="height: 128 -> 64"):
        merge([Folder(str(halves[0])), Folder(str(tmp_path / "small"))], Folder(str(tmp_path / "merged")))
    assert not (tmp_path / "merged").exists()


def test_merge_of_a_dataset_that_lacks_parts(halves: tuple[Path, Path], tmp_path: Path) -> None:
    broken = Path(shutil.copytree(halves[0], tmp_path / "broken"))
    next((broken / "latents").iterdir()).unlink()
    with pytest.raises(InputError, match="latents lacks 1 parts; run `motif preprocess` on it first"):
        merge([Folder(str(halves[1])), Folder(str(broken))], Folder(str(tmp_path / "merged")))
    with pytest.raises(InputError, match="is not a dataset"):
        read_stats(Folder(str(tmp_path / "merged")))


def test_diff(halves: tuple[Path, Path], sprites_dataset: Path, own_copy: Path) -> None:
    first, second = (Folder(str(half)) for half in halves)
    found = diff(first, second)
    assert (found.clips_in_both, found.clips_only_in_a, found.clips_only_in_b) == (4, 6, 6)
    assert {name: (v.same, v.different) for name, v in found.values.items()} == {name: (4, 0) for name in BOTH}
    assert found.configuration == found.artifacts_only_in_a == found.artifacts_only_in_b == []
    # One value of one clip changed.
    path = next((own_copy / "latents").iterdir())
    table = pq.read_table(path)
    column = Column.of(table.schema.field("mean"))
    changed = column.to_numpy(table["mean"]).copy()
    changed[0, 0, 0, 0, 0] += 2
    set_values(Folder(str(own_copy / "latents")), path.name, "mean", column.to_arrow(changed))
    found = diff(Folder(str(sprites_dataset)), Folder(str(own_copy)))
    assert (found.values["latents"].same, found.values["latents"].different) == (15, 1)
    assert found.values["latents"].largest_difference == pytest.approx(2, abs=0.01)
    assert found.values["heatmaps"].different == 0


def test_export_is_a_videofolder(sprites_dataset: Path, tmp_path: Path) -> None:
    said: list[str] = []
    view = View(str(sprites_dataset), BOTH, where=("moving_share>=0.0001",))
    expected = {row["clip_id"]: row for row in view.clips().to_pylist()}
    out = Folder(str(tmp_path / "out"))
    assert (result := export(view, out, ("heatmaps",), said.append)).written == len(expected) > 0
    assert (result.failed, said) == (0, [])
    rows = [json.loads(line) for line in (tmp_path / "out" / "metadata.jsonl").read_text().splitlines()]
    assert {row["clip_id"]: row["text"] for row in rows} == {key: row["caption"] for key, row in expected.items()}
    for row in rows:
        with av.open(tmp_path / "out" / row["file_name"]) as video:
            frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
        assert np.stack(frames).shape == (8, 128, 128, 3)
        arrays = np.load(tmp_path / "out" / "arrays" / f"{row['clip_id']}.npz")
        assert arrays["heatmaps.heatmap"].shape == (8, 8, 8)
        assert arrays["heatmaps.heatmap"].max() <= 1
        assert row["mean_intensity"] == pytest.approx(float(arrays["heatmaps.mean_intensity"]), rel=1e-5)
    again = export(view, out, (), said.append)
    assert (again.written, again.kept) == (0, len(expected))


def test_export_goes_on_without_a_video_that_is_gone(own_copy: Path, tmp_path: Path) -> None:
    part = next((own_copy / "clips").iterdir())
    table = pq.read_table(part)
    uris = pa.array(["/nowhere/gone.mp4", *table["uri"].to_pylist()[1:]])
    set_values(Folder(str(own_copy / "clips")), part.name, "uri", uris)
    said: list[str] = []
    result = export(View(str(own_copy), ("heatmaps",)), Folder(str(tmp_path / "out")), (), said.append)
    assert (result.written, result.failed) == (15, 1)
    assert said[0].startswith("/nowhere/gone.mp4: MissingFile")
    assert len((tmp_path / "out" / "metadata.jsonl").read_text().splitlines()) == 15
