import copy
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from models.videocrafter2.unet import ImageCondition, VideoUNet
from tests.conftest import ROOT, SHARED
from tests.models.videocrafter2.models import GOLDEN, conditions, distance, reference, small

REFERENCE = SHARED / "reference"
CONDITIONS: tuple[ImageCondition, ...] = ("none", "x-cat", "cx-attn", "both")


@pytest.fixture(scope="module")
def tiny() -> tuple[VideoUNet, dict[str, Tensor]]:
    if not (REFERENCE / "tiny_unet.safetensors").is_file():
        pytest.skip(f"{REFERENCE} with the tiny reference model is not there")
    return reference(REFERENCE, "tiny"), load_file(REFERENCE / "tiny_io.safetensors")


@torch.no_grad()
def test_the_original_implementation_says_the_same() -> None:
    model, io = reference(GOLDEN, "nano"), load_file(GOLDEN / "nano_io.safetensors")
    assert distance(model(io["sample"], io["timestep"], io["context"], io["fps"]), io["output"]) < 1e-5
    assert distance(model(io["sample"], io["timestep"], io["context"], io["fps"] + 1), io["output"]) > 1e-4


@torch.no_grad()
def test_tiny_with_a_frame_rate_for_each_clip_and_for_all(tiny: tuple[VideoUNet, dict[str, Tensor]]) -> None:
    model, io = tiny
    given = (io["sample"], io["timestep"], io["context"])
    assert distance(model(*given, io["fps"]), io["output"]) < 1e-5
    assert distance(model(*given, torch.full_like(io["fps"], 16)), io["output_fps16"]) < 1e-5


@torch.no_grad()
def test_tiny_with_the_image_on_the_channels(tiny: tuple[VideoUNet, dict[str, Tensor]]) -> None:
    base, io = tiny
    model = VideoUNet.from_text_to_video(base, "x-cat")
    given = (io["sample"], io["timestep"], io["context"], io["fps"], io["xcat_image_latent"][:, :, 0])
    assert torch.equal(model(*given), base(*given[:4]))
    model.conv_in.weight[:, 4:] = io["xcat_conv_in_extra_weight"]
    assert distance(model(*given), io["xcat_output"]) < 1e-5


def test_the_full_size_has_the_base_models_tensors() -> None:
    with torch.device("meta"):
        model = VideoUNet(image_condition="none")
    assert len(model.state_dict()) == 1484
    assert sum(parameter.numel() for parameter in model.parameters()) == 1_413_284_420
    with torch.device("meta"):
        assert VideoUNet().conv_in.weight.shape == (320, 8, 3, 3)


def test_constants_of_the_original() -> None:
    """Where diffusers' classes could differ from VideoCrafter2's without a change of any name or shape."""
    model = small(dropout=0.1)
    norms = {name: module.eps for name, module in model.named_modules() if isinstance(module, nn.GroupNorm)}
    transformers = {name for name in norms if "attentions" in name or name.startswith("transformer_in")}
    assert len(norms) > 20
    assert transformers
    for name, eps in norms.items():
        assert eps == (1e-6 if name in transformers else 1e-5), name
    rates = {name: module.p for name, module in model.named_modules() if isinstance(module, nn.Dropout)}
    temporal = {name for name in rates if ".temp_convs." in name}
    residual = {name for name in rates if ".resnets." in name}
    assert len(temporal) == 3 * len(residual)
    for name, rate in rates.items():
        assert rate == (0.1 if name in temporal | residual else 0), name
    assert not any(m.dropout.p for n, m in small().named_modules() if n.split(".")[-2:-1] == ["resnets"])


def test_dropout_acts_in_training_alone() -> None:
    model = small()
    given = conditions(model)
    nn.init.normal_(model.mid_block.temp_convs[0].conv4[-1].weight)  # starts at zero, which would hide it
    assert torch.equal(model.eval()(**given), model(**given))
    assert not torch.equal(model.train()(**given), model(**given))


@pytest.mark.parametrize("condition", CONDITIONS)
@pytest.mark.parametrize("level", [False, True])
def test_every_parameter_gets_a_gradient(condition: ImageCondition, level: bool) -> None:
    """Else distributed training stops at the first step; and every condition reaches the output."""
    model = small(image_condition=condition, motion_level=level)
    given = conditions(model)
    assert model(**given).shape == given["sample"].shape
    for tensor in given.values():
        if tensor.is_floating_point():
            tensor.requires_grad_()
    if model.resampler is not None:
        nn.init.normal_(model.resampler.proj_out.weight)
    model(**given).square().sum().backward()
    assert [name for name, parameter in model.named_parameters() if parameter.grad is None] == []
    for name, tensor in given.items():
        assert not tensor.is_floating_point() or (tensor.grad is not None and tensor.grad.any()), name


