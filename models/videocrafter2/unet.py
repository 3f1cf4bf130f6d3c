"""VideoCrafter2's U-Net as a thin subclass of diffusers' UNet3DConditionModel, with MotiF's image condition.

The parent has all but four of the base model's tensors. Added here: the FPS embedding, the image condition, LivePhoto's
motion level, residual dropout and gradient checkpointing, which the parent disables.
"""

from collections.abc import Iterator
from typing import Any, Literal, cast

import torch
from diffusers import UNet3DConditionModel
from diffusers.configuration_utils import register_to_config
from diffusers.models.embeddings import TimestepEmbedding
from diffusers.models.resnet import ResnetBlock2D, TemporalConvLayer
from diffusers.models.transformers.transformer_2d import Transformer2DModel
from diffusers.models.transformers.transformer_temporal import TransformerTemporalModel
from einops import repeat
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from diffusion.options import MOTION_LEVELS
from models.video_model import VideoModel
from models.videocrafter2.resampler import Resampler

ImageCondition = Literal["none", "x-cat", "cx-attn", "both"]

# Units of gradient checkpointing. Whole blocks would save less, but recomputing them would need as much memory as that
# saves; the parent's own option only covers some of the transformers.
RECOMPUTED = (ResnetBlock2D, TemporalConvLayer, Transformer2DModel, TransformerTemporalModel)
_MOTION_MAPS = 2


