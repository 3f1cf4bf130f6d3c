"""One dataset of a training run: resolves a view, checks its artifacts, and reads its clips by place."""

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
from dataset.heatmap.heatmap import latent_heatmap, stored_heatmap
from dataset.heatmap.normalisation import Normalisation
from dataset.identity import text_id
from dataset.reading import FeatureReader, Sample, TextReader, padded
from dataset.view import View, count_lacking
from models.card import Part
from models.video_model import DataShapes
from training.data.artifacts import Artifacts
from training.data.motion import SSIM, find_ssim, read_ssim
from training.data.order import Place

_KEPT_GROUPS = 24
ENCODERS: dict[str, Part] = {"latents": "vae", "text": "text_encoder", "image": "image_encoder"}
"""The kinds of artifacts that encoders produce, and each encoder's name in a model folder."""


@dataclass(frozen=True)
class SourceFacts:
    """What a model must match: the latent space, its shape, the text states, the image tokens."""

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
    """The sources of the encoders' weights, by the kinds of :data:`ENCODERS`."""

    @property
    def shapes(self) -> DataShapes:
        """The shapes that a network must fit."""
        return DataShapes(self.shape, self.text_shape, self.image_shape)


class Source:
    """Clips of a dataset folder, or of a view saved by ``motif dataset filter``.

    Frame rates are capped at ``fps_max``; ``rates`` are the rates of the usable clips, and with ``motion`` ``ssim``
    their mean SSIM.
    InputError if an artifact is missing, heatmap and latent grids differ, or no clip is left.
    """

    def __init__(
        self,
        uri: str,
        artifacts: Artifacts,
        *,
        image: bool = False,
        motion: bool = False,
        fps_max: float | None = None,
    ) -> None:
        view = open_view(uri)
        self.uri = uri
        self.weight = view.weight
        self.dataset = Folder(view.dataset)
        self.catalog = Catalog.require(self.dataset)
        self.names = self._choose(artifacts, view.artifacts, image=image)
        if motion:
            self.names["motion"] = find_ssim(uri, self.catalog, self.names["heatmaps"])
        self.stride = int(self.catalog.artifacts[self.names["latents"]].facts.get("stride", 1))
        self.normalisation = artifacts.normalisation or self._own_normalisation()
        self.facts = self._facts()
        latents, heatmaps = self.names["latents"], self.names["heatmaps"]
        variance = [c for c in ("logvar",) if c in self.catalog.artifacts[latents].columns]
        stored = self.catalog.artifacts[heatmaps].columns
        cells: list[str] = [name for name in ("intensity", "intensity_max") if name in stored]
        if artifacts.normalisation and not cells:
            raise InputError(
                f"--artifacts.normalisation: {heatmaps} in {uri} holds no intensity to normalise. Leave it out, or "
                "choose heatmaps of a flow with --artifacts.heatmaps."
            )
        wanted: dict[str, list[str]] = {
            latents: ["mean", *variance],
            heatmaps: cells if self.normalisation else ["heatmap"],
        }
        if image:
            wanted[self.names["image"]] = ["tokens"]
        if motion:
            wanted[self.names["motion"]] = [*wanted.get(self.names["motion"], []), SSIM]
        self.reader = FeatureReader(self.dataset, wanted, ("text_id", "fps", "caption"))
        self.text = TextReader(self.dataset, self.names["text"])
        if text_id("") not in self.text:
            raise InputError(
                f"{uri}: {self.names['text']} lacks the states of the empty caption, which training drops text to. Run "
                "the same `motif preprocess` again: it encodes what is missing."
            )
        self.empty_text = padded(self._states(text_id("")), self.facts.text_shape[0])
        self.fps_max = fps_max or np.inf
        self.rows, self.rates, self.ssim = self._usable(view)
        self.kept_groups = _KEPT_GROUPS
        """Number of row groups held in memory (least recently used ones are dropped)."""
        self._groups: OrderedDict[int, dict[int, Sample]] = OrderedDict()

    # -- choosing artifacts and clips --------------------------------------------------------------------------------

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
                    f"--artifacts.{kind} {chosen[kind]}: in {self.uri} it has kind {self._kind(chosen[kind])}."
                )
        return chosen

    def _kind(self, name: str) -> str:
        return self.catalog.artifacts[name].kind if name in self.catalog.artifacts else ""

    def _own_normalisation(self) -> Normalisation | None:
        """That of the heatmaps, with which they are computed anew if latents compress time; else None."""
        heatmaps = self.catalog.artifacts[self.names["heatmaps"]]
        if self.stride == 1:
            return None
        if "intensity" not in heatmaps.columns:
            raise InputError(
                f"{self.uri}: {self.names['heatmaps']} holds no intensity, of which latents of {self.stride} frames "
                "need the sum. Compute heatmaps anew, or choose others with --artifacts.heatmaps."
            )
        return Normalisation(**heatmaps.identity["normalisation"])

    def _facts(self) -> SourceFacts:
        kinds = {kind: self.catalog.artifacts[name] for kind, name in self.names.items()}
        shape = tuple(kinds["latents"].columns["mean"]["shape"])
        grid = tuple(kinds["heatmaps"].columns["heatmap"]["shape"])
        if grid != ((shape[1] - 1) * self.stride + 1, *shape[2:]):
            frames = f" of {self.stride} frames each after the first" if self.stride > 1 else ""
            raise InputError(
                f"{self.uri}: heatmaps are {_by(grid)} (t h w), latents {_by(shape[1:])}{frames}. Compute heatmaps "
                "with the cell of the latents, or choose others with --artifacts.heatmaps."
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

    def _usable(self, view: View) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
        """The rows to use of each row group: clips with every artifact that pass the view; their rates and SSIM."""
        chosen = tuple(name for kind, name in self.names.items() if kind != "text")
        whole = View(view.dataset, (*view.artifacts, *chosen), view.where, view.ids)
        table = whole.clips(("text_id", "fps"))
        wanted = set(table.column("clip_id").to_pylist())
        texts = dict(zip(table.column("clip_id").to_pylist(), table.column("text_id").to_pylist(), strict=True))
        lacking = sum(text not in self.text for text in texts.values())
        if lacking:
            raise InputError(
                f"{self.uri}: {lacking} clips have captions without {self.names['text']} states. Run the same `motif "
                "preprocess` again: it encodes what is missing."
            )
        rows = [
            np.array([row for row, clip in enumerate(ids) if clip in wanted], int) for ids in self.reader.each_ids()
        ]
        if not sum(len(group) for group in rows):
            raise InputError(
                f"{self.uri}: no clip is left{' that passes ' + ', '.join(view.where) if view.where else ''}."
            )
        ssim = read_ssim(self.dataset, self.names["motion"], wanted) if "motion" in self.names else np.empty(0)
        return rows, np.minimum(table.column("fps").to_numpy(), self.fps_max), ssim

    def lack(self) -> str | None:
        """A line about clips left out because they lack an artifact, with a remedy; None if there are none.

        Clips that a view's rules leave out count as well if they lack one.
        """
        view = open_view(self.uri)
        used = [*view.artifacts, *(name for kind, name in self.names.items() if kind != "text")]
        names = (name for name in dict.fromkeys(used) if self.catalog.artifacts[name].per_clip)
        lacking = count_lacking(self.dataset, tuple(names), view.ids)
        if not lacking:
            return None
        counts = ", ".join(f"{count:,} lack {name}" for name, count in lacking.items())
        return (
            f"{self.uri}: of its clips {counts}, and are left out. Run its `motif preprocess` again, and "
            "`motif retry` for failed clips."
        )

    def encoder(self, kind: str) -> Weights | None:
        """The source of the weights of an artifact's encoder; None for encoders without weights."""
        return self.facts.encoders.get(kind)

    def digest(self) -> str:
        """A hash, in 16 hex digits, of the artifacts and of the clips in each row group."""
        found = hashlib.sha256()
        for kind, name in sorted(self.names.items()):
            found.update(f"{kind} {self.catalog.artifacts[name].fingerprint}\n".encode())
        for ids, rows in zip(self.reader.each_ids(), self.rows, strict=True):
            found.update(" ".join(ids[row] for row in rows).encode() + b"\n")
        return found.hexdigest()[:16]

    # -- reading -----------------------------------------------------------------------------------------------------

    def __len__(self) -> int:
        """Clips to train on."""
        return sum(len(group) for group in self.rows)

    def groups_in(self, clips: int) -> int:
        """How many row groups hold ``clips`` clips, counting filtered ones; at least 1, or 0 for 0 clips."""
        largest = max(group.rows for group in self.reader.groups)
        return max(1, clips // largest) if clips else 0

    def read(self, place: Place) -> Sample:
        """A clip: ``mean``, ``logvar`` (if stored), ``heatmap`` in 0 to 1, ``text``, ``fps``, ``clip_id``.

        And ``tokens`` and ``ssim`` if the source was opened with ``image`` and ``motion``. Text may have fewer tokens
        than the facts say, if it is stored without padding.
        """
        raw = self._group(place.group)[place.row]
        sample = {name: raw[name] for name in ("clip_id", "caption", "fps", "text")}
        sample["fps"] = min(sample["fps"], self.fps_max)
        latents = self.names["latents"]
        sample |= {"mean": raw[f"{latents}/mean"], "logvar": raw.get(f"{latents}/logvar")}
        sample |= {"heatmap": self._heatmap(raw)}
        if "image" in self.names:
            sample["tokens"] = raw[f"{self.names['image']}/tokens"]
        if "motion" in self.names:
            sample["ssim"] = float(raw[f"{self.names['motion']}/{SSIM}"])
        return sample

    def _group(self, number: int) -> dict[int, Sample]:
        """The usable clips of a row group by row, with their text; recently used groups are cached."""
        if number not in self._groups:
            while len(self._groups) >= self.kept_groups:  # before reading, so that there are never more
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
        mean, greatest = raw[f"{folder}/intensity"][None], raw.get(f"{folder}/intensity_max")
        greatest = None if greatest is None else greatest[None]
        if self.stride > 1:
            rate = np.array([raw["fps"]])  # before the cap, since it is of motion
            maps = latent_heatmap(self.normalisation, mean, greatest, self.facts.pixels, self.stride, rate)
        else:
            maps = stored_heatmap(self.normalisation, mean, greatest, *self.facts.pixels)
        heatmap: np.ndarray = maps[0].numpy()
        return heatmap

    def _states(self, key: str) -> np.ndarray:
        return self.text.states(key)


def open_view(uri: str) -> View:
    """The view of a URI: a saved one (``.json``), or a whole dataset folder."""
    if not uri.endswith(".json"):
        return View(uri, ())
    path = PurePosixPath(uri)
    return View.load(Folder(uri[: -len(path.name)].rstrip("/") or "."), path.name)


def _by(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