@pytest.mark.parametrize("widths", [(8, 16, 32, 64), (16, 32), (64, 64, 64)])
def test_other_sizes(widths: tuple[int, ...]) -> None:
    model = small(block_out_channels=widths, latent_channels=4, layers_per_block=2)
    given = conditions(model)
    assert model(**given).shape == given["sample"].shape


@torch.no_grad()
def test_a_grown_model_starts_as_the_model_that_it_grew_from() -> None:
    base = small(image_condition="none").eval()
    model = VideoUNet.from_text_to_video(base, "x-cat", dropout=0.1)
    given = conditions(model)
    base_given = {name: given[name] for name in ("sample", "timestep", "text", "fps")}
    assert torch.equal(model(**given), base(**base_given))
    assert model.config.dropout == 0.1
    assert model.down_blocks[0].resnets[0].dropout.p == 0.1
    model.conv_in.weight += 1  # a copy: the base stays as it is
    assert not torch.equal(model(**given), base(**base_given))
    assert base.conv_in.weight.shape[1] == 4


@torch.no_grad()
@pytest.mark.parametrize(
    ("had", "grown"),
    [
        ({"image_condition": "none"}, {"motion_level": True}),
        ({"image_condition": "none"}, {"motion_level": True, "image_condition": "x-cat"}),
        ({"image_condition": "none", "motion_level": True}, {"image_condition": "x-cat"}),
        ({"image_condition": "x-cat"}, {"motion_level": True}),
        ({"image_condition": "cx-attn"}, {"motion_level": True}),
        ({"image_condition": "both"}, {"motion_level": True}),
    ],
)
def test_conditions_that_are_added_change_nothing_at_first(had: dict[str, Any], grown: dict[str, Any]) -> None:
    """Bit for bit, whichever was there before; what was learned of a condition stays with it."""
    base = small(**had).eval()
    model = VideoUNet.grown(base, **grown)
    given = conditions(model)
    of_base = {name: given[name] for name in ("sample", "timestep", *base.conditions)}
    assert set(given) > set(of_base)
    assert torch.equal(model(**given), base(**of_base))
    assert model.conv_in.in_channels == 4 + 4 * model.concatenates + 2
    changed = of_base | {"motion_level": 11 - given["motion_level"]}
    model.conv_in.weight[:, -2:] += 0 if base.takes_motion_level else 1  # else it has weights already
    assert not torch.equal(model(**given | changed), model(**given))


@torch.no_grad()
def test_the_level_and_the_frames_places_are_channels() -> None:
    model = small(motion_level=True)
    seen: list[Tensor] = []
    model.conv_in.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    given = conditions(model, batch=2, frames=5)
    model(**given | {"motion_level": torch.tensor([1, 10])})
    maps = seen[0].unflatten(0, (2, 5))[:, :, -2:]
    assert torch.equal(maps[0, :, 0], torch.full((5, 8, 8), -1.0))
    assert torch.equal(maps[1, :, 0], torch.full((5, 8, 8), 1.0))
    for clip in maps[:, :, 1]:
        assert torch.equal(clip, torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0])[:, None, None].expand(5, 8, 8))


def test_a_config_without_motion_levels_is_that_of_earlier_versions() -> None:
    """By it the revision of a model is computed."""
    assert "motion_level" not in json.loads(small().to_json_string())
    assert "motion_level" not in json.loads(VideoUNet.grown(small(), motion_level=False).to_json_string())
    assert json.loads(small(motion_level=True).to_json_string())["motion_level"] is True
    again = VideoUNet.from_config(small(motion_level=True).config)
    assert again.takes_motion_level
    assert again.conv_in.in_channels == 10


@torch.no_grad()
def test_image_tokens_start_without_content_of_their_own() -> None:
    base = small(image_condition="none").eval()
    model = VideoUNet.from_text_to_video(base, "both")
    given = conditions(model)
    first = model(**given)
    given["image_tokens"] = torch.randn_like(given["image_tokens"])
    assert torch.equal(model(**given), first)
    assert distance(first, base(**{name: given[name] for name in ("sample", "timestep", "text", "fps")})) < 0.1
    nn.init.normal_(model.resampler.proj_out.weight)
    assert not torch.equal(model(**given), first)


def test_what_cannot_grow_is_refused() -> None:
    with pytest.raises(ValueError, match="base has image_condition 'x-cat'"):
        VideoUNet.from_text_to_video(small(), "both")
    with pytest.raises(ValueError, match="do not fit"):
        VideoUNet.from_text_to_video(small(image_condition="none"), "x-cat", layers_per_block=2)


