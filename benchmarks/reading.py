"""Reading features for training: ours against a bare pyarrow scan, one file a sample, and webdataset.

One file a sample is measured in both common forms: torch.save, which is what most trainers' caches are, and
safetensors, which the page cache serves at the speed of a memory copy.

Every reader copies each sample's latent and heatmap into a batch buffer, as collating would. Files are in the page
cache. All but the bare scan shuffle. Our first epoch checks every page's checksum, later ones don't;
the bare scan never does. Run: ``python -m benchmarks.reading [--save]``.
"""

import io
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import webdataset as wds
from safetensors.numpy import load_file, save_file

from base.storage.folder import Folder
from benchmarks.report import alternate, rate, report
from dataset.catalog import Artifact, Catalog
from dataset.parts.schema import Column, describe
from dataset.parts.tables import CLIPS, StoreOptions, write_part
from dataset.reading import FeatureReader

CLIPS_IN_ALL, ROUNDS = 1024, 5
LATENTS = (
    Column("mean", "float16", (4, 16, 40, 64), "c t h w"),
    Column("logvar", "float16", (4, 16, 40, 64), "c t h w"),
)
HEATMAPS = (
    Column("heatmap", "uint8", (16, 40, 64), "t h w", 1 / 255),
    Column("intensity", "float16", (16, 40, 64), "t h w"),
)
Reader = Callable[[Path], Iterator[dict[str, np.ndarray]]]
COLUMNS = {"latents": LATENTS, "heatmaps": HEATMAPS}