class VideoUNet(VideoModel, UNet3DConditionModel):  # type: ignore[misc]
    """A U-Net for latents of clips, conditioned on text, frame rate and the first frame.

    The defaults are VideoCrafter2's sizes. All levels except the last attend to the text. ``attention_head_dim`` is the
    width of a head, and must divide every level's width, as must ``norm_num_groups``. ``dropout`` is that of residual
    blocks (0 in VideoCrafter2, 0.1 in DynamiCrafter).

    ``image_condition``: ``x-cat`` concatenates the first frame's latent to every frame of the sample along channels
    (as in MotiF); ``cx-attn`` appends ``image_tokens`` tokens, resampled from an image encoder's of
    ``image_token_width``, to the text states; ``both``; or ``none``, a text-to-video model. ``out_channels`` defaults
    to ``latent_channels``. ``motion_level`` adds two channels, as in LivePhoto: the level, and the frame's place.
    """

    _supports_gradient_checkpointing = True

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(  # noqa: PLR0913 - diffusers takes a model's config from its constructor
        self,
        out_channels: int | None = None,
        block_out_channels: tuple[int, ...] | list[int] = (320, 640, 1280, 1280),
        layers_per_block: int = 2,
        cross_attention_dim: int = 1024,
        attention_head_dim: int = 64,
        norm_num_groups: int = 32,
        dropout: float = 0.0,
        latent_channels: int = 4,
        image_condition: ImageCondition = "x-cat",
        image_token_width: int = 1280,
        image_tokens: int = 16,
        motion_level: bool = False,
    ) -> None:
        _check_sizes(block_out_channels, attention_head_dim, norm_num_groups)
        self_attended = len(block_out_channels) - 1
        concatenates = image_condition in ("x-cat", "both")
        self._plain_init()(
            self,
            in_channels=latent_channels * (1 + concatenates) + _MOTION_MAPS * motion_level,
            out_channels=latent_channels if out_channels is None else out_channels,
            down_block_types=("CrossAttnDownBlock3D",) * self_attended + ("DownBlock3D",),
            up_block_types=("UpBlock3D",) + ("CrossAttnUpBlock3D",) * self_attended,
            block_out_channels=tuple(block_out_channels),
            layers_per_block=layers_per_block,
            cross_attention_dim=cross_attention_dim,
            attention_head_dim=attention_head_dim,
            norm_num_groups=norm_num_groups,
        )
        self.concatenates, self.takes_motion_level = concatenates, motion_level
        self.time_embedding = _TimeAndRate(block_out_channels[0], 4 * block_out_channels[0])
        self.resampler: Resampler | None = None
        if image_condition in ("cx-attn", "both"):
            self.resampler = Resampler(image_token_width, cross_attention_dim, image_tokens)
        self.set_dropout(dropout)

    def set_dropout(self, dropout: float) -> None:
        """Change the dropout of residual blocks."""
        for module in self.modules():
            if isinstance(module, ResnetBlock2D):
                module.dropout.p = dropout
        self.register_to_config(dropout=dropout)

    def register_to_config(self, **values: Any) -> None:
        """As in diffusers; without ``motion_level`` if it is off, so that config.json is as in earlier versions."""
        if not values.get("motion_level"):
            values.pop("motion_level", None)
        super().register_to_config(**values)

    @staticmethod
    def _plain_init() -> Any:
        """The parent's constructor without its decorator, which would add the parent's arguments to our config."""
        return UNet3DConditionModel.__init__.__wrapped__

    def forward(  # noqa: PLR0913 - a condition each
        self,
        sample: Float[Tensor, "b c t h w"],
        timestep: Shaped[Tensor, " b"],
        text: Float[Tensor, "b l d"],
        fps: Shaped[Tensor, " b"],
        image_latent: Float[Tensor, "b c h w"] | None = None,
        image_tokens: Float[Tensor, "b n k"] | None = None,
        motion_level: Shaped[Tensor, " b"] | None = None,
    ) -> Float[Tensor, "b o t h w"]:
        """Predict the schedule's target (noise or v) from noisy latents at a timestep, in the compute dtype.

        ``text`` are states, ``fps`` frames per second, ``image_latent`` the first frame's latent, ``image_tokens`` an
        image encoder's, ``motion_level`` 1 to 10. Inputs are cast to the weights' dtype. ValueError names a missing or
        unsupported condition.
        """
        _check_given("image_latent", image_latent, self.concatenates)
        _check_given("image_tokens", image_tokens, self.resampler is not None)
        _check_given("motion_level", motion_level, self.takes_motion_level)
        dtype = self.conv_in.weight.dtype
        channels = [sample]
        if image_latent is not None:
            channels.append(repeat(image_latent, "b c h w -> b c t h w", t=sample.shape[2]))
        if motion_level is not None:
            channels.append(_motion_maps(motion_level, sample))
        states = text.to(dtype)
        if image_tokens is not None and self.resampler is not None:
            states = torch.cat([states, self.resampler(image_tokens)], dim=1)
        out: Tensor = super().forward(
            torch.cat([part.to(dtype) for part in channels], dim=1),
            timestep,
            states,
            timestep_cond=self.time_proj(fps),
            return_dict=False,
        )[0]
        return out

    @classmethod
    def from_config(cls, config: Any, **options: Any) -> "VideoUNet":
        """As in diffusers; ignores a field that earlier versions wrote, which was always 0."""
        known = {name: value for name, value in dict(config).items() if name != "extra_channels"}
        return cast(VideoUNet, super().from_config(known, **options))

    @classmethod
    def from_text_to_video(cls, base: "VideoUNet", image_condition: ImageCondition, **changes: Any) -> "VideoUNet":
        """A copy of a text-to-video model with an image condition; ``changes`` are further constructor arguments.

        As :meth:`grown`. With ``x-cat`` the output initially equals the base model's for any image. With ``cx-attn`` it
        is only close: the resampler starts with zero tokens, which contribute nothing to
        cross-attention but take a share of its softmax, so its result shrinks by the sum of the text's exponentials
        over that sum plus the number of image tokens.
        ValueError if the base has an image condition, or a size would change.
        """
        if base.config.image_condition != "none":
            raise ValueError(
                f"base has image_condition '{base.config.image_condition}': only a text-to-video model can grow"
            )
        return cls.grown(base, image_condition=image_condition, **changes)

    @classmethod
    def grown(cls, base: "VideoUNet", **changes: Any) -> "VideoUNet":
        """A copy of a model with conditions that it lacks; ``changes`` are constructor arguments.

        The first convolution is extended by zeros, so with ``motion_level`` the output initially equals the base
        model's for any level, bit for bit on a CPU; a GPU's kernel may round otherwise for other numbers of channels.
        ValueError if a size would change.
        """
        config = {name: value for name, value in base.config.items() if not name.startswith("_")}
        with torch.device("meta"):
            grown: VideoUNet = cls(**config | changes)
        state = {name: tensor.clone() for name, tensor in base.state_dict().items()}
        state["conv_in.weight"] = _columns(base, grown)
        if grown.resampler is not None and base.resampler is None:
            sizes = grown.config
            fresh = Resampler(sizes.image_token_width, sizes.cross_attention_dim, sizes.image_tokens)
            fresh = fresh.to(base.conv_in.weight)
            state |= {f"resampler.{name}": tensor for name, tensor in fresh.state_dict().items()}
        try:
            grown.load_state_dict(state, assign=True)
        except RuntimeError as error:
            raise ValueError(f"changes {sorted(changes)}: the base model's tensors do not fit these sizes") from error
        grown.train(base.training)
        return grown

    @property
    def conditions(self) -> tuple[str, ...]:
        """Text, frame rate, the image conditions of ``image_condition``, and the motion level if it takes one."""
        latent = ("image_latent",) if self.concatenates else ()
        tokens = ("image_tokens",) if self.resampler is not None else ()
        return ("text", "fps", *latent, *tokens, *(("motion_level",) if self.takes_motion_level else ()))

    @property
    def latent_channels(self) -> int:
        """Channels of a latent."""
        return int(self.config.latent_channels)

    def recomputed_units(self) -> Iterator[nn.Module]:
        """Residual blocks and transformers."""
        return (module for module in self.modules() if isinstance(module, RECOMPUTED))

    def condition_units(self) -> Iterator[nn.Module]:
        """The resampler, and the keys and values of cross-attention."""
        if self.resampler is not None:
            yield self.resampler
        for module in self.modules():
            if isinstance(module, Transformer2DModel):
                for block in module.transformer_blocks:
                    yield from (block.attn2.to_k, block.attn2.to_v)

    def sharded_units(self) -> Iterator[nn.Module]:
        """The blocks of each level."""
        yield from (*self.down_blocks, self.mid_block, *self.up_blocks)


