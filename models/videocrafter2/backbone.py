"""VideoCrafter2's U-Net as the backbone of a recipe."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

from base.config import OMITTED_BY_DEFAULT
from models.video_model import Backbone, DataShapes, VideoModel

if TYPE_CHECKING:  # diffusers takes many seconds to import
    from models.videocrafter2.unet import VideoUNet

_TOKEN_WIDTH = 1280  # of OpenCLIP ViT-H's visual tower


@dataclass(frozen=True)
class VideoCrafter2(Backbone):
    """The U-Net; the default sizes are VideoCrafter2's.

    ``image_condition``: ``x-cat`` concatenates the first frame's latent to every frame (as in MotiF), ``cx-attn`` adds
    cross-attention to tokens of the first frame, ``both`` does both; with ``none`` it is given no picture, and makes
    videos from text alone. ``motion_level``: it is given how much moves, from 1 to 10, as in LivePhoto.
    """

    name: ClassVar[str] = "videocrafter2"
    lora_targets: ClassVar[tuple[str, ...]] = ("to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2")
    image_condition: Literal["x-cat", "cx-attn", "both", "none"] = "x-cat"
    block_out_channels: tuple[int, ...] = (320, 640, 1280, 1280)
    layers_per_block: int = 2
    attention_head_dim: int = 64
    norm_num_groups: int = 32
    dropout: float = 0.0
    motion_level: bool = field(default=False, metadata=OMITTED_BY_DEFAULT)

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

    @property
    def takes_motion_level(self) -> bool:
        """Whether it uses motion levels."""
        return self.motion_level

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
            motion_level=self.motion_level,
        )
        return made

    def adapt(self, loaded: VideoModel, shapes: DataShapes) -> VideoModel:
        """The same network with this dropout, or one that begins with it and has the conditions that it lacks."""
        from models.videocrafter2.unet import VideoUNet

        unet = cast("VideoUNet", loaded)
        changes: dict[str, Any] = {"dropout": self.dropout, "motion_level": self.motion_level}
        grown: VideoUNet = unet
        if unet.config.image_condition != self.image_condition:
            width = shapes.image[1] if shapes.image else _TOKEN_WIDTH
            grown = VideoUNet.from_text_to_video(unet, self.image_condition, image_token_width=width, **changes)
        elif unet.takes_motion_level != self.motion_level:
            grown = VideoUNet.grown(unet, **changes)
        else:
            unet.set_dropout(self.dropout)
        return grown

    def misfit(self, config: Mapping[str, Any]) -> str:
        """A message for a model that was trained with another image condition, or with motion levels against these."""
        had = config.get("image_condition", "none")
        if had not in ("none", self.image_condition):
            return (
                f"network.image_condition {self.image_condition}: the model in {self.start} was trained with {had}. "
                "Set it to that, or start from a text-to-video model."
            )
        if config.get("motion_level") and not self.motion_level:
            return (
                f"network.motion_level {self.motion_level}: the model in {self.start} was trained with motion levels. "
                "Give --network.motion-level, or start from another model."
            )
        return ""

    @classmethod
    def takes_image(cls, config: Mapping[str, Any]) -> bool:
        """All but text-to-video models."""
        return bool(config.get("image_condition") != "none")

    def summary(self) -> str:
        """The image condition, and whether it is given a motion level."""
        image = "text to video" if self.image_condition == "none" else self.image_condition
        return f"{image}, motion level" if self.motion_level else image