@pytest.mark.parametrize(
    ("condition", "change", "said"),
    [
        ("x-cat", {"image_latent": None}, "image_latent is missing"),
        ("cx-attn", {"image_tokens": None}, "image_tokens is missing"),
        ("none", {"image_latent": torch.zeros(2, 4, 8, 8)}, "image_latent is given"),
        ("x-cat", {"image_tokens": torch.zeros(2, 7, 12)}, "image_tokens is given"),
        ("x-cat", {"motion_level": torch.ones(2)}, "motion_level is given"),
    ],
)
def test_a_condition_too_few_or_too_many(condition: ImageCondition, change: dict[str, Any], said: str) -> None:
    model = small(image_condition=condition)
    with pytest.raises(ValueError, match=said):
        model(**conditions(model) | change)


def test_sizes_that_do_not_divide() -> None:
    with pytest.raises(ValueError, match=r"block_out_channels \(8, 20\).*do not divide 20"):
        small(block_out_channels=(8, 20))


def gradients(model: VideoUNet) -> tuple[Tensor, dict[str, Tensor], int]:
    """Loss, gradients, and bytes kept for backward."""
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    model.zero_grad()
    torch.manual_seed(5)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = model(**conditions(model)).square().mean()
    loss.backward()
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    own = {p.untyped_storage().data_ptr() for p in model.parameters()}
    return loss.detach(), found, sum(t.untyped_storage().nbytes() for at, t in kept.items() if at not in own)


@pytest.mark.parametrize("wrap", [lambda model: model, copy.deepcopy], ids=["itself", "its copy"])
def test_gradient_checkpointing_changes_memory_alone(wrap: Callable[[VideoUNet], VideoUNet]) -> None:
    """Dropout included: what is drawn again must be what was drawn before."""
    model = small(dropout=0.3, layers_per_block=2).train()
    for module in model.modules():  # they start at zero, and a gradient of zero proves nothing
        if isinstance(module, nn.Conv3d):
            nn.init.normal_(module.weight, std=0.1)
    loss, plain, kept = gradients(model)
    model.enable_gradient_checkpointing()
    model.enable_gradient_checkpointing()
    checkpointed = wrap(model)
    assert checkpointed.is_gradient_checkpointing
    again, recomputed, less = gradients(checkpointed)
    assert torch.equal(loss, again)
    assert plain.keys() == recomputed.keys()
    assert all(torch.equal(plain[name], recomputed[name]) for name in plain)
    assert less < kept / 3
    checkpointed.disable_gradient_checkpointing()
    assert not checkpointed.is_gradient_checkpointing
    assert gradients(checkpointed)[2] == kept


@pytest.mark.parametrize("condition", ["none", "both"])
def test_saved_and_loaded_it_is_the_same(condition: ImageCondition, tmp_path: Path) -> None:
    model = small(image_condition=condition, dropout=0.2).to(torch.bfloat16).eval()
    model.save_pretrained(tmp_path / "unet")
    loaded = VideoUNet.from_pretrained(tmp_path, subfolder="unet", torch_dtype=torch.bfloat16)
    assert {name: t.dtype for name, t in loaded.state_dict().items()} == dict.fromkeys(
        model.state_dict(), torch.bfloat16
    )
    assert dict(loaded.config)["image_condition"] == condition
    assert loaded.mid_block.resnets[0].dropout.p == 0.2
    given = conditions(model)
    assert torch.equal(loaded(**given), model(**given))
    known = {"_class_name", "_diffusers_version", "_name_or_path", "_use_default_values"}
    assert set(loaded.config) - known <= set(VideoUNet.__init__.__annotations__)


@torch.no_grad()
def test_half_precision_weights_and_autocast() -> None:
    model = small(image_condition="both").eval()
    given = conditions(model)
    expected = model(**given)
    with torch.autocast("cpu", torch.bfloat16):
        assert distance(model(**given).float(), expected) < 0.05
    out = model.to(torch.bfloat16)(**given)
    assert out.dtype == torch.bfloat16
    assert distance(out.float(), expected) < 0.05


COMPILED = """
import torch
from tests.models.videocrafter2.models import conditions, small
model = small(image_condition="both", block_out_channels=(8, 8))
given = conditions(model)
for train, recompute in ((False, "all"), (True, "all"), (True, "cheap")):
    model.train(train)
    model.enable_gradient_checkpointing(recompute)
    torch.manual_seed(3)
    expected = model(**given)
    compiled = torch.compile(model, backend="aot_eager" if train else "eager", fullgraph=True)
    torch.manual_seed(3)
    found = compiled(**given)
    if train:
        found.square().sum().backward()
        assert all(p.grad is not None for p in model.parameters())
    else:
        torch.testing.assert_close(found, expected)
"""


@pytest.mark.slow
def test_it_compiles_as_one_graph() -> None:
    """In a process of its own, where no annotation is checked at run time: that would break the graph."""
    done = subprocess.run([sys.executable, "-c", COMPILED], cwd=ROOT, capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stderr[-3000:]
