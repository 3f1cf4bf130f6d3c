"""Small feature datasets to train on, written as a run writes them: no video, no Ray.

A clip is a random still picture over which a lit square moves one cell a frame; its heatmap is lit where the square is.
All values depend on the clip's number alone. The latents are those of a small pixel codec, so they can be decoded.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from base.storage.folder import Folder
from dataset.catalog import Artifact, Catalog
from dataset.heatmap.heatmap import sigmoid_heatmap
from dataset.heatmap.normalisation import Normalisation
from dataset.identity import text_id
from dataset.parts.schema import Column, describe
from dataset.parts.tables import CLIPS, TEXT_KEYS, StoreOptions, write_part
from models.encoders.image import CellTokens
from models.encoders.pixel_codec import PixelCodec
from models.encoders.text import HashedText
from models.encoders.video.pixel_codec import VideoPixelCodec
from tests.pipeline.datasets import clip as clip_row

CELL = 8
TOKENS = CellTokens(cell=32, place=4)
CAPTIONS = 5


@dataclass(frozen=True)
class Toy:
    """A dataset of ``clips`` clips with latents, heatmaps, text and, where asked for, image tokens.

    ``shape`` is the latents' c t h w, at least 3 channels; ``text`` and ``image`` are tokens x width. Clips have the
    numbers from ``first`` on, so that two datasets need not share any. ``failed`` holds, for an artifact, the numbers
    that it has not; ``still`` the clips in which nothing moves. ``empty_text`` is there to be left out, as a broken
    dataset would. With a ``stride`` of n, latents are those of every nth frame. With ``ssim`` heatmaps have a made up
    mean SSIM, lower from clip to clip. With ``ragged``, text states are stored without padding: of the empty caption
    there are then none.
    """

    clips: int = 12
    shape: tuple[int, int, int, int] = (4, 4, 8, 8)
    clips_a_part: int = 8
    clips_a_row_group: int = 4
    first: int = 0
    logvar: bool = False
    image: tuple[int, int] | None = None
    text: tuple[int, int] = (6, 16)
    empty_text: bool = True
    failed: dict[str, set[int]] = field(default_factory=dict)
    still: frozenset[int] = frozenset()
    without: frozenset[str] = frozenset()
    scaling_factor: float = 1.0
    stride: int = 1
    ssim: bool = False
    ragged: bool = False

    @property
    def pixels(self) -> tuple[int, int]:
        """Height and width of the frames that such latents come from."""
        return self.shape[2] * CELL, self.shape[3] * CELL

    def columns(self) -> dict[str, tuple[Column, ...]]:
        """The artifacts of the clips."""
        grid = self.shape[1:]
        channels, frames, *cells = self.shape
        latent = (channels, (frames - 1) // self.stride + 1, *cells)
        mean, logvar = (Column(name, "float16", latent, "c t h w") for name in ("mean", "logvar"))
        intensity = Column("intensity", "float16", grid, "t h w")
        names = ("mean_intensity", "moving_share", *(["mean_ssim"] if self.ssim else []))
        scores = tuple(Column(name, "float32") for name in names)
        found = {
            "latents": (mean, logvar) if self.logvar else (mean,),
            "heatmaps": (Column("heatmap", "uint8", grid, "t h w", 1 / 255), intensity, *scores),
        }
        if self.image:
            found["image"] = (Column("tokens", "float16", self.image, "n d"),)
        return {name: columns for name, columns in found.items() if name not in self.without}

    def values(self, number: int) -> dict[str, np.ndarray]:
        """What a clip holds, by column."""
        rng = np.random.default_rng(number)
        moving = np.zeros(self.shape[1:], np.float32)
        latent = np.repeat(rng.standard_normal((self.shape[0], 1, *self.shape[2:])), self.shape[1], axis=1)
        if number not in self.still:
            moving = _square(self.shape[1:], int(rng.integers(self.shape[3])))
            latent = np.where(moving > 0, 2.0, latent)
        pixels = 4 * moving
        heatmap = sigmoid_heatmap(Normalisation(), torch.from_numpy(pixels)[None], *self.pixels)[0].numpy()
        values: dict[str, np.ndarray] = {
            "mean": latent.astype(np.float16)[:, :: self.stride],
            "logvar": rng.normal(-4, 1, self.shape).astype(np.float16)[:, :: self.stride],
            "heatmap": (heatmap * 255).round().astype(np.uint8),
            "intensity": pixels.astype(np.float16),
            "mean_intensity": np.array(pixels.mean(), np.float32),
            "moving_share": np.array((heatmap > 0.5).mean(), np.float32),
            "mean_ssim": np.array(1 - number / 1000, np.float32),
        }
        if self.image:
            values["tokens"] = rng.standard_normal(self.image).astype(np.float16)
        return values

    def clip(self, number: int) -> dict[str, Any]:
        """The row of a clip; a caption is shared by several."""
        caption = caption_of(number)
        facts = {"clip_id": f"clip{number:04}", "slot": f"slot{number:04}", "uri": f"videos/{number:04}.mp4"}
        return clip_row(number, **facts, caption=caption, text_id=text_id(caption), fps=8.0 + number % 3)

    def parts(self) -> Iterator[tuple[str, range]]:
        """Names of parts and the numbers of their clips."""
        end = self.first + self.clips
        for start in range(self.first, end, self.clips_a_part):
            yield f"part-{start:04}.parquet", range(start, min(start + self.clips_a_part, end))

    def catalog(self) -> Catalog:
        """What dataset.json says; identities as the featurizers give them."""
        height, width = self.pixels
        clips = {"frames": self.shape[1], "height": height, "width": width, "resize": "none", "version": 1}
        luma = self.shape[0] - 2
        codec = VideoPixelCodec(self.stride, 1, CELL, luma, 1) if self.stride > 1 else PixelCodec(CELL, luma, 1)
        heatmaps = {"flow": {"estimator": "made up"}, "normalisation": Normalisation().identity(), "cell": CELL}
        identities: dict[str, dict[str, Any]] = {
            "latents": codec.identity() | {"clips": clips},
            "heatmaps": heatmaps | {"clips": clips},
            "image": {"encoder": "CellTokens", **asdict(TOKENS), "version": 1, "clips": clips},
        }
        facts = {
            "latents": {"scaling_factor": self.scaling_factor} | ({"stride": self.stride} if self.stride > 1 else {})
        }
        artifacts = {
            name: Artifact(name, identities[name], facts.get(name, {}), {c.name: describe(c) for c in columns})
            for name, columns in self.columns().items()
        }
        identity = {"encoder": "HashedText", "tokens": self.text[0], "width": self.text[1], "version": 1}
        artifacts["text"] = Artifact("text", identity, {}, {"states": describe(self._states)})
        return Catalog(clips, artifacts)

    @property
    def _states(self) -> Column:
        return Column("states", "float16", self.text, "l d", ragged=self.ragged)

    def text_table(self) -> pa.Table:
        """Each caption once, with its states."""
        numbers = range(self.first, self.first + self.clips)
        captions = sorted({caption_of(number) for number in numbers} | ({""} if self.empty_text else set()))
        encoded = HashedText(*self.text).encode(captions).astype(np.float16)
        keys = [pa.array([text_id(caption) for caption in captions]), pa.array(captions)]
        states = [one[one.any(axis=1)] for one in encoded] if self.ragged else encoded
        return pa.table([*keys, self._states.to_arrow(states)], schema=pa.schema([*TEXT_KEYS, self._states.field()]))


def caption_of(number: int) -> str:
    """The caption of a clip."""
    return f"square number {number % CAPTIONS}"


def write_toy(dataset: Folder, toy: Toy = Toy()) -> Folder:
    """Write a dataset, local or remote."""
    store = StoreOptions(toy.clips_a_part, toy.clips_a_row_group, "none")
    toy.catalog().write(dataset)
    for part, numbers in toy.parts():
        for artifact in toy.columns():
            _write_artifact(dataset, toy, artifact, (part, numbers), store)
        table = pa.Table.from_pylist([toy.clip(number) for number in numbers], schema=CLIPS)
        write_part(dataset / "clips", part, table, store, {"fingerprint": "f"})
    write_part(dataset / "text", f"part-{toy.first:04}.parquet", toy.text_table(), store, {"fingerprint": "f"})
    return dataset


def _write_artifact(dataset: Folder, toy: Toy, artifact: str, part: tuple[str, range], store: StoreOptions) -> None:
    name, numbers = part
    good = np.array([number not in toy.failed.get(artifact, set()) for number in numbers])
    ids = [toy.clip(number)["clip_id"] if fine else None for number, fine in zip(numbers, good, strict=True)]
    columns = toy.columns()[artifact]
    rows = [toy.values(number) for number in numbers]
    arrays = [c.to_arrow(np.stack([row[c.name] for row in rows]), good) for c in columns]
    schema = pa.schema([pa.field("clip_id", pa.string()), *(column.field() for column in columns)])
    table = pa.table([pa.array(ids, pa.string()), *arrays], schema=schema)
    write_part(dataset / artifact, name, table, store, {"fingerprint": "f"})


def _square(grid: tuple[int, int, int], start: int) -> np.ndarray:
    """One where a square is, a quarter of the grid high; it moves to the right and comes in again at the left."""
    frames, height, width = grid
    side = max(1, height // 4)
    moving = np.zeros(grid, np.float32)
    for frame in range(frames):
        columns = (start + frame + np.arange(side)) % width
        moving[frame, height // 2 : height // 2 + side, columns] = 1
    return moving
