"""VideoCrafter2's U-Net as the backbone of a recipe."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from models.video_model import Backbone, DataShapes, VideoModel

if TYPE_CHECKING:  # diffusers takes many seconds to import
    from models.videocrafter2.unet import VideoUNet

_TOKEN_WIDTH = 1280  # of OpenCLIP ViT-H's visual tower


@dataclass(frozen=True)
class VideoCrafter2(Backbone):
    """The U-Net; the default sizes are VideoCrafter2's.

    ``image_condition``: ``x-cat`` concatenates the first frame's latent to every frame (as in MotiF), ``cx-attn`` adds
    cross-attention to tokens of the first frame, ``both`` does both; with ``none`` it is given no picture, and makes
    videos from text alone.
    """

    name: ClassVar[str] = "videocrafter2"
    lora_targets: ClassVar[tuple[str, ...]] = ("to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2")
    image_condition: Literal["x-cat", "cx-attn", "both", "none"] = "x-cat"
    block_out_channels: tuple[int, ...] = (320, 640, 1280, 1280)
    layers_per_block: int = 2
    attention_head_dim: int = 64
    norm_num_groups: int = 32
    dropout: float = 0.0

    def __post_init__(self) -> None:
        """Check the sizes."""
        for width in self.block_out_channels:
            if width < 1 or width % self.attention_head_dim or width % self.norm_num_groups:
                raise ValueError(
                    f"network.block_out_channels {self.block_out_channels}: {width} must be a multiple of "
                    f"attention_head_dim, {self.attention_head_dim}, and of norm_num_groups, {self.norm_num_groups}"
                )
        if not self.block_out_channels or self.layers_per_block < 1:
            raise ValueError("network: block_out_channels needs a level, and layers_per_block must be at least 1")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"network.dropout {self.dropout}: must be from 0 to below 1")

    @property
    def takes_image_tokens(self) -> bool:
        """Whether it uses image tokens."""
        return self.image_condition in ("cx-attn", "both")

    def new(self, shapes: DataShapes) -> VideoModel:
        """A U-Net with random weights."""
        from models.videocrafter2.unet import VideoUNet

        made: VideoUNet = VideoUNet(
            latent_channels=shapes.latent[0],
            out_channels=shapes.latent[0],
            block_out_channels=self.block_out_channels,
            layers_per_block=self.layers_per_block,
            cross_attention_dim=shapes.text[1],
            attention_head_dim=self.attention_head_dim,
            norm_num_groups=self.norm_num_groups,
            dropout=self.dropout,
            image_condition=self.image_condition,
            image_token_width=shapes.image[1] if shapes.image else _TOKEN_WIDTH,
        )
        return made

    def adapt(self, loaded: VideoModel, shapes: DataShapes) -> VideoModel:
        """The same network with this dropout, or a text-to-video model with the image condition added."""
        from models.videocrafter2.unet import VideoUNet

        unet = cast("VideoUNet", loaded)
        if unet.config.image_condition == self.image_condition:
            unet.set_dropout(self.dropout)
            return unet
        width = shapes.image[1] if shapes.image else _TOKEN_WIDTH
        grown: VideoUNet = VideoUNet.from_text_to_video(
            unet, self.image_condition, image_token_width=width, dropout=self.dropout
        )
        return grown

    def misfit(self, config: Mapping[str, Any]) -> str:
        """A message for a model that was trained with another image condition."""
        had = config.get("image_condition", "none")
        if had in ("none", self.image_condition):
            return ""
        return (
            f"network.image_condition {self.image_condition}: the model in {self.start} was trained with {had}. "
            "Set it to that, or start from a text-to-video model."
        )

    @classmethod
    def takes_image(cls, config: Mapping[str, Any]) -> bool:
        """All but text-to-video models."""
        return bool(config.get("image_condition") != "none")

    def summary(self) -> str:
        """The image condition."""
        return "text to video" if self.image_condition == "none" else self.image_condition