def make_values(count: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Full-size features of about the entropy of real ones."""
    grid = (count, 16, 40, 64)
    heatmap = np.zeros(grid, np.uint8)
    heatmap[:, :, 10:20, 10:25] = rng.integers(0, 256, (count, 16, 10, 15))
    latent = (count, 4, 16, 40, 64)
    return {
        "mean": rng.standard_normal(latent).astype(np.float16),
        "logvar": (rng.standard_normal(latent) * 0.5 - 16).astype(np.float16),
        "heatmap": heatmap,
        "intensity": np.abs(rng.standard_normal(grid) * 0.3).astype(np.float16),
    }


def write_all(root: Path, store: StoreOptions) -> None:
    """The same samples as a dataset of ours, as one file a sample, and as webdataset shards."""
    dataset = Folder(str(root / "ours"))
    artifacts = {
        name: Artifact(name, {}, {}, {column.name: describe(column) for column in columns})
        for name, columns in COLUMNS.items()
    }
    Catalog({}, artifacts).write(dataset)
    for folder in ("torch", "safetensors"):
        (root / folder).mkdir()
    size = store.clips_a_part
    for part in range(CLIPS_IN_ALL // size):
        values = make_values(size, np.random.default_rng(part))
        ids = pa.array([f"{part * size + row:032d}" for row in range(size)])
        clips = pa.table([pa.nulls(size, field.type) for field in CLIPS], schema=CLIPS).set_column(0, "clip_id", ids)
        write_part(dataset / "clips", f"part-{part:04d}.parquet", clips, store, {})
        for name, columns in COLUMNS.items():
            fields = pa.schema([pa.field("clip_id", pa.string()), *(column.field() for column in columns)])
            table = pa.table([ids, *(column.to_arrow(values[column.name]) for column in columns)], schema=fields)
            write_part(dataset / name, f"part-{part:04d}.parquet", table, store, {})
        with tarfile.open(root / f"shard-{part:04d}.tar", "w") as tar:
            for row in range(size):
                sample = {name: array[row] for name, array in values.items()}
                name = f"{part * size + row:06d}"
                save_file(sample, root / "safetensors" / name)
                torch.save({key: torch.from_numpy(array) for key, array in sample.items()}, root / "torch" / name)
                for key, array in sample.items():
                    data = io.BytesIO()
                    np.save(data, array)
                    info = tarfile.TarInfo(f"{name}.{key}.npy")
                    info.size = data.tell()
                    tar.addfile(info, io.BytesIO(data.getvalue()))


def consume(samples: Iterator[dict[str, np.ndarray]]) -> None:
    """Copy every sample into a slot of a batch."""
    slots = {column.name: np.empty((8, *column.shape), column.dtype) for column in (*LATENTS, *HEATMAPS)}
    count = 0
    for sample in samples:
        for name, slot in slots.items():
            slot[count % 8] = sample[name]
        count += 1
    assert count == CLIPS_IN_ALL, count


def bare(root: Path) -> Iterator[dict[str, np.ndarray]]:
    """Row groups in their order, through pyarrow alone."""
    names = sorted(path.name for path in (root / "ours" / "clips").iterdir())
    for name in names:
        files = [pq.ParquetFile(root / "ours" / folder / name, memory_map=True) for folder in ("clips", *COLUMNS)]
        for group in range(files[0].num_row_groups):
            tables = [file.read_row_group(group, use_threads=False) for file in files]
            values = {
                column.name: np.frombuffer(table.column(column.name).chunk(0).buffers()[2], column.dtype)
                for table, columns in zip(tables[1:], COLUMNS.values(), strict=True)
                for column in columns
            }
            rows = tables[0].num_rows
            shaped = {c.name: values[c.name].reshape(rows, *c.shape) for cs in COLUMNS.values() for c in cs}
            for row in range(rows):
                yield {name: array[row] for name, array in shaped.items()}


class Ours:
    """The project's reader, shuffled: the first epoch, which checks every page, and a later one of the same process."""

    def __init__(self) -> None:
        self.readers: dict[Path, FeatureReader] = {}

    def first(self, root: Path) -> Iterator[dict[str, np.ndarray]]:
        """Open the dataset and read it."""
        self.readers[root] = FeatureReader(Folder(str(root / "ours")), tuple(COLUMNS))
        return self._samples(root, 0)

    def later(self, root: Path) -> Iterator[dict[str, np.ndarray]]:
        """Read it again."""
        return self._samples(root, 1)

    def _samples(self, root: Path, epoch: int) -> Iterator[dict[str, np.ndarray]]:
        for sample in self.readers[root].samples(seed=0, epoch=epoch):
            yield {key.split("/")[1]: value for key, value in sample.items() if "/" in key}


def torch_files(root: Path) -> Iterator[dict[str, np.ndarray]]:
    """One torch.save file a sample, in random order."""
    for path in shuffled(root / "torch"):
        yield {key: tensor.numpy() for key, tensor in torch.load(path, weights_only=True).items()}


def safetensors_files(root: Path) -> Iterator[dict[str, np.ndarray]]:
    """One safetensors file a sample, in random order."""
    return map(load_file, shuffled(root / "safetensors"))


def shuffled(folder: Path) -> list[Path]:
    """The folder's files in a random order."""
    paths = sorted(folder.iterdir())
    return [paths[i] for i in np.random.default_rng(0).permutation(len(paths))]


def webdataset(root: Path) -> Iterator[dict[str, np.ndarray]]:
    """Tar shards in random order with a shuffle buffer of the size of our window."""
    shards = [str(path) for path in sorted(root.glob("shard-*.tar"))]
    keys = [f"{column.name}.npy" for columns in COLUMNS.values() for column in columns]
    stream = wds.WebDataset(shards, shardshuffle=len(shards), seed=0).shuffle(64).decode()
    for sample in stream:
        yield {key.removesuffix(".npy"): sample[key] for key in keys}


def speed(reader: Reader, root: Path) -> float:
    """Samples a second."""
    return rate(CLIPS_IN_ALL, lambda: consume(reader(root)))


def main() -> None:
    """Measure and report."""
    figures: dict[str, object] = {"clips": CLIPS_IN_ALL, "rounds": ROUNDS}
    goals: dict[str, bool] = {}
    reader = Ours()
    readers: dict[str, Reader] = {
        "bare": bare,
        "first_epoch": reader.first,
        "ours": reader.later,
        "torch_files": torch_files,
        "safetensors_files": safetensors_files,
        "webdataset": webdataset,
    }
    for compression in ("none", "lz4", "zstd"):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            write_all(root, StoreOptions(128, StoreOptions().clips_a_row_group, compression))
            speeds = alternate({name: partial(speed, reader, root) for name, reader in readers.items()}, ROUNDS)
            size = sum(path.stat().st_size for path in (root / "ours").rglob("*.parquet"))
        ratios = {f"ours_to_{name}": round(speeds["ours"] / speeds[name], 2) for name in speeds if name != "ours"}
        print(compression, {name: round(speed) for name, speed in speeds.items()}, ratios, f"{size / 1e6:.0f} MB")
        figures[compression] = ratios | {"clips_per_s": round(speeds["ours"]), "megabytes": round(size / 1e6)}
        if compression == StoreOptions().compression:
            goals = {
                ">= 0.8 of a bare scan": ratios["ours_to_bare"] >= 0.8,
                ">= 2x one torch.save file a sample": ratios["ours_to_torch_files"] >= 2,
                ">= 1x webdataset": ratios["ours_to_webdataset"] >= 1,
            }
    report("reading", figures, goals)


if __name__ == "__main__":
    main()
