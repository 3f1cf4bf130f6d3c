"""SAM 2 and SAM 3's tracker in a tiny size with random weights, in folders as transformers saves them."""

from pathlib import Path
from typing import Any

import torch
import transformers

SIDE = 128
_WIDTH, _MEMORY = 128, 64  # the library's memory attention expects memories of this width, less than the model's
_SHARED: dict[str, Any] = {
    "prompt_encoder_config": {"hidden_size": _WIDTH},
    "mask_decoder_config": {"hidden_size": _WIDTH, "mlp_dim": 64, "iou_head_hidden_dim": _WIDTH},
    "memory_attention_hidden_size": _WIDTH,
    "memory_attention_num_layers": 1,
    "memory_attention_feed_forward_hidden_size": 64,
    "memory_encoder_hidden_size": _WIDTH,
    "memory_encoder_output_channels": _MEMORY,
    "mask_downsampler_embed_dim": _WIDTH,
    "memory_fuser_embed_dim": _WIDTH,
    "memory_fuser_intermediate_dim": 64,
    "memory_fuser_num_layers": 1,
    "num_maskmem": 3,
}


def save_sam2(folder: Path, seed: int = 0, **settings: Any) -> Path:
    """SAM 2 for pictures of 128 x 128."""
    levels = [[SIDE // cell] * 2 for cell in (4, 8, 16)]
    backbone = {
        "hidden_size": 8,
        "num_attention_heads": 1,
        "embed_dim_per_stage": [8, 16, 32, 64],
        "num_attention_heads_per_stage": [1, 1, 2, 2],
        "blocks_per_stage": [1, 1, 2, 1],
        "window_size_per_stage": [8, 4, 4, 4],
        "global_attention_blocks": [3],
        "image_size": [SIDE, SIDE],
    }
    config = transformers.Sam2VideoConfig(
        **_SHARED
        | {
            "vision_config": transformers.Sam2VisionConfig(
                backbone_config=transformers.Sam2HieraDetConfig(**backbone),
                backbone_channel_list=[64, 32, 16, 8],
                backbone_feature_sizes=levels,
                fpn_hidden_size=_WIDTH,
            ),
            "prompt_encoder_config": {"hidden_size": _WIDTH, "image_size": SIDE},
            "image_size": SIDE,
            "memory_attention_rope_feat_sizes": levels[-1],
        }
        | settings
    )
    return _save(transformers.Sam2VideoModel, config, folder, seed)


def save_sam3(folder: Path, seed: int = 0) -> Path:
    """SAM 3's tracker for pictures of 112 x 112."""
    backbone = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "image_size": 112,
        "pretrain_image_size": 56,
        "window_size": 4,
        "global_attn_indexes": [1],
    }
    vision = transformers.Sam3VisionConfig(
        backbone_config=transformers.Sam3ViTConfig(**backbone), fpn_hidden_size=_WIDTH
    )
    config = transformers.Sam3TrackerVideoConfig(**_SHARED, vision_config=vision, image_size=112)
    return _save(transformers.Sam3TrackerVideoModel, config, folder, seed)


def _save(kind: Any, config: Any, folder: Path, seed: int) -> Path:
    """With weights that are larger than untrained ones, so that masks have edges, and objects always there."""
    torch.manual_seed(seed)
    model = kind(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.normal_(std=1.5 / parameter[0].numel() ** 0.5)
        model.mask_decoder.pred_obj_score_head.proj_out.bias.fill_(50.0)
    model.save_pretrained(folder)
    return folder
