"""What an adapter computes, what it freezes, and which layers it takes."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from base.errors import InputError
from models.adapters.attach import attach, grown_since, is_low_rank, same_on_meta, trained
from models.adapters.lora import Lora
from models.video_model import VideoModel
from models.videocrafter2.unet import VideoUNet
from tests.models.adapters.networks import BACKBONES, fill_lora, inputs, small
from tests.models.videocrafter2.models import small as small_unet

KINDS = pytest.mark.parametrize("kind", BACKBONES)
PATCHES_LAYERS = ("qkv", "mixed", "feed.1", "feed.3", "layers.1.qkv", "when.0", "patches", "out")


def by_hand(kind: str, adapted: VideoModel, alpha: float, rank: int) -> VideoModel:
    """A plain network with weights W + alpha / rank B A, layer by layer, from the adapted one's parameters."""
    found = dict(adapted.named_parameters())
    plain = small(kind)
    with torch.no_grad():
        for name in [name for name in found if ".lora_A." in name]:
            layer = name.partition(".lora_A.")[0]
            a, b = found[name].double(), found[name.replace("lora_A", "lora_B")].double()
            weight = plain.get_submodule(layer).weight
            spread = "oi, i... -> o..." if a.ndim > 2 else "oi, ij -> oj"
            weight += (alpha / rank * torch.einsum(spread, b.flatten(1), a)).float()
    return plain


@settings(max_examples=15, deadline=None)
@given(
    rank=st.integers(1, 20),
    alpha=st.none() | st.floats(0.1, 50),
    targets=st.sets(st.sampled_from(PATCHES_LAYERS), min_size=1),
)
def test_a_layer_has_the_weight_of_the_formula(rank: int, alpha: float | None, targets: set[str]) -> None:
    network = small("patches")
    attach(network, Lora(rank, alpha, tuple(sorted(targets))))
    fill_lora(network.eval())
    run = inputs()
    expected = run(by_hand("patches", network, rank if alpha is None else alpha, rank))
    found = run(network)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))
    assert (found - run(small("patches"))).abs().max() > 1e-3
    layers = {name.partition(".lora_")[0] for name in trained(network)}
    assert layers == {
        name
        for name, module in small("patches").named_modules()
        if isinstance(module, nn.Linear) and any(name == end or name.endswith(f".{end}") for end in targets)
    }


def test_one_linear_layer() -> None:
    network = small("patches")
    attach(network, Lora(rank=2, alpha=3.0, targets=("layers.0.qkv",)))
    fill_lora(network.eval())
    x = torch.randn(5, 16)
    tensors = dict(network.named_parameters())
    weight, bias, a, b = (
        tensors[f"layers.0.qkv.{name}"]
        for name in ("base_layer.weight", "base_layer.bias", "lora_A.default.weight", "lora_B.default.weight")
    )
    expected = x @ weight.T + bias + 1.5 * (x @ a.T) @ b.T
    torch.testing.assert_close(network.get_submodule("layers.0.qkv")(x), expected)


def test_convolutions_of_two_and_three_axes() -> None:
    targets = ("conv_in", "conv1", "conv1.2", "to_q")
    network = small("unet")
    attach(network, Lora(rank=3, alpha=1.5, targets=targets))
    fill_lora(network.eval())
    assert {parameter.ndim for name, parameter in trained(network).items()} == {2, 4, 5}
    expected = inputs()(by_hand("unet", network, 1.5, 3))
    torch.testing.assert_close(inputs()(network), expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))


@KINDS
def test_it_begins_as_the_network(kind: str) -> None:
    """Each layer to the bit; the whole as far as matrix products round alike wherever their operands lie in memory."""
    network = small(kind)
    attach(network, Lora(rank=4), BACKBONES[kind].lora_targets)
    outputs: dict[str, Tensor] = {}
    for name, module in network.named_modules():
        module.register_forward_hook(lambda _, given, out, name=name: outputs.update({name: out}))
    found = inputs()(network.eval())
    layers = [name.removesuffix(".base_layer") for name in outputs if name.endswith(".base_layer")]
    assert len(layers) == len(trained(network)) / 2
    assert all(torch.equal(outputs[name], outputs[f"{name}.base_layer"]) for name in layers)
    torch.testing.assert_close(found, inputs()(small(kind)), rtol=0, atol=1e-6 * float(found.abs().max()))
    assert all(is_low_rank(name) for name in trained(network))
    assert {name for name, _ in network.named_parameters()} > trained(network).keys()
    assert network.adapter == Lora(rank=4, targets=BACKBONES[kind].lora_targets)


