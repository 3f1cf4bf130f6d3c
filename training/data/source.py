"""One dataset of a training run: a view resolved, its facts checked against the run, its clips read by place."""

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from base.errors import InputError
from base.storage.folder import Folder
from base.weights import Weights
from dataset.catalog import Catalog
from dataset.heatmap import Normalisation, stored_heatmap
from dataset.identity import text_id
from dataset.reading import FeatureReader, Sample, TextReader
from dataset.view import View, count_lacking
from models.card import Part
from models.video_model import DataShapes
from training.data.order import Place

_KEPT_GROUPS = 24
ENCODERS: dict[str, Part] = {"latents": "vae", "text": "text_encoder", "image": "image_encoder"}
"""The kinds of artifacts that an encoder makes, and what a model folder calls that encoder."""


@dataclass(frozen=True)
class Artifacts:
    """Which artifact of each kind to train on; empty: the only one of its kind.

    With a ``normalisation`` the heatmap is computed anew from the stored flow intensity.
    """

    latents: str = ""
    heatmaps: str = ""
    text: str = ""
    image: str = ""
    normalisation: Normalisation | None = None


@dataclass(frozen=True)
class SourceFacts:
    """What a model must agree with: the latent space, its shape, the text states, the image tokens."""

    latents: dict[str, Any]
    scaling_factor: float
    shape: tuple[int, int, int, int]
    """c t h w of a latent."""
    pixels: tuple[int, int]
    """Height and width of the frames."""
    text: dict[str, Any]
    text_shape: tuple[int, int]
    image: dict[str, Any] = field(default_factory=dict)
    image_shape: tuple[int, int] | None = None
    encoders: dict[str, Weights] = field(default_factory=dict)
    """Where the weights of the kinds of :data:`ENCODERS` came from."""

    @property
    def shapes(self) -> DataShapes:
        """What a network must fit."""
        return DataShapes(self.shape, self.text_shape, self.image_shape)


