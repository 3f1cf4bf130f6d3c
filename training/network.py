"""The network of a run: which one, from which weights, and whether the data fits it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from base.errors import InputError, WeightsError
from base.storage.uri import local_path
from base.weights import Weights
from models.encoders.same_weights import Recorded, same_weights, unlike_settings
from models.folder import BASE_MODEL, Part, find_part, load_facts, load_unet, no_base_model
from training.data.source import ENCODERS, SourceFacts

if TYPE_CHECKING:  # diffusers takes many seconds to import: only where a network is made
    from models.videocrafter2.unet import VideoUNet

ImageCondition = Literal["x-cat", "cx-attn", "both"]


@dataclass(frozen=True)
class Network:
    """Where training starts.

    ``start`` is a model folder: of a text-to-video model, which then learns the image condition, or of a run to go on
    from. Empty: random weights of the sizes below, which otherwise count for ``--dry-run`` alone. The defaults are
    VideoCrafter2's.
    """

    start: str = BASE_MODEL
    image_condition: ImageCondition = "x-cat"
    block_out_channels: tuple[int, ...] = (320, 640, 1280, 1280)
    layers_per_block: int = 2
    attention_head_dim: int = 64
    norm_num_groups: int = 32
    dropout: float = 0.0

    def __post_init__(self) -> None:
        """Refuse sizes that cannot be built."""
        for width in self.block_out_channels:
            if width < 1 or width % self.attention_head_dim or width % self.norm_num_groups:
                raise ValueError(
                    f"network.block_out_channels {self.block_out_channels}: {width} must be a multiple of "
                    f"attention_head_dim, {self.attention_head_dim}, and of norm_num_groups, {self.norm_num_groups}"
                )
        if not self.block_out_channels or self.layers_per_block < 1:
            raise ValueError("network: block_out_channels names at least one level, layers_per_block is at least 1")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"network.dropout {self.dropout}: from 0 to below 1")

    @property
    def takes_image_tokens(self) -> bool:
        """Whether the dataset must hold image tokens."""
        return self.image_condition != "x-cat"


# What the paper's data looks like, for a dry run without data.
PAPER = SourceFacts(
    latents={}, scaling_factor=0.18215, shape=(4, 16, 40, 64), pixels=(320, 512), text={}, text_shape=(77, 1024),
    image_shape=(257, 1280),
)  # fmt: skip


def new_network(network: Network, facts: SourceFacts) -> "VideoUNet":
    """A network with random weights that fits the data; on the default device, which may be meta."""
    from models.videocrafter2.unet import VideoUNet

    made: VideoUNet = VideoUNet(
        latent_channels=facts.shape[0],
        out_channels=facts.shape[0],
        block_out_channels=network.block_out_channels,
        layers_per_block=network.layers_per_block,
        cross_attention_dim=facts.text_shape[1],
        attention_head_dim=network.attention_head_dim,
        norm_num_groups=network.norm_num_groups,
        dropout=network.dropout,
        image_condition=network.image_condition,
        image_token_width=facts.image_shape[1] if facts.image_shape else 1280,
    )
    return made


def build_network(network: Network, facts: SourceFacts, seed: int) -> "VideoUNet":
    """The network with its first weights, on the CPU, float32. InputError where the start does not fit."""
    if not network.start:
        torch.manual_seed(seed)
        return new_network(network, facts)
    check_start(network, facts)
    unet = load_unet(local_path(network.start), torch.float32)
    had = unet.config.image_condition
    if had == network.image_condition:
        unet.set_dropout(network.dropout)
        return unet
    from models.videocrafter2.unet import VideoUNet

    torch.manual_seed(seed)
    width = facts.image_shape[1] if facts.image_shape else 1280
    grown: VideoUNet = VideoUNet.from_text_to_video(
        unet, network.image_condition, image_token_width=width, dropout=network.dropout
    )
    return grown


def check_start(network: Network, facts: SourceFacts) -> None:
    """InputError where the model to start from is missing or was made for other data."""
    if not network.start:
        return
    folder = local_path(network.start)
    if not folder.exists():
        raise InputError(
            f"{no_base_model('--base-model', network.start)} An empty --base-model starts from random weights."
        )
    check_facts(network.start, folder, facts)
    from models.videocrafter2.unet import VideoUNet

    had = VideoUNet.load_config(folder, subfolder="unet").get("image_condition", "none")
    if had not in ("none", network.image_condition):
        raise InputError(
            f"network.image_condition {network.image_condition}: the model in {network.start} was trained with {had}. "
            "Set it to that, or start from a text-to-video model."
        )


def check_facts(name: str, folder: Path | Weights, data: SourceFacts) -> None:
    """InputError where the model in a folder was made for another latent space, size or encoder than the data's."""
    model = load_facts(folder)
    for kind, part in ENCODERS.items():
        first = Recorded(getattr(model, kind), _find(folder, part))
        other = Recorded(getattr(data, kind), data.encoders.get(kind))
        for key in unlike_settings(first.identity, other.identity):
            raise _unlike(name, f"{kind}.{key}", first.identity[key], other.identity[key])
        if first.identity and other.identity and not same_weights(kind, first, other):
            raise _unlike(name, f"weights of {kind}", f"those of {first.told()}", f"those of {other.told()}")
    compared: list[tuple[str, Any, Any]] = [
        ("scaling_factor", model.scaling_factor, data.scaling_factor),
        ("t h w of latents", (model.frames, model.height, model.width), data.shape[1:]),
    ]
    for field, of_model, of_data in compared:
        if of_model != of_data:
            raise _unlike(name, field, of_model, of_data)


def _find(folder: Path | Weights, part: Part) -> Weights | None:
    try:
        return find_part(folder, part)
    except WeightsError:
        return None  # encoders without weights


def _unlike(name: str, field: str, of_model: Any, of_data: Any) -> InputError:
    return InputError(
        f"{field}: the model {name} has {of_model}, the dataset {of_data}. Preprocess the videos at the model's size "
        f"with its own encoders (`motif preprocess ... --base-model {name}`), or start from another model."
    )
