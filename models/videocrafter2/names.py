"""Maps tensor names of our modules to those in VideoCrafter2's checkpoint."""

import re
from collections.abc import Iterable

UNET, VAE, TEXT = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.model."

_OUTSIDE_BLOCKS = {
    "time_embedding.fps_embedding.linear_1": "fps_embedding.0",
    "time_embedding.fps_embedding.linear_2": "fps_embedding.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "conv_in": "input_blocks.0.0",
    "transformer_in": "init_attn.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}
_IN_RESIDUAL_BLOCKS = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
# The index of a module within its layer.
_PLACES = {"resnets": 0, "temp_convs": 0, "attentions": 1, "temp_attentions": 2}
_IN_BLOCK = re.compile(
    r"(?P<side>down_blocks\.|mid_block|up_blocks\.)(?P<level>\d*)\.(?P<kind>\w+)\.(?P<layer>\d+)\.(?P<rest>.+)"
)

_IN_VAE = (
    (r"\.conv_norm_out\.", ".norm_out."),
    (r"\.conv_shortcut\.", ".nin_shortcut."),
    (r"\.(down|up)_blocks\.", r".\1."),
    (r"\.(down|up)samplers\.0\.", r".\1sample."),
    (r"(down|up)\.(\d+)\.resnets\.", r"\1.\2.block."),
    (r"\.mid_block\.", ".mid."),
    (r"\.attentions\.0\.group_norm\.", ".attn_1.norm."),
    (r"\.attentions\.0\.to_out\.0\.", ".attn_1.proj_out."),
    (r"\.attentions\.0\.to_([qkv])\.", r".attn_1.\1."),
)

# Further content of a checkpoint: the schedule, an average, a training loss, the rest of CLIP.
_ASIDE = re.compile(
    r"betas|alphas_cumprod(_prev)?|(sqrt|log)_(one_minus|recip|recipm1)?_?alphas_cumprod|posterior_\w+|scale_arr|logvar"
    r"|model_ema\..*|first_stage_model\.loss\..*"
    r"|cond_stage_model\.model\.(visual\..*|text_projection|logit_scale|attn_mask)"
)


def is_ignored(name: str) -> bool:
    """Whether a tensor of the checkpoint is known but not needed."""
    return _ASIDE.fullmatch(name) is not None


def unet_names(ours: Iterable[str], layers: int) -> dict[str, str]:
    """Original name (without prefix) -> name here, for a U-Net's tensors; ``layers`` residual blocks per level."""
    return {_original(name, layers): name for name in ours}


def _original(name: str, layers: int) -> str:
    for module, original in _OUTSIDE_BLOCKS.items():
        if name.startswith(f"{module}."):
            return original + name.removeprefix(module)
    match = _IN_BLOCK.fullmatch(name)
    assert match, name
    side, kind, layer, rest = match["side"], match["kind"], int(match["layer"]), match["rest"]
    if kind == "resnets":
        part, _, leaf = rest.partition(".")
        rest = f"{_IN_RESIDUAL_BLOCKS[part]}.{leaf}"
    elif kind == "temp_convs":
        rest = f"temopral_conv.{rest}"  # the original's spelling
    if side == "mid_block":  # residual block, attention, temporal attention, residual block
        return f"middle_block.{_PLACES[kind] + 3 * layer}.{rest}"
    level, count = int(match["level"]), layers + 1
    if kind == "downsamplers":
        return f"input_blocks.{count * (level + 1)}.0.{rest.replace('conv', 'op')}"
    if kind == "upsamplers":  # after the attentions of its layer, which the first level lacks
        return f"output_blocks.{count * level + layers}.{1 if level == 0 else 3}.{rest}"
    block = f"input_blocks.{count * level + 1 + layer}" if side == "down_blocks." else None
    return f"{block or f'output_blocks.{count * level + layer}'}.{_PLACES[kind]}.{rest}"


def vae_names(ours: Iterable[str], levels: int) -> dict[str, str]:
    """The same for an AutoencoderKL; the levels of its decoder are counted in reverse."""
    return {_original_vae(name, levels): name for name in ours}


def _original_vae(name: str, levels: int) -> str:
    for pattern, original in _IN_VAE:
        name = re.sub(pattern, original, name)
    name = re.sub(r"(?<=mid\.)resnets\.(\d)", lambda match: f"block_{int(match[1]) + 1}", name)
    return re.sub(r"(?<=decoder\.up\.)\d+", lambda match: str(levels - 1 - int(match[0])), name)
