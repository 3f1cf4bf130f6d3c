"""Parts of Wan's pipeline with tiny random weights, as diffusers' folders hold them."""

from pathlib import Path

import torch
from diffusers import AutoencoderKLWan
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, UMT5Config, UMT5EncoderModel

from models.wan.backbone import Wan

MEANS, DEVIATIONS = [0.1, 0.2, -0.3, 0.4], [0.5, 2.0, 1.5, 0.7]
NETWORK = Wan(heads=2, head_dim=12, layers=2, feed_forward=32)
TEXT_WIDTH = 16


def autoencoder(cell: int) -> AutoencoderKLWan:
    """With cells of 8 pixels as in Wan 2.1, or of 16 as in Wan2.2-TI2V-5B; 4 channels."""
    large = {"is_residual": True, "patch_size": 2, "in_channels": 12, "out_channels": 12, "decoder_base_dim": 4}
    torch.manual_seed(2)
    return AutoencoderKLWan(
        base_dim=4, z_dim=4, num_res_blocks=1, latents_mean=MEANS, latents_std=DEVIATIONS,
        scale_factor_spatial=cell, scale_factor_temporal=4, **(large if cell == 16 else {}),
    )  # fmt: skip


def tokenizer() -> PreTrainedTokenizerFast:
    """Of letters and a few words; as T5's, it ends a text with its token of the end and begins it with none."""
    pieces = ["<pad>", "</s>", "<unk>", *"abcdefghijklmnopqrstuvwxyz&.", "star", "moves", "left", "right"]
    made = Tokenizer(models.Unigram([(piece, -1.0 - 0.01 * at) for at, piece in enumerate(pieces)], unk_id=2))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")


def text_encoder() -> UMT5EncoderModel:
    """Two layers, 16 wide."""
    torch.manual_seed(3)
    config = UMT5Config(vocab_size=40, d_model=TEXT_WIDTH, d_kv=4, d_ff=32, num_layers=2, num_heads=4)
    return UMT5EncoderModel(config).eval()


def write_encoders(folder: Path, cell: int = 16) -> Path:
    """The folders ``vae``, ``text_encoder`` and ``tokenizer``."""
    autoencoder(cell).save_pretrained(folder / "vae")
    text_encoder().save_pretrained(folder / "text_encoder")
    tokenizer().save_pretrained(folder / "tokenizer")
    return folder
