"""A dataset is plain Parquet: it is read here with public tools alone, and nothing of ours is imported."""

import json
from pathlib import Path

import datasets
import duckdb
import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import polars
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest
import ray.data
from ray.data.expressions import col


def tensor(dataset: Path, artifact: str, name: str, value: bytes) -> np.ndarray:
    """Open a tensor by what the file says of it."""
    facts = pq.read_schema(next((dataset / artifact).glob("*.parquet"))).field(name).metadata
    shape = [int(size) for size in facts[b"shape"].split(b",")]
    return np.frombuffer(value, facts[b"dtype"].decode()).reshape(shape) * float(facts[b"scale"])


def check(dataset: Path, heatmap: bytes, latent: bytes) -> None:
    """Sizes and ranges of one clip's tensors: eight frames of 128 x 128 in cells of 16 pixels."""
    opened = tensor(dataset, "heatmaps", "heatmap", heatmap)
    assert opened.shape == (8, 8, 8)
    assert 0 <= opened.min() <= opened.max() <= 1
    assert np.median(opened) < 0.1  # most of a picture stands still
    latents = tensor(dataset, "latents", "mean", latent)
    assert latents.ndim == 4
    assert latents.shape[1:] == (8, 8, 8)
    assert np.isfinite(latents).all()
    assert 0.05 < latents.std() < 20


def test_pyarrow(sprites_dataset: Path) -> None:
    tables = {name: pads.dataset(sprites_dataset / name).to_table() for name in ("clips", "heatmaps", "latents")}
    joined = tables["clips"].select(["clip_id", "caption", "text_id", "uri"])
    for name, column in (("heatmaps", "heatmap"), ("latents", "mean")):
        places = {key: row for row, key in enumerate(tables[name]["clip_id"].to_pylist())}
        rows = [places[key] for key in joined["clip_id"].to_pylist()]
        joined = joined.append_column(column, tables[name][column].take(rows))
    assert joined.num_rows == len(set(joined["clip_id"].to_pylist())) == 16
    for row in joined.to_pylist():
        check(sprites_dataset, row["heatmap"], row["mean"])
    moved = pads.dataset(sprites_dataset / "heatmaps").to_table(filter=pads.field("moving_share") > 0)
    assert 0 < moved.num_rows <= 16


def test_pandas(sprites_dataset: Path) -> None:
    clips, heatmaps, latents, text = (
        pd.read_parquet(sprites_dataset / name) for name in ("clips", "heatmaps", "latents", "text")
    )
    joined = clips.merge(heatmaps, on="clip_id", validate="one_to_one").merge(latents, on="clip_id")
    assert len(joined) == 16
    for row in joined.itertuples():
        check(sprites_dataset, row.heatmap, row.mean)
    assert joined["mean_ssim"].between(-1, 1).all()
    assert joined["moving_share"].between(0, 1).all()
    assert joined["mean_intensity"].max() > 0
    with_text = joined.merge(text, on="text_id", validate="many_to_one", suffixes=("", "_encoded"))
    assert len(with_text) == 16
    assert (with_text["caption"] == with_text["caption_encoded"]).all()


def test_duckdb(sprites_dataset: Path) -> None:
    with duckdb.connect() as database:
        for name in ("clips", "heatmaps", "latents", "text"):
            database.execute(f"CREATE VIEW {name} AS SELECT * FROM read_parquet('{sprites_dataset}/{name}/*.parquet')")
        rows = database.execute(
            """
            SELECT clip_id, heatmap, mean, states, clips.caption, text.caption
            FROM clips JOIN heatmaps USING (clip_id) JOIN latents USING (clip_id) JOIN text USING (text_id)
            ORDER BY moving_share DESC
            """
        ).fetchall()
        share = database.execute("SELECT max(moving_share), min(mean_ssim), count(*) FROM heatmaps").fetchone()
        empty = database.execute("SELECT states FROM text WHERE caption = ''").fetchall()
    assert len({row[0] for row in rows}) == len(rows) == 16
    seen = {}
    for _, heatmap, mean, states, caption, encoded in rows:
        check(sprites_dataset, heatmap, mean)
        assert caption == encoded
        seen[caption] = tensor(sprites_dataset, "text", "states", states)
    assert all(states.ndim == 2 and np.isfinite(states).all() for states in seen.values())
    assert len({states.tobytes() for states in seen.values()}) == len(seen) > 1
    assert share is not None
    assert 0 < share[0] <= 1
    assert -1 <= share[1] <= 1
    assert share[2] == 16
    assert len(empty) == 1  # guidance needs the states of no text


def test_polars(sprites_dataset: Path) -> None:
    clips, heatmaps, latents = (
        polars.read_parquet(sprites_dataset / name / "*.parquet") for name in ("clips", "heatmaps", "latents")
    )
    joined = clips.join(heatmaps, on="clip_id").join(latents, on="clip_id")
    assert joined.height == 16
    for row in joined.iter_rows(named=True):
        check(sprites_dataset, row["heatmap"], row["mean"])


def test_hugging_face_datasets(sprites_dataset: Path, tmp_path: Path) -> None:
    for name, column in (("heatmaps", "heatmap"), ("latents", "mean"), ("text", "states")):
        files = sorted(str(path) for path in (sprites_dataset / name).glob("*.parquet"))
        read = datasets.Dataset.from_parquet(files, cache_dir=str(tmp_path))
        table = pads.dataset(sprites_dataset / name).to_table()
        assert [row[column] for row in read] == table[column].to_pylist()


@pytest.mark.slow
def test_ray_data(sprites_dataset: Path) -> None:
    clips = ray.data.read_parquet(str(sprites_dataset / "clips"))
    assert clips.count() == 16
    assert {"clip_id", "caption", "text_id", "first", "stride", "fps"} <= set(clips.schema().names)
    long = clips.filter(expr=col("source_frames") >= 8).select_columns(["clip_id", "source_frames"]).take_all()
    assert len({row["clip_id"] for row in long}) == 16


@pytest.mark.parametrize("artifact", ["heatmaps", "latents", "text"])
def test_the_catalog_says_what_the_files_say(sprites_dataset: Path, artifact: str) -> None:
    catalog = json.loads((sprites_dataset / "dataset.json").read_text())
    described = catalog["artifacts"][artifact]["columns"]
    schema = pq.read_schema(next((sprites_dataset / artifact).glob("*.parquet")))
    keys = {"clip_id", "text_id", "caption"}
    assert set(schema.names) - keys == set(described)
    for name, facts in described.items():
        metadata = {key.decode(): value.decode() for key, value in (schema.field(name).metadata or {}).items()}
        if "shape" in facts:
            assert metadata["shape"] == ",".join(map(str, facts["shape"]))
            assert (metadata["dtype"], metadata["axes"]) == (facts["dtype"], facts["axes"])
            assert float(metadata["scale"]) == facts["scale"]
            size = np.dtype(facts["dtype"]).itemsize * int(np.prod(facts["shape"]))
            values = pads.dataset(sprites_dataset / artifact).to_table()[name].to_pylist()
            assert {len(value) for value in values} == {size}
        assert metadata.get("about") == facts.get("about")
    assert catalog["artifacts"][artifact]["fingerprint"] == schema.metadata[b"fingerprint"].decode()
