"""UMT5's encoder, the text encoder of Wan: states of a prompt's own tokens, which zeros then follow.

As in diffusers' pipelines of Wan, prompts are cleaned, cut to 512 tokens, and padded with zeros after they are encoded.
Here they are encoded one by one and without padding, which the encoder would mask.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from jaxtyping import Float

from base.errors import WeightsError
from base.tensor_hash import tensor_hash
from base.torch_types import Device, Dtype, Tensor
from base.weights import LocalWeights, Weights, file_sha256, locate

KIND = "UMT5"
TOKENS = 512
"""The most that Wan takes; shorter prompts are padded to as many."""
_PURPOSE = "text encoder"
_FILES = (("config.json",), ("model.safetensors", "model.safetensors.index.json"))
_EMBEDDING = "shared.weight"
_SAME = "encoder.embed_tokens.weight"  # files have either name for it, or both
# Fields of config.json that change results for given tensors, with transformers' defaults; others are sizes.
_SETTINGS: dict[str, Any] = {
    "feed_forward_proj": "gated-gelu",
    "layer_norm_epsilon": 1e-6,
    "num_heads": 6,
    "relative_attention_max_distance": 128,
}


def umt5_xxl_config() -> dict[str, Any]:
    """The sizes of UMT5-XXL's encoder, as in its config.json."""
    return {
        "vocab_size": 256384,
        "d_model": 4096,
        "d_kv": 64,
        "d_ff": 10240,
        "num_layers": 24,
        "num_heads": 64,
        "feed_forward_proj": "gated-gelu",
    }


class Umt5:
    """A frozen encoder and its tokenizer, on a device."""

    def __init__(self, model: Any, tokenizer: Any, device: Device) -> None:
        from diffusers.pipelines.wan.pipeline_wan import prompt_clean

        self.model = model.eval().requires_grad_(False).to(device)
        self.tokenizer, self.clean, self.device = tokenizer, prompt_clean, device

    @classmethod
    def load(cls, weights: Weights, device: Device, dtype: Dtype) -> "Umt5":
        """Load from a folder of transformers' files, beside which is one ``tokenizer``, as in diffusers' models.

        WeightsError if the weights are missing.
        """
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(_find_tokenizer(weights).parent, local_files_only=True)
        return cls(_load(find(weights).folder, dtype), tokenizer, device)

    def states(self, prompt: str) -> Float[Tensor, "l d"]:
        """The last states of a prompt's tokens, at most 512, in the weights' precision; its end is one of them."""
        import torch

        ids = self.tokenizer(self.clean(prompt), truncation=True, max_length=TOKENS, return_tensors="pt").input_ids
        with torch.inference_mode():
            found: Tensor = self.model(ids.to(self.device)).last_hidden_state[0]
            return found

    def padded(self, prompts: Sequence[str]) -> Float[Tensor, "n l d"]:
        """The states of prompts, float32, followed by zeros up to 512."""
        import torch
        from torch.nn.functional import pad

        states = [self.states(prompt).float() for prompt in prompts]
        return torch.stack([pad(one, (0, 0, 0, TOKENS - len(one))) for one in states])


def new_encoder(config: Mapping[str, Any]) -> Any:
    """A UMT5EncoderModel with random weights on the default device, which may be meta; ``config`` as in config.json."""
    from transformers import UMT5Config, UMT5EncoderModel

    return UMT5EncoderModel(UMT5Config(**config))


def _load(folder: Path, dtype: Dtype) -> Any:
    """The encoder of a folder; tensors that it lacks would be random, so they are refused."""
    from transformers import UMT5EncoderModel

    from models.encoders.quiet import quiet

    try:
        with quiet():
            loaded: Any = UMT5EncoderModel.from_pretrained(
                folder, dtype=dtype, local_files_only=True, output_loading_info=True
            )
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise WeightsError(f"{_PURPOSE}: {folder} cannot be loaded ({reason}): download it again.") from error
    model, loading = loaded
    if missing := sorted(map(str, loading["missing_keys"])):
        raise WeightsError(f"{_PURPOSE}: {folder} lacks {', '.join(missing[:3])}: is it UMT5's encoder?")
    return model


def find(weights: Weights, *, download: bool = True) -> LocalWeights:
    """The encoder's files on this machine."""
    return locate(weights, _FILES, _PURPOSE, download=download)


def _find_tokenizer(weights: Weights) -> Path:
    """The tokenizer's file, in the folder ``tokenizer`` beside the encoder's."""
    beside = f"{weights.subfolder.rpartition('/')[0]}/tokenizer".strip("/")
    found = locate(replace(weights, subfolder=beside), (("tokenizer.json",), ("tokenizer_config.json",)), "tokenizer")
    return found.files[0]


def read_config(weights: Weights) -> dict[str, Any]:
    """The encoder's config.json."""
    config: dict[str, Any] = json.loads(find(weights).files[0].read_text())
    return config


def identity(weights: Weights, precision: str) -> dict[str, Any]:
    """The identity of states with these weights: by their tensors, the tokenizer's file, and the precision."""
    config, tensors = read_config(weights), [path for path in find(weights).files[1:] if path.suffix != ".json"]
    settings = {name: config.get(name, default) for name, default in _SETTINGS.items()}
    return {
        "encoder": KIND,
        "weights_tensors": tensor_hash(tensors, KIND, _one_name, settings),
        "tokenizer": file_sha256(_find_tokenizer(weights)),
        "tokens": TOKENS,
        "precision": precision,
        "version": 1,
    }


def _one_name(name: str) -> str:
    return _EMBEDDING if name == _SAME else name
