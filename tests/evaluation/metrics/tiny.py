"""Tiny networks of the real architectures with random weights, in the files that users have."""

import json
import warnings
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

CLIP = {
    "embed_dim": 12,
    "quick_gelu": True,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
}


def write_clip(folder: Path, seed: int = 0) -> Path:
    """An open_clip folder."""
    import open_clip

    folder.mkdir()
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": CLIP, "preprocess_cfg": {}}))
    torch.manual_seed(seed)
    save_file(open_clip.CLIP(**CLIP).state_dict(), folder / "open_clip_model.safetensors")
    return folder


def write_dino(folder: Path, seed: int = 0) -> Path:
    """A folder in transformers' layout, with the names that facebook/dino-vitb16 has."""
    state = vit(seed).state_dict()
    named = {}
    for name, tensor in state.items():
        for new, part in dino_names(name, tensor):
            named[new] = part.contiguous()
    folder.mkdir()
    save_file(named, folder / "model.safetensors", {"format": "pt"})
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    more = {"image_size": 224, "patch_size": 16, "qkv_bias": True, "layer_norm_eps": 1e-6, "hidden_act": "gelu"}
    (folder / "config.json").write_text(json.dumps({"model_type": "vit", **sizes, **more}))
    return folder


def vit(seed: int = 0) -> nn.Module:
    """The same transformer by timm, whose names and forward pass are those of DINO's own code."""
    from timm.models.vision_transformer import VisionTransformer

    torch.manual_seed(seed)
    model = VisionTransformer(img_size=224, patch_size=16, embed_dim=16, depth=2, num_heads=2, num_classes=0)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model.eval()


def dino_names(name: str, tensor: Tensor) -> list[tuple[str, Tensor]]:
    """A tensor of timm's by the names of facebook/dino-vitb16."""
    whole = {
        "cls_token": "embeddings.cls_token",
        "pos_embed": "embeddings.position_embeddings",
        "patch_embed.proj.weight": "embeddings.patch_embeddings.projection.weight",
        "patch_embed.proj.bias": "embeddings.patch_embeddings.projection.bias",
        "norm.weight": "layernorm.weight",
        "norm.bias": "layernorm.bias",
    }
    if name in whole:
        return [(whole[name], tensor)]
    _, number, rest = name.split(".", 2)
    module, kind = rest.rsplit(".", 1)
    layer = f"encoder.layer.{number}"
    if module == "attn.qkv":
        parts = zip(("query", "key", "value"), tensor.chunk(3), strict=True)
        return [(f"{layer}.attention.attention.{part}.{kind}", rows) for part, rows in parts]
    inside = {
        "norm1": "layernorm_before",
        "norm2": "layernorm_after",
        "attn.proj": "attention.output.dense",
        "mlp.fc1": "intermediate.dense",
        "mlp.fc2": "output.dense",
    }
    return [(f"{layer}.{inside[module]}.{kind}", tensor)]


def write_aesthetic(path: Path, width: int = 12, seed: int = 0) -> Path:
    """A linear layer, as LAION's file has it."""
    torch.manual_seed(seed)
    torch.save(nn.Linear(width, 1).state_dict(), path)
    return path


class Colours(nn.Module):
    """In the place of I3D, and called like it: the mean of each channel, from -1 to 1, and its mean change."""

    def forward(self, x: Tensor, rescale: bool, resize: bool, return_features: bool) -> Tensor:
        if rescale:
            x = x / 127.5 - 1
        change = (x[:, :, 1:] - x[:, :, :-1]).abs().mean(dim=[2, 3, 4])
        return torch.cat([x.mean(dim=[2, 3, 4]), change], dim=1)


def write_i3d(path: Path, module: nn.Module | None = None) -> Path:
    """A TorchScript file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(module or Colours()), path)
    return path
