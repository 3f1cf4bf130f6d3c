"""Converts VideoCrafter2's checkpoint, with U-Net, autoencoder and text encoder in one file, to a model folder."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from base.weights import Weights
from diffusion.schedule import Schedule
from models.card import ModelCard, ModelFacts
from models.encoders import autoencoder, clip_text, text
from models.folder import need_room, new_folder, write_model
from models.videocrafter2 import names
from models.videocrafter2.checkpoint import Shapes, check, read

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

# eps-prediction; x_0 is scaled down with the timestep ("dynamic rescale", scale_b in its training config).
SCHEDULE = Schedule(prediction="eps", rescale=0.7, rescale_steps=400)


@dataclass(frozen=True)
class Sizes:
    """Sizes of the three models, by default VideoCrafter2's; others are for tests."""

    unet: dict[str, Any] = field(default_factory=dict)
    vae_widths: tuple[int, ...] = (128, 256, 512, 512)
    vae_groups: int = 32
    text: str = "ViT-H-14"


@dataclass(frozen=True)
class Target:
    """A model without weights, and the checkpoint's name, with prefix, of each of its tensors."""

    model: nn.Module
    names: dict[str, str]

    @property
    def shapes(self) -> Shapes:
        """The expected shape of each tensor of the checkpoint."""
        state = self.model.state_dict()
        return {original: state[ours].shape for original, ours in self.names.items()}

    def fill(self, tensors: dict[str, Tensor]) -> None:
        """Load the checkpoint's tensors without copying; they keep their dtype."""
        shapes = self.shapes
        state = {ours: tensors[original].reshape(shapes[original]) for original, ours in self.names.items()}
        self.model.load_state_dict(state, assign=True)


def targets(sizes: Sizes | None = None) -> dict[str, Target]:
    """The three models of a checkpoint, on the meta device: ``unet``, ``vae``, ``text_encoder``."""
    from models.videocrafter2.unet import VideoUNet

    sizes = sizes or Sizes()
    with torch.device("meta"):
        unet = VideoUNet(**{"image_condition": "none", **sizes.unet})
        vae = _autoencoder(sizes)
        tower = clip_text.ClipText(sizes.text)
    return {
        "unet": _target(unet, names.UNET, names.unet_names(unet.state_dict(), unet.config.layers_per_block)),
        "vae": _target(vae, names.VAE, names.vae_names(vae.state_dict(), len(sizes.vae_widths))),
        "text_encoder": _target(tower, names.TEXT, {name: name for name in tower.state_dict()}),
    }


def _target(model: nn.Module, prefix: str, named: dict[str, str]) -> Target:
    return Target(model, {prefix + original: ours for original, ours in named.items()})


def _autoencoder(sizes: Sizes) -> "AutoencoderKL":
    from diffusers import AutoencoderKL

    return AutoencoderKL(**autoencoder.base_config(sizes.vae_widths, sizes.vae_groups))


def convert(checkpoint: Path, out: Path, sizes: Sizes | None = None) -> ModelFacts:
    """Write the model folder ``out`` from a checkpoint (.ckpt or .safetensors) and return its facts.

    Averages, the schedule's buffers and the rest of CLIP are ignored. WeightsError if the checkpoint is not
    VideoCrafter2's; InputError if ``out`` is in use; StorageError for disk errors or too little space.
    """
    from models.videocrafter2.unet import VideoUNet

    with new_folder(out) as folder:
        tensors = read(checkpoint)
        found = targets(sizes)
        shapes = {name: shape for target in found.values() for name, shape in target.shapes.items()}
        check(tensors, shapes, checkpoint)
        need_room(folder, sum(tensors[name].nbytes for name in shapes))
        for target in found.values():
            target.fill(tensors)
        found["vae"].model.save_pretrained(folder / "vae")  # type: ignore[operator]
        _save_text(found["text_encoder"].model, folder / "text_encoder")
        facts = _facts(folder, checkpoint, sizes or Sizes())
        unet = found["unet"].model
        assert isinstance(unet, VideoUNet)
        write_model(folder, unet, ModelCard(facts))
    return facts


def _save_text(tower: nn.Module, folder: Path) -> None:
    from safetensors.torch import save_file

    folder.mkdir()
    state = {name: tensor.contiguous() for name, tensor in tower.state_dict().items()}
    save_file(state, folder / "open_clip_model.safetensors", metadata={"format": "pt"})


def _facts(folder: Path, checkpoint: Path, sizes: Sizes) -> ModelFacts:
    """16 frames of 320 x 512 pixels, an eighth of that in latents; identities as in a feature dataset."""
    vae = autoencoder.weights_hash(Weights(str(folder), subfolder="vae"))
    states = text.weights_hash(Weights(str(folder), subfolder="text_encoder"))
    return ModelFacts(
        latents={"encoder": "AutoencoderKL", "weights_tensors": vae},
        scaling_factor=autoencoder.SCALING_FACTOR,
        text={"encoder": sizes.text, "weights_tensors": states, "layer": "penultimate", "pad_id": 0},
        schedule=SCHEDULE,
        frames=16,
        height=40,
        width=64,
        origin=f"VideoCrafter2, converted from {checkpoint.name}",
    )