class _TimeAndRate(TimestepEmbedding):  # type: ignore[misc]
    """The sum of timestep and frame rate embeddings; the rate takes the place of the parent's ``timestep_cond``."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__(channels, width)
        self.fps_embedding = TimestepEmbedding(channels, width)

    def forward(self, sample: Float[Tensor, "b s"], condition: Float[Tensor, "b s"]) -> Float[Tensor, "b d"]:
        dtype = self.linear_1.weight.dtype
        out: Tensor = super().forward(sample.to(dtype)) + self.fps_embedding(condition.to(dtype))
        return out


def _inputs(unet: VideoUNet) -> dict[str, int]:
    """What the first convolution is given, in this order, and the channels of each."""
    latent = unet.latent_channels
    image, motion = {"image": latent} if unet.concatenates else {}, {"motion": _MOTION_MAPS}
    return {"sample": latent, **image, **(motion if unet.takes_motion_level else {})}


def _columns(base: VideoUNet, grown: VideoUNet) -> Float[Tensor, "d i y x"]:
    """The weights of a base model's first convolution at their places in that of another, whose others are zeros."""
    weight = base.conv_in.weight.detach()
    had = dict(zip(_inputs(base), weight.split(list(_inputs(base).values()), dim=1), strict=True))
    zeros = {name: weight.new_zeros(len(weight), count, *weight.shape[2:]) for name, count in _inputs(grown).items()}
    return torch.cat([had.get(name, none) for name, none in zeros.items()], dim=1)


def _motion_maps(level: Shaped[Tensor, " b"], sample: Float[Tensor, "b c t h w"]) -> Float[Tensor, "b 2 t h w"]:
    """Maps of the level, -1 for the stillest to 1, and of each frame's place in the clip, 0 to 1."""
    levels = (2 * level.float() - (MOTION_LEVELS + 1)) / (MOTION_LEVELS - 1)
    places = torch.linspace(0, 1, sample.shape[2], device=sample.device)
    maps = (repeat(levels, "b -> b t", t=len(places)), repeat(places, "t -> b t", b=len(levels)))
    return repeat(torch.stack(maps, dim=1), "b c t -> b c t h w", h=sample.shape[3], w=sample.shape[4])


def _check_sizes(widths: tuple[int, ...] | list[int], head: int, groups: int) -> None:
    for width in widths:
        if width % head or width % groups:
            raise ValueError(
                f"block_out_channels {tuple(widths)}: attention_head_dim {head} and norm_num_groups {groups} must "
                f"divide each, and do not divide {width}"
            )


def _check_given(name: str, value: Tensor | None, wanted: bool) -> None:
    if wanted and value is None:
        raise ValueError(f"{name} is missing: this U-Net is conditioned on it")
    if not wanted and value is not None:
        raise ValueError(f"{name} is given, but this U-Net does not use it: omit it, or load another model")