class Source:
    """Clips of a dataset folder, or of a view saved by ``motif dataset filter``.

    Frame rates above ``fps_max`` are given as ``fps_max``; ``rates`` are those of the clips to use.
    InputError where an artifact is missing, where heatmap and latent grids differ or where no clip is left.
    """

    def __init__(self, uri: str, artifacts: Artifacts, *, image: bool = False, fps_max: float | None = None) -> None:
        view = open_view(uri)
        self.uri = uri
        self.weight = view.weight
        self.dataset = Folder(view.dataset)
        self.catalog = Catalog.require(self.dataset)
        self.normalisation = artifacts.normalisation
        self.names = self._choose(artifacts, view.artifacts, image=image)
        self.facts = self._facts()
        latents, heatmaps = self.names["latents"], self.names["heatmaps"]
        variance = [c for c in ("logvar",) if c in self.catalog.artifacts[latents].columns]
        stored = self.catalog.artifacts[heatmaps].columns
        cells = [name for name in ("intensity", "intensity_max") if name in stored]
        wanted = {latents: ["mean", *variance], heatmaps: cells if self.normalisation else ["heatmap"]}
        if image:
            wanted[self.names["image"]] = ["tokens"]
        self.reader = FeatureReader(self.dataset, wanted, ("text_id", "fps", "caption"))
        self.text = TextReader(self.dataset, self.names["text"])
        if text_id("") not in self.text:
            raise InputError(
                f"{uri}: {self.names['text']} lacks the states of the empty caption, which training drops text to. Run "
                "the same `motif preprocess` again: it encodes what is missing."
            )
        self.empty_text = self._states(text_id(""))
        self.fps_max = fps_max or np.inf
        self.rows, self.rates = self._usable(view)
        self.kept_groups = _KEPT_GROUPS
        """Row groups held in memory, those used last; more than that are read again."""
        self._groups: OrderedDict[int, dict[int, Sample]] = OrderedDict()

    # -- what is there -----------------------------------------------------------------------------------------------

    def _choose(self, artifacts: Artifacts, of_view: tuple[str, ...], *, image: bool) -> dict[str, str]:
        kinds = ["latents", "heatmaps", "text", *(["image"] if image else [])]
        chosen = {}
        for kind in kinds:
            named = [name for name in of_view if self._kind(name) == kind]
            name = getattr(artifacts, kind) or (named[0] if named else None)
            try:
                chosen[kind] = self.catalog.pick(kind, name)
            except InputError as error:
                raise InputError(f"{self.uri}: {error} (--artifacts.{kind})") from error
            if self._kind(chosen[kind]) != kind:
                raise InputError(
                    f"--artifacts.{kind} {chosen[kind]}: in {self.uri} that is of kind {self._kind(chosen[kind])}."
                )
        return chosen

    def _kind(self, name: str) -> str:
        return self.catalog.artifacts[name].kind if name in self.catalog.artifacts else ""

    def _facts(self) -> SourceFacts:
        kinds = {kind: self.catalog.artifacts[name] for kind, name in self.names.items()}
        shape = tuple(kinds["latents"].columns["mean"]["shape"])
        grid = tuple(kinds["heatmaps"].columns["heatmap"]["shape"])
        if grid != shape[1:]:
            raise InputError(
                f"{self.uri}: heatmaps are {_by(grid)} (t h w), latents {_by(shape[1:])}. Compute heatmaps with the "
                "cell of the latents, or choose others with --artifacts.heatmaps."
            )
        identity = {key: value for key, value in kinds["latents"].identity.items() if key != "clips"}
        image = kinds.get("image")
        return SourceFacts(
            latents=identity,
            scaling_factor=float(kinds["latents"].facts["scaling_factor"]),
            shape=shape,
            pixels=(self.catalog.clips["height"], self.catalog.clips["width"]),
            text=kinds["text"].identity,
            text_shape=tuple(kinds["text"].columns["states"]["shape"]),
            image={key: value for key, value in image.identity.items() if key != "clips"} if image else {},
            image_shape=tuple(image.columns["tokens"]["shape"]) if image else None,
            encoders={kind: found for kind in kinds if kind in ENCODERS and (found := Weights.of(kinds[kind].facts))},
        )

    def _usable(self, view: View) -> tuple[list[np.ndarray], np.ndarray]:
        """The rows to use of each row group: clips with every artifact that pass the view; and their frame rates."""
        chosen = tuple(name for kind, name in self.names.items() if kind != "text")
        table = View(view.dataset, (*view.artifacts, *chosen), view.where, view.ids).clips()
        wanted = set(table.column("clip_id").to_pylist())
        texts = dict(zip(table.column("clip_id").to_pylist(), table.column("text_id").to_pylist(), strict=True))
        lacking = sum(text not in self.text for text in texts.values())
        if lacking:
            raise InputError(
                f"{self.uri}: {lacking} clips have captions without {self.names['text']} states. Run the same `motif "
                "preprocess` again: it encodes what is missing."
            )
        rows = [
            np.array([row for row, clip in enumerate(self.reader.clip_ids(group)) if clip in wanted], int)
            for group in self.reader.groups
        ]
        if not sum(len(group) for group in rows):
            raise InputError(
                f"{self.uri}: no clip is left{' that passes ' + ', '.join(view.where) if view.where else ''}."
            )
        return rows, np.minimum(table.column("fps").to_numpy(), self.fps_max)

    def lack(self) -> str | None:
        """One line on the clips that are left out because they lack an artifact, and what to do; None: there are none.

        Those that a view's rules leave out are counted in where they lack something.
        """
        view = open_view(self.uri)
        used = [*view.artifacts, *(name for kind, name in self.names.items() if kind != "text")]
        names = (name for name in dict.fromkeys(used) if self.catalog.artifacts[name].per_clip)
        lacking = count_lacking(self.dataset, tuple(names), view.ids)
        if not lacking:
            return None
        told = ", ".join(f"{count:,} lack {name}" for name, count in lacking.items())
        return (
            f"{self.uri}: of its clips {told}, and are left out. Run the `motif preprocess` that made them again, and "
            "`motif retry` for clips that failed."
        )

    def encoder(self, kind: str) -> Weights | None:
        """Where the weights that made an artifact came from; None for encoders that have none."""
        return self.facts.encoders.get(kind)

    def digest(self) -> str:
        """What a run sees of the dataset: which artifacts, and which clips in which row groups, in 16 hex digits."""
        found = hashlib.sha256()
        for kind, name in sorted(self.names.items()):
            found.update(f"{kind} {self.catalog.artifacts[name].fingerprint}\n".encode())
        for group, rows in zip(self.reader.groups, self.rows, strict=True):
            ids = self.reader.clip_ids(group)
            found.update(" ".join(ids[row] for row in rows).encode() + b"\n")
        return found.hexdigest()[:16]

    # -- reading -----------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        """Clips to train on."""
        return sum(len(group) for group in self.rows)

    def groups_in(self, clips: int) -> int:
        """How many row groups hold ``clips`` clips, filtered ones counted in; at least one, but none of no clips."""
        largest = max(group.rows for group in self.reader.groups)
        return max(1, clips // largest) if clips else 0

    def read(self, place: Place) -> Sample:
        """A clip: ``mean``, ``logvar`` (where there is one), ``heatmap`` in 0 to 1, ``text``, ``fps``, ``clip_id``."""
        raw = self._group(place.group)[place.row]
        sample = {name: raw[name] for name in ("clip_id", "caption", "fps", "text")}
        sample["fps"] = min(sample["fps"], self.fps_max)
        latents = self.names["latents"]
        sample |= {"mean": raw[f"{latents}/mean"], "logvar": raw.get(f"{latents}/logvar")}
        sample |= {"heatmap": self._heatmap(raw)}
        if "image" in self.names:
            sample["tokens"] = raw[f"{self.names['image']}/tokens"]
        return sample

    def _group(self, number: int) -> dict[int, Sample]:
        """The clips to use of a row group by row, with their text; the groups used last are kept."""
        if number not in self._groups:
            while len(self._groups) >= self.kept_groups:  # before another is read, so that there are never more
                self._groups.popitem(last=False)
            self._groups[number] = self._read_group(number)
        self._groups.move_to_end(number)
        return self._groups[number]

    def _read_group(self, number: int) -> dict[int, Sample]:
        group = self.reader.groups[number]
        samples = {str(sample["clip_id"]): sample for sample in self.reader.read(group)}
        ids = self.reader.clip_ids(group)
        found = {int(row): samples[ids[row]] for row in self.rows[number]}
        for sample in found.values():  # a copy: a view would hold the whole group of texts
            sample["text"] = self._states(sample["text_id"]).copy()
        return found

    def _heatmap(self, raw: Sample) -> np.ndarray:
        folder = self.names["heatmaps"]
        if self.normalisation is None:
            stored = np.asarray(raw[f"{folder}/heatmap"])
            scale = np.float32(self.catalog.artifacts[folder].columns["heatmap"]["scale"])
            return np.asarray(stored, np.float32) * scale
        mean, greatest = raw[f"{folder}/intensity"], raw.get(f"{folder}/intensity_max")
        heatmap: np.ndarray = stored_heatmap(
            self.normalisation, mean[None], None if greatest is None else greatest[None], *self.facts.pixels
        )[0].numpy()
        return heatmap

    def _states(self, key: str) -> np.ndarray:
        return self.text.states(key)


def open_view(uri: str) -> View:
    """The view that a URI names: a saved one (``.json``), or the whole of a dataset folder."""
    if not uri.endswith(".json"):
        return View(uri, ())
    path = PurePosixPath(uri)
    return View.load(Folder(uri[: -len(path.name)].rstrip("/") or "."), path.name)


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
