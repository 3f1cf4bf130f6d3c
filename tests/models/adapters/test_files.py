"""Adapters on disk: as diffusers and peft read and write them, and merged."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet3DConditionModel, WanTransformer3DModel
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import LoraConfig, inject_adapter_in_model, set_peft_model_state_dict
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from base.errors import WeightsError
from models.adapters.attach import attach
from models.adapters.files import LORA_FILE, AdapterTensors, read_adapter, save_network, write_adapter
from models.adapters.lora import Lora
from models.video_model import VideoModel
from tests.models.adapters.networks import BACKBONES, SHAPES, fill_lora, filled, inputs, small

KINDS = pytest.mark.parametrize("kind", BACKBONES)
PARTS = {"unet": "unet", "patches": "transformer", "wan": "transformer"}
ALPHA_16 = Lora(rank=4, alpha=16.0)


def adapted(kind: str, adapter: Lora = ALPHA_16, grown: tuple[str, ...] = ()) -> VideoModel:
    network = small(kind)
    attach(network, adapter, BACKBONES[kind].lora_targets, grown)
    return fill_lora(network.eval())


def saved(folder: Path, kind: str, **options: Any) -> AdapterTensors:
    save_network(folder / PARTS[kind], adapted(kind, **options))
    assert sorted(path.name for path in (folder / PARTS[kind]).iterdir()) == ["config.json", LORA_FILE]
    return read_adapter(folder / PARTS[kind] / LORA_FILE, PARTS[kind])


def equal(one: AdapterTensors, other: AdapterTensors) -> bool:
    pairs = [*zip(flat(one).items(), flat(other).items(), strict=True)]
    same = all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)
    return same and (one.adapter.rank, one.adapter.usual_alpha) == (other.adapter.rank, other.adapter.usual_alpha)


def flat(tensors: AdapterTensors) -> dict[str, Tensor]:
    halves = {f"{layer} {n}": half for layer, pair in tensors.layers.items() for n, half in enumerate(pair)}
    return dict(sorted((halves | tensors.whole).items()))


@KINDS
def test_a_merged_network_computes_what_the_adapted_one_does(kind: str, tmp_path: Path) -> None:
    whole = ("conv_in.weight",) if kind == "unet" else ()
    tensors = saved(tmp_path, kind, grown=whole)
    assert tuple(tensors.whole) == whole
    base = small(kind)
    before = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    merged = filled(small(kind), 9)  # all of its own weights are replaced
    merged.load_state_dict(tensors.merged(base.state_dict(), "file"))
    expected = inputs()(adapted(kind, grown=whole))
    torch.testing.assert_close(inputs()(merged), expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))
    assert (expected - inputs()(base)).abs().max() > 0.01
    assert all(torch.equal(tensor, before[name]) for name, tensor in base.state_dict().items())


@settings(max_examples=15, deadline=None)
@given(rank=st.integers(1, 9), alpha=st.none() | st.floats(0.01, 100), convolution=st.booleans())
def test_a_file_holds_the_same_bits(
    tmp_path_factory: pytest.TempPathFactory, rank: int, alpha: float | None, convolution: bool
) -> None:
    path = tmp_path_factory.mktemp("lora") / "a.safetensors"
    kernel = (3, 3) if convolution else ()
    layers = {"a.b": (torch.randn(rank, 5, *kernel), torch.randn(7, rank, *(1 for _ in kernel)))}
    tensors = AdapterTensors(Lora(rank, alpha), layers, {"c.weight": torch.randn(2)})
    write_adapter(path, tensors, "unet")
    found = read_adapter(path, "unet")
    assert equal(found, tensors)
    assert found.adapter.factor == tensors.adapter.factor
    weight = torch.randn(7, 5, *kernel)
    merged = found.merged({"a.b.weight": weight, "c.weight": torch.zeros(2)}, "file")
    assert torch.equal(merged["a.b.weight"], tensors.merged({"a.b.weight": weight}, "file")["a.b.weight"])
    assert torch.equal(merged["c.weight"], tensors.whole["c.weight"])


def test_plain_diffusers_reads_it_and_gives_it_back_exactly(tmp_path: Path) -> None:
    tensors = saved(tmp_path, "wan")
    theirs = WanTransformer3DModel.from_config(small("wan").config).eval()
    theirs.load_state_dict(small("wan").state_dict())
    theirs.load_lora_adapter(tmp_path / "transformer", weight_name=LORA_FILE)

    seen: list[dict[str, Any]] = []
    ours = adapted("wan")
    hook = ours.patch_embedding.register_forward_pre_hook(lambda _, given: seen.append({"x": given[0]}))
    ours.condition_embedder.register_forward_pre_hook(lambda _, given: seen[-1].update(t=given[0], text=given[1]))
    found = inputs()(ours)
    hook.remove()
    times = seen[0]["t"].view(2, -1)  # a time for each token
    with torch.no_grad():
        expected = theirs(seen[0]["x"], times, seen[0]["text"], return_dict=False)[0]
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 * float(expected.abs().max()))
    assert (found - inputs()(small("wan"))).abs().max() > 0.01

    theirs.save_lora_adapter(tmp_path / "back", adapter_name="default_0")
    back = read_adapter(tmp_path / "back" / LORA_FILE, "transformer")
    assert equal(back, tensors)
    write_adapter(tmp_path / "again.safetensors", back, "transformer")
    first, again = (load_file(path) for path in (tmp_path / "transformer" / LORA_FILE, tmp_path / "again.safetensors"))
    assert first.keys() == again.keys()
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_peft_reads_that_of_the_u_net(tmp_path: Path) -> None:
    """Whose class in diffusers has no adapters of its own."""
    saved(tmp_path, "unet")
    assert not hasattr(UNet3DConditionModel, "load_lora_adapter")
    path = tmp_path / "unet" / LORA_FILE
    with safe_open(path, framework="pt") as file:
        described = json.loads(file.metadata()["lora_adapter_metadata"])
    theirs = small("unet")
    config = LoraConfig(**{name.removeprefix("unet."): value for name, value in described.items()})
    inject_adapter_in_model(config, theirs)
    found = set_peft_model_state_dict(theirs, {n.removeprefix("unet."): t for n, t in load_file(path).items()})
    assert found.unexpected_keys == []
    assert torch.equal(inputs()(theirs.eval()), inputs()(adapted("unet")))


def test_a_file_without_settings_has_the_rank_as_alpha(tmp_path: Path) -> None:
    tensors = saved(tmp_path, "patches")
    stored = {
        name.removeprefix("transformer."): t for name, t in load_file(tmp_path / "transformer" / LORA_FILE).items()
    }
    save_file(stored, tmp_path / "bare.safetensors")
    bare = read_adapter(tmp_path / "bare.safetensors", "transformer")
    assert (bare.adapter.rank, bare.adapter.factor, tensors.adapter.factor) == (4, 1.0, 4.0)
    assert equal(replace(bare, adapter=tensors.adapter), tensors)


def test_an_adapter_of_another_network_is_refused(tmp_path: Path) -> None:
    tensors = saved(tmp_path, "patches")
    wide = replace(BACKBONES["patches"], width=24, depth=1).new(SHAPES).state_dict()  # type: ignore[call-arg]
    with pytest.raises(WeightsError, match=r"^f is no adapter of this network: layers\.1\.\S+lora_A.weight is unknown"):
        tensors.merged(wide, "f")
    layer = "layers.0.qkv"
    with pytest.raises(WeightsError, match=r"lora_A.weight is \[4, 16\] instead of \[4, 24\], .*B.weight is \[48, 4\]"):
        replace(tensors, layers={layer: tensors.layers[layer]}).merged(wide, "f")


A, B = torch.zeros(2, 5), torch.zeros(7, 2)


@pytest.mark.parametrize(
    ("stored", "described", "said"),
    [
        ({"a.lora_A.weight": A}, {}, r"no LoRA in diffusers' names: it lacks a\.lora_B\.weight"),
        ({"a.lora_A.weight": A, "a.lora_B.weight": B, "a.alpha": A[0, 0].clone()}, {}, r"it has a\.alpha"),
        ({"a.lora_down.weight": A, "a.lora_up.weight": B}, {}, r"it has a\.lora_down\.weight"),
        ({"whole.a": A}, {}, r"it has no lora_A\.weight"),
        ({"a.lora_A.weight": A, "a.lora_B.weight": B}, {"use_dora": True}, "has use_dora, which motif does not know"),
        ({"a.lora_A.weight": A, "a.lora_B.weight": B}, {"unet.rank_pattern": {"b": 3}}, "has rank_pattern"),
        ({"a.lora_A.weight": A, "a.lora_B.weight": B}, {"lora_alpha": -1}, r"no LoRA's \(adapter\.alpha -1"),
        ({"a.lora_A.weight": A, "a.lora_B.weight": B}, {"lora_alpha": "x"}, "its settings are no LoRA's"),
    ],
)
def test_files_that_are_refused(tmp_path: Path, stored: dict[str, Tensor], described: Any, said: str) -> None:
    path = tmp_path / "a.safetensors"
    save_file(stored, path, {"lora_adapter_metadata": json.dumps(described)})
    with pytest.raises(WeightsError, match=said):
        read_adapter(path, "unet")


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    saved(tmp_path, "patches")
    path = tmp_path / "transformer" / LORA_FILE
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(WeightsError, match=f"{path} cannot be read"):
        read_adapter(path, "transformer")
