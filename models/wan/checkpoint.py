"""Opens Wan's transformers as published: the folders of diffusers' pipelines, in one file or in shards."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from base.errors import WeightsError
from base.weights import LocalWeights, Weights, locate
from models.network_files import read_network
from models.wan.backbone import IMAGE_CONDITIONS, image_condition

if TYPE_CHECKING:  # diffusers takes many seconds to import
    from models.wan.transformer import VideoWan

_NAME = "diffusion_pytorch_model.safetensors"
_FILES = (("config.json",), (_NAME, f"{_NAME}.index.json"))
_PURPOSE = "Wan's transformer"
_UNUSED = "norm_added_q"  # in the files of Wan 2.1 I2V, and used by no model


def find(weights: Weights, *, download: bool = True) -> LocalWeights:
    """The config and the tensors of a pipeline's transformer on this machine.

    ``weights`` names the pipeline's folder, hub id or S3 path; its ``subfolder`` is ``transformer`` unless given, as
    for the expert for low noise of A14B, ``transformer_2``.
    """
    return locate(replace(weights, subfolder=weights.subfolder or "transformer"), _FILES, _PURPOSE, download=download)


def load(weights: Weights, dtype: torch.dtype = torch.float32) -> "VideoWan":
    """The network, in evaluation mode on the CPU; WeightsError if it is missing, incomplete or of another kind."""
    from models.wan.transformer import VideoWan

    settings, *tensors = find(weights).files
    config: dict[str, Any] = json.loads(settings.read_text())
    _check(config, settings)
    files = [path for path in tensors if path.suffix == ".safetensors"]
    network: VideoWan = read_network(VideoWan, settings, files, dtype, _UNUSED)
    return network


def _check(config: dict[str, Any], settings: Path) -> None:
    if config.get("pos_embed_seq_len") is not None:
        raise WeightsError(
            f"network: {settings} describes a model of first and last frames: give one of a first frame alone."
        )
    if not image_condition(config):
        raise WeightsError(
            f"network: {settings} has {config.get('in_channels')} channels in and {config.get('out_channels')} out, "
            f"which is none of motif's ways to give a picture, {', '.join(IMAGE_CONDITIONS)}. Give a model of image "
            "to video."
        )
