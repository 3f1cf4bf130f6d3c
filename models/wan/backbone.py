"""Wan's transformer as the backbone of a recipe."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

from base.errors import InputError
from models.latent_grid import LatentGrid
from models.video_model import Backbone, DataShapes, VideoModel

ImageCondition = Literal["clamp", "concat", "concat-tokens"]
IMAGE_CONDITIONS: tuple[ImageCondition, ...] = get_args(ImageCondition)
WAN22_GRID = LatentGrid(channels=48, stride=4, cell=16, patch=2)
"""Of the autoencoder of Wan2.2-TI2V-5B."""
WAN21_GRID = LatentGrid(channels=16, stride=4, cell=8, patch=2)
"""Of the autoencoder of Wan 2.1, and of Wan 2.2's models of 14 billion parameters."""
_PATCH = 2  # cells, along both sides
_TEXT_TOKENS = 512
_MASK = 4  # channels: one for each frame of a latent
_CLIP_WIDTH = 1280  # of the image encoder of Wan 2.1


def image_condition(config: Mapping[str, Any]) -> ImageCondition | None:
    """How a network with this config.json takes the picture; None if in none of these ways."""
    into, out = config.get("in_channels", 16), config.get("out_channels", 16)  # the defaults of diffusers
    if into == out:
        return "clamp"
    if into != 2 * out + _MASK:
        return None
    return "concat" if config.get("image_dim") is None else "concat-tokens"


@dataclass(frozen=True)
class Wan(Backbone):
    """The transformer; the default sizes are those of Wan2.2-TI2V-5B.

    ``image_condition``: with ``clamp`` the first latent is the picture's (TI2V-5B), with ``concat`` the latents of
    the picture and a mask are further channels (I2V-A14B), with ``concat-tokens`` it also attends to tokens of the
    picture (Wan2.1-I2V-14B).
    """

    name: ClassVar[str] = "wan"
    any_grid: ClassVar[bool] = True
    lora_targets: ClassVar[tuple[str, ...]] = ("to_q", "to_k", "to_v", "to_out.0", "ffn.net.0.proj", "ffn.net.2")
    start: str = ""
    image_condition: ImageCondition = "clamp"
    heads: int = 24
    head_dim: int = 128
    layers: int = 30
    feed_forward: int = 14336

    def __post_init__(self) -> None:
        """Check the sizes."""
        if min(self.heads, self.layers, self.feed_forward) < 1:
            raise ValueError(
                f"network.heads {self.heads}, layers {self.layers}, feed_forward {self.feed_forward}: must be 1 or more"
            )
        if self.head_dim < 6 or self.head_dim % 2:
            raise ValueError(f"network.head_dim {self.head_dim}: must be even and at least 6, for positions on 3 axes")

    @property
    def takes_image_tokens(self) -> bool:
        """Whether it uses image tokens."""
        return self.image_condition == "concat-tokens"

    @property
    def usual_shapes(self) -> DataShapes:
        """Clips of the recipe for TI2V-5B: 49 frames of 480 x 832."""
        return DataShapes(WAN22_GRID.shape(49, 480, 832), text=(_TEXT_TOKENS, 4096))

    def check(self, shapes: DataShapes) -> None:
        """InputError if patches do not divide the grid, the text is too long, or the data lacks its condition."""
        self._fit(shapes)
        if shapes.latent[1] < 2:
            raise InputError(
                "latents of 1 frame: the picture gives that frame, so there is nothing to learn. Preprocess longer "
                "clips."
            )
        if self.image_condition != "clamp":
            raise InputError(
                f"network.image_condition {self.image_condition}: no dataset holds the latents of a picture followed "
                "by empty frames yet, so it cannot be trained. Use clamp."
            )

    def _fit(self, shapes: DataShapes) -> None:
        height, width = shapes.latent[2:]
        if height % _PATCH or width % _PATCH:
            raise InputError(
                f"latents of {height} x {width} cells: Wan takes patches of {_PATCH} x {_PATCH} cells, so both sides "
                "must be even. Preprocess the videos at sides that are multiples of two cells."
            )
        if shapes.text[0] > _TEXT_TOKENS:
            raise InputError(f"text states of {shapes.text[0]} tokens: Wan takes at most {_TEXT_TOKENS}.")

    def new(self, shapes: DataShapes) -> VideoModel:
        """A network with random weights."""
        from models.wan.transformer import VideoWan

        self._fit(shapes)
        channels, width = shapes.latent[0], self.heads * self.head_dim
        tokens = shapes.image[1] if shapes.image else _CLIP_WIDTH
        made: VideoModel = VideoWan(
            num_attention_heads=self.heads,
            attention_head_dim=self.head_dim,
            num_layers=self.layers,
            ffn_dim=self.feed_forward,
            in_channels=channels if self.image_condition == "clamp" else 2 * channels + _MASK,
            out_channels=channels,
            text_dim=shapes.text[1],
            image_dim=tokens if self.takes_image_tokens else None,
            added_kv_proj_dim=width if self.takes_image_tokens else None,
        )
        return made

    def misfit(self, config: Mapping[str, Any]) -> str:
        """A message for a network that takes the picture in another way."""
        had = image_condition(config)
        if had == self.image_condition:
            return ""
        return (
            f"network.image_condition {self.image_condition}: the model in {self.start} was trained with {had}. Set it "
            "to that, or start from another model."
        )

    def summary(self) -> str:
        """Its sizes and the image condition."""
        return f"{self.layers} layers of {self.heads * self.head_dim}, {self.image_condition}"


TI2V_5B = Wan()
"""Wan2.2-TI2V-5B."""
I2V_A14B = Wan(image_condition="concat", heads=40, layers=40, feed_forward=13824)
"""One of the two experts of Wan2.2-I2V-A14B."""
I2V_14B = Wan(image_condition="concat-tokens", heads=40, layers=40, feed_forward=13824)
"""Wan2.1-I2V-14B."""
