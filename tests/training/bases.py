"""Models to train adapters of: a folder for each backbone, with the data that it fits."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from base.storage.folder import Folder
from diffusion.flow import Flow
from diffusion.process import Process
from diffusion.schedule import Schedule
from models.adapters.lora import Lora
from models.card import ModelCard, ModelFacts
from models.folder import save_model
from models.video_model import VideoModel
from models.videocrafter2.unet import VideoUNet
from tests.models.adapters.networks import BACKBONES, filled
from tests.training.datasets import Toy, write_toy
from tests.training.runs import toy_job
from training.data.artifacts import Artifacts
from training.data.source import Source
from training.run.job import TrainJob

DATA = {
    "unet": Toy(logvar=True),
    "patches": Toy(logvar=True),
    "wan": Toy(shape=(4, 13, 8, 8), stride=4),
}
LORA = Lora(rank=3, alpha=6.0, dropout=0.1)


@dataclass(frozen=True)
class BaseModel:
    """A model folder, and a dataset for it."""

    kind: str
    data: Folder
    folder: Path

    def job(self, out: Path, adapter: Lora | None = LORA, **changes: Any) -> TrainJob:
        """A run that trains an adapter of it."""
        network = replace(BACKBONES[self.kind], start=str(self.folder))
        return toy_job(self.data, out, network=network, schedule=self.process, adapter=adapter, **changes)

    @property
    def process(self) -> Process:
        """What the model was trained with."""
        return Flow(shift=5.0) if self.kind == "wan" else Schedule()


def write_base(place: Path, kind: str, seed: int = 0) -> BaseModel:
    """Write a model with random weights and its data; the U-Net is one of text to video, without an image condition."""
    data = write_toy(Folder(str(place / "data")), DATA[kind])
    return write_model_of(BaseModel(kind, data, place / "model"), seed)


def write_model_of(base: BaseModel, seed: int) -> BaseModel:
    """Write the model alone."""
    facts = Source(base.data.uri, Artifacts()).facts
    torch.manual_seed(seed)
    network: VideoModel = BACKBONES[base.kind].new(facts.shapes)
    if base.kind == "unet":
        sizes = {name: value for name, value in network.config.items() if not name.startswith("_")}
        network = VideoUNet(**sizes | {"image_condition": "none"})
    card = ModelFacts(facts.latents, facts.scaling_factor, facts.text, base.process, *facts.shape[1:])
    save_model(base.folder, filled(network, seed), ModelCard(card))
    return base
