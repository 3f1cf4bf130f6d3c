from pathlib import Path

import numpy as np
import pytest
import torch

from base.errors import WeightsError
from base.weights import Weights
from models.encoders.clip_text import ClipText
from models.encoders.text import CONTEXT_LENGTH, HashedText

ARCHITECTURE = "ViT-S-32-alt"


@pytest.fixture(scope="module")
def encoder() -> ClipText:
    torch.manual_seed(0)
    return ClipText(ARCHITECTURE).eval()


def test_hashed_words_mean_the_same_everywhere() -> None:
    states = HashedText(tokens=8, width=32).encode(["the red circle moves left", "a red Circle", ""])
    assert states.shape == (3, 8, 32)
    position = 0.5 * HashedText(tokens=8, width=32).encode(["x"])[0, 0] * 0
    np.testing.assert_array_equal(states[0, 1], states[1, 1] + position)
    np.testing.assert_array_equal(states[0, 2], states[1, 2])
    assert not states[0, 5:].any()
    assert not states[2].any()
    assert np.abs(states[0, 0] - states[0, 1]).max() > 0.5


def test_hashed_words_are_cut_at_the_token_limit() -> None:
    assert HashedText(tokens=2, width=8).encode(["one two three"]).shape == (1, 2, 8)


def test_padding_is_token_zero(encoder: ClipText) -> None:
    tokens = encoder.tokens(["a cat", ""])
    assert tokens.shape == (2, CONTEXT_LENGTH)
    assert tokens[0, :4].tolist() == [49406, 320, 2368, 49407]
    assert not tokens[0, 4:].any()


def test_states_are_those_before_the_last_layer(encoder: ClipText) -> None:
    """Against open_clip's own forward pass, stopped in front of its last block by a hook."""
    import open_clip

    torch.manual_seed(0)
    original = open_clip.create_model(ARCHITECTURE, pretrained=None, load_weights=False).eval()
    original.load_state_dict({**original.state_dict(), **encoder.state_dict()})
    seen: list[torch.Tensor] = []
    original.transformer.resblocks[-1].register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    tokens = encoder.tokens(["the red circle moves left", ""])
    with torch.inference_mode():
        original.encode_text(tokens)
        expected = original.ln_final(seen[0])
    torch.testing.assert_close(encoder(tokens), expected)


def test_load_takes_the_text_tower_of_a_full_checkpoint(encoder: ClipText, tmp_path: Path) -> None:
    stored = encoder.state_dict() | {"visual.conv1.weight": torch.zeros(3)}
    torch.save(stored, tmp_path / "open_clip_pytorch_model.bin")
    loaded = ClipText.load(Weights(str(tmp_path)), ARCHITECTURE, torch.device("cpu"), torch.float32)
    tokens = encoder.tokens(["two sprites"])
    assert torch.equal(loaded(tokens), encoder(tokens))


def test_a_checkpoint_that_lacks_tensors_is_named(encoder: ClipText, tmp_path: Path) -> None:
    stored = {name: tensor for name, tensor in encoder.state_dict().items() if name != "ln_final.weight"}
    torch.save(stored, tmp_path / "open_clip_pytorch_model.bin")
    with pytest.raises(WeightsError, match=r"lacks ln_final.weight"):
        ClipText.load(Weights(str(tmp_path)), ARCHITECTURE, torch.device("cpu"), torch.float32)


def test_the_full_size_tower_has_the_shapes_of_the_base_model() -> None:
    with torch.device("meta"):
        full = ClipText("ViT-H-14")
    state = full.state_dict()
    assert state["token_embedding.weight"].shape == (49408, 1024)
    assert state["transformer.resblocks.23.mlp.c_fc.weight"].shape == (4096, 1024)
    assert "transformer.resblocks.24.mlp.c_fc.weight" not in state
