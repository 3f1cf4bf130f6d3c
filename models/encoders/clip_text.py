"""OpenCLIP's text tower, for text states."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from base.weights import Weights
from models.encoders import open_clip_weights, text


class ClipText(nn.Module):
    """OpenCLIP's text tower up to the penultimate layer, then the final norm, without projection.

    VideoCrafter2 conditions on these states (``FrozenOpenCLIPEmbedder``, layer "penultimate"). All 77 positions
    are used: the U-Net also attends to the padding, with id 0.
    """

    def __init__(self, architecture: str = "ViT-H-14") -> None:
        super().__init__()
        import open_clip

        model = open_clip_weights.create(architecture)
        self.token_embedding: nn.Embedding = model.token_embedding
        self.positional_embedding: nn.Parameter = model.positional_embedding
        self.transformer: nn.Module = model.transformer
        self.ln_final: nn.Module = model.ln_final
        self.register_buffer("attn_mask", model.attn_mask, persistent=False)
        self.tokenize = open_clip.get_tokenizer(architecture)

    @classmethod
    def load(cls, weights: Weights, architecture: str, device: torch.device, dtype: torch.dtype) -> "ClipText":
        """Load an open_clip checkpoint; tensors of its image tower are ignored."""
        with torch.device("meta"):
            encoder = cls(architecture)
        open_clip_weights.fill(encoder, text.find(weights).files[0], architecture, text.PURPOSE)
        encoder.attn_mask = torch.full((text.CONTEXT_LENGTH, text.CONTEXT_LENGTH), float("-inf")).triu_(1)
        return encoder.eval().requires_grad_(False).to(device, dtype)

    def tokens(self, captions: list[str]) -> Int[Tensor, "n l"]:
        """Token ids ``[n 77]``: start, words, end, then zeros; longer captions are truncated."""
        ids: Tensor = self.tokenize(captions)
        return ids

    @torch.inference_mode()
    def forward(self, tokens: Int[Tensor, "n l"]) -> Float[Tensor, "n l d"]:
        """States of all positions."""
        device = self.positional_embedding.device
        x = self.token_embedding(tokens.to(device)) + self.positional_embedding
        mask = self.get_buffer("attn_mask").to(x)
        blocks = self.transformer.resblocks
        assert isinstance(blocks, nn.ModuleList)
        for block in list(blocks)[:-1]:
            x = block(x, attn_mask=mask)
        states: Tensor = self.ln_final(x)
        return states
