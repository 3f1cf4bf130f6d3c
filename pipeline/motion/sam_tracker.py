"""SAM 2 (Ravi et al. 2024) and SAM 3's tracker, transformers' models, applied to clips.

The library follows one video at a time, object by object. Here the frames of several clips go through the image
encoder together, and its features are handed to the library's sessions, which do the rest.
"""

from collections.abc import Sequence
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from pipeline.motion.batching import in_groups
from pipeline.motion.prompts import Points
from pipeline.motion.sam import Family


class SamTracker:
    """A mask model on a device, in evaluation mode, in one precision."""

    def __init__(self, family: Family, model: Any, device: torch.device, dtype: torch.dtype, clips: int = 1) -> None:
        self.model = model.eval().requires_grad_(False).to(device, dtype)
        self.processor = _processor(family, int(model.image_size))
        self.device, self.dtype = device, dtype
        self.clips = clips
        """Clips in one pass of the image encoder; in a fixed number, so that a clip's masks do not depend on others."""
        self._levels: list[tuple[int, int]] = []
        self._places: list[Tensor] = []

    def __call__(self, frames: UInt8[Tensor, "n t h w 3"], points: Sequence[Points]) -> Bool[Tensor, "n t h w"]:
        """The union of the masks of each clip's objects; every clip has at least one prompt."""
        _, _, height, width, _ = frames.shape
        masks = []
        for first in range(0, len(frames), self.clips):
            group = slice(first, first + self.clips)
            encoded = in_groups(self._encode_clips, frames[group], self.clips)
            masks += [self.follow(*one, height, width) for one in zip(encoded, points[group], strict=True)]
        return torch.stack(masks)

    @torch.inference_mode()
    def _encode_clips(self, clips: UInt8[Tensor, "n t h w 3"]) -> Float[Tensor, "n t e"]:
        images = rearrange(clips, "n t h w c -> (n t) c h w")
        made = self.processor.video_processor(videos=images, device=self.device, return_tensors="pt")
        encoded = self.encode(made.pixel_values_videos[0].to(self.dtype))
        return rearrange(encoded, "(n t) e -> n t e", n=len(clips))

    @torch.inference_mode()
    def encode(self, pixels: Float[Tensor, "b 3 s s"]) -> Float[Tensor, "b e"]:
        """All levels of the image encoder's features, as one row per frame, of frames as the processor makes them."""
        found = self.model.get_image_features(pixels, return_dict=True)
        levels = found.fpn_hidden_states  # of each level "cells b channels"
        self._levels = [(level.shape[0], level.shape[2]) for level in levels]
        self._places = [place[:, :1] for place in found.fpn_position_encoding]  # the same for every frame
        return torch.cat([rearrange(level, "s b c -> b (s c)") for level in levels], dim=1)

    @torch.inference_mode()
    def follow(self, encoded: Float[Tensor, "t e"], points: Points, height: int, width: int) -> Bool[Tensor, "t h w"]:
        """The union of the masks of a clip's objects, each prompted by a pixel of the first of ``encoded`` frames."""
        session = self.processor.init_video_session(
            inference_device=self.device, dtype=self.dtype, max_vision_features_cache_size=len(encoded)
        )
        for number, row in enumerate(encoded):
            session.add_new_frame(row.new_empty(0), number)  # which is counted, never looked at
            features = {"vision_feats": self._unpack(row), "vision_pos_embeds": self._places}
            session.cache.cache_vision_features(number, features)
        self.processor.add_inputs_to_inference_session(
            session,
            frame_idx=0,
            obj_ids=list(range(len(points))),
            input_points=[[[[float(x), float(y)]] for x, y in points]],
            input_labels=[[[1] for _ in points]],
            original_size=(height, width),
        )
        masks = []
        for found in self.model.propagate_in_video_iterator(session, start_frame_idx=0):
            (objects,) = self.processor.post_process_masks([found.pred_masks.float()], [[height, width]])
            masks.append(objects.any(dim=0)[0])
        return torch.stack(masks)

    def _unpack(self, row: Float[Tensor, " e"]) -> list[Float[Tensor, "s 1 c"]]:
        parts = torch.split(row, [cells * channels for cells, channels in self._levels])
        return [part.view(cells, 1, channels) for part, (cells, channels) in zip(parts, self._levels, strict=True)]


def _processor(family: Family, side: int) -> Any:
    """What prepares frames and prompts for a model of ``side`` x ``side`` pixels, as published with its weights."""
    import transformers  # seconds

    size = {"height": side, "width": side}
    if family == "sam2":
        images, videos = transformers.Sam2ImageProcessor(size=size), transformers.Sam2VideoVideoProcessor(size=size)
        return transformers.Sam2VideoProcessor(images, videos)
    half = [0.5, 0.5, 0.5]
    return transformers.Sam3TrackerVideoProcessor(
        transformers.Sam3ImageProcessor(size=size),
        transformers.Sam2VideoVideoProcessor(size=size, image_mean=half, image_std=half),
    )