@KINDS
def test_gradients_reach_the_adapter_alone(kind: str) -> None:
    network = small(kind)
    attach(network, Lora(rank=4), BACKBONES[kind].lora_targets)
    fill_lora(network)
    inputs(gradients=True)(network).square().sum().backward()
    with_gradient = {name for name, parameter in network.named_parameters() if parameter.grad is not None}
    assert with_gradient == trained(network).keys()
    assert all(parameter.grad.any() for parameter in trained(network).values())


def test_what_the_base_lacks_is_trained_as_a_whole() -> None:
    """Of a text-to-video U-Net that learns both image conditions: the wider convolution and the resampler."""
    base = small_unet(image_condition="none", cross_attention_dim=16)
    had = {name: parameter.shape for name, parameter in base.named_parameters()}
    network = VideoUNet.from_text_to_video(base, "both", image_token_width=12)
    grown = grown_since(had, network)
    assert {name.partition(".")[0] for name in grown} == {"conv_in", "resampler"}
    assert "conv_in.bias" not in grown
    attach(network, Lora(rank=2), BACKBONES["unet"].lora_targets, grown)
    assert {name for name in trained(network) if not is_low_rank(name)} == set(grown)
    assert not [name for name in trained(network) if is_low_rank(name) and name.startswith("resampler")]
    copy = same_on_meta(network)
    assert {name: p.shape for name, p in trained(copy).items()} == {n: p.shape for n, p in trained(network).items()}
    assert all(parameter.is_meta for parameter in copy.parameters())
    assert copy.adapter == replace(Lora(rank=2), targets=BACKBONES["unet"].lora_targets)


@pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")  # torch's, of Wan's norms: as without
@KINDS
def test_a_base_in_bfloat16_has_the_steps_of_one_in_float32_under_autocast(kind: str) -> None:
    """Autocast rounds the same matrices for each step."""
    outputs = []
    for base in ("float32", "bfloat16"):
        network = small(kind)
        torch.manual_seed(5)
        attach(network, Lora(rank=4, base=base), BACKBONES[kind].lora_targets)
        fill_lora(network.eval())
        with torch.autocast("cpu", torch.bfloat16):
            outputs.append(inputs()(network).float())
        assert {parameter.dtype for parameter in trained(network).values()} == {torch.float32}
    frozen = sum(p.numel() for p in network.parameters() if not p.requires_grad)
    assert sum(p.numel() for p in network.parameters() if p.dtype == torch.bfloat16) > 0.9 * frozen
    if kind == "wan":  # its times are rounded before an activation, not after
        torch.testing.assert_close(*outputs, rtol=0.05, atol=0.02 * float(outputs[0].abs().max()))
    else:
        assert torch.equal(*outputs)


@pytest.mark.parametrize(
    ("kind", "targets", "said"),
    [
        ("unet", ("to_qq",), r"adapter.targets to_qq: no layer's name ends so\. Did you mean to_q"),
        ("unet", ("to_out",), r"adapter.targets to_out: this is a ModuleList, .* Did you mean to_out\.0"),
        ("unet", ("norm1",), r"norm1: this is a \w*Norm, and LoRA adapts linear layers and convolutions\."),
        ("wan", ("to_q", "ffn.net.0"), r"ffn\.net\.0: this is a \w+, .* Did you mean .*net\.0\.proj"),
        ("patches", ("to_q",), r"to_q: no layer's name ends so\. There are qkv, mixed, feed\.1, feed\.3,"),
        ("patches", (), r"adapter\.targets: none are given, and PatchTransformer names none by itself\. There are qkv"),
    ],
)
def test_layers_that_are_not_there(kind: str, targets: tuple[str, ...], said: str) -> None:
    with pytest.raises(InputError, match=said):
        attach(small(kind), Lora(targets=targets))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"rank": 0}, r"adapter\.rank 0: must be at least 1"),
        ({"alpha": 0.0}, r"adapter\.alpha 0\.0: must be above 0"),
        ({"alpha": float("nan")}, r"adapter\.alpha nan"),
        ({"dropout": 1.0}, r"adapter\.dropout 1\.0"),
        ({"targets": ("to_q", "to_q")}, r"adapter\.targets .*: name each layer once"),
        ({"targets": ("",)}, r"adapter\.targets"),
    ],
)
def test_settings_that_make_no_adapter(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Lora(**wrong)  # type: ignore[arg-type]
