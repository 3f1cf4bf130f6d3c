import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from base.errors import InputError, StorageError, WeightsError
from base.weights import Weights
from diffusion.schedule import Schedule
from models.encoders import autoencoder, text
from models.encoders.autoencoder import Autoencoder
from models.encoders.clip_text import ClipText
from models.folder import find_part, load_facts, load_network
from models.videocrafter2 import names
from models.videocrafter2.checkpoint import read
from models.videocrafter2.convert import Sizes, Target, convert, targets
from tests.conftest import SHARED
from tests.models.videocrafter2.models import GOLDEN, distance, original_tensors, sizes

REFERENCE = SHARED / "reference"
NANO = Sizes(unet=sizes(GOLDEN, "nano"), vae_widths=(8, 8), vae_groups=4, text="ViT-S-32-alt")
Tensors = dict[str, Tensor]


def known(name: str) -> Any:
    path = REFERENCE / name
    if not path.is_file():
        pytest.skip(f"{path} is not there")
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def full() -> dict[str, Target]:
    return targets()


@pytest.fixture(scope="module")
def tensors() -> Tensors:
    """A checkpoint of nano size: the golden U-Net, a random autoencoder and text tower, and what is left aside."""
    draw = torch.Generator().manual_seed(0)
    found = targets(NANO)
    shapes = {**found["vae"].shapes, **found["text_encoder"].shapes}
    made = {name: 0.1 * torch.randn(shape, generator=draw) for name, shape in shapes.items()}
    for name, tensor in made.items():  # attention of the original autoencoder is made of convolutions
        if ".attn_1." in name and tensor.dim() == 2:
            made[name] = tensor[:, :, None, None]
    made |= {names.UNET + name: tensor for name, tensor in original_tensors(GOLDEN, "nano").items()}
    aside = ("betas", "scale_arr", "cond_stage_model.model.logit_scale", "cond_stage_model.model.visual.proj")
    return made | {name: torch.ones(3) for name in (*aside, "model_ema.decay", "first_stage_model.loss.logvar")}


@pytest.fixture(scope="module")
def converted(tensors: Tensors, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The nano checkpoint as Lightning writes it, converted."""
    folder = tmp_path_factory.mktemp("videocrafter2")
    lightning = {"state_dict": tensors, "epoch": 3, "global_step": 7, "pytorch-lightning_version": "1.8.3"}
    torch.save(lightning, folder / "model.ckpt")
    convert(folder / "model.ckpt", folder / "out", NANO)
    return folder / "out"


def test_names_of_the_unet_are_those_of_the_key_map(full: dict[str, Target]) -> None:
    expected = known("vc2_unet_key_map.json")
    assert {original.removeprefix(names.UNET): ours for original, ours in full["unet"].names.items()} == expected


def test_shapes_of_the_unet_are_those_of_the_checkpoint(full: dict[str, Target]) -> None:
    expected = known("vc2_unet_keys.json")
    shapes = full["unet"].shapes
    assert len(shapes) == expected["num_tensors"] == 1484
    assert sum(shape.numel() for shape in shapes.values()) == expected["num_parameters"] == 1_413_284_420
    others = []
    for name, shape in expected["shapes"].items():
        ours = list(shapes[names.UNET + name])
        if ours != shape:
            others.append(name)
            assert [*ours, 1] == shape
    assert others == ["init_attn.0.proj_in.weight", "init_attn.0.proj_out.weight"]


def test_names_of_autoencoder_and_text_tower_are_those_of_the_checkpoint(full: dict[str, Target]) -> None:
    expected = known("vc2_vae_text_keys.json")
    for part, key in (("vae", "first_stage_model"), ("text_encoder", "cond_stage_model")):
        stored = {expected[key]["prefix"] + name: shape for name, shape in expected[key]["shapes"].items()}
        needed = full[part].shapes
        assert needed.keys() <= stored.keys()
        assert all(names.is_ignored(name) for name in stored.keys() - needed.keys())
        for name, shape in needed.items():
            assert stored[name] == [*shape] + [1] * (len(stored[name]) - len(shape)), name
    assert not set(full["vae"].shapes) ^ {f"first_stage_model.{n}" for n in expected["first_stage_model"]["shapes"]}
    assert all(names.is_ignored(name) for name in expected["schedule_buffers"])


def test_the_autoencoder_is_named_as_diffusers_converter_names_it(full: dict[str, Target]) -> None:
    from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint

    vae = full["vae"]
    # The converter only moves values, so numbers in the tensors' place tell what became of each.
    listed = list(vae.names)
    numbers = {name: torch.tensor(i) for i, name in enumerate(listed)}
    blocks = {"down_block_types": [""] * 4, "up_block_types": [""] * 4}
    moved = {listed[int(i)]: ours for ours, i in convert_ldm_vae_checkpoint(numbers, blocks).items()}
    assert moved == vae.names


@pytest.mark.parametrize("name", ["betas.weight", "model.betas", "cond_stage_model.model.ln_final.weight", "posterior"])
def test_only_what_is_known_is_left_aside(name: str) -> None:
    assert not names.is_ignored(name)


@torch.no_grad()
def test_the_unet_says_what_the_original_said(converted: Path) -> None:
    model, io = load_network(converted), load_file(GOLDEN / "nano_io.safetensors")
    assert distance(model(io["sample"], io["timestep"], io["context"], io["fps"]), io["output"]) < 1e-5


def test_the_autoencoder_is_read_by_its_own_loader(converted: Path, tensors: Tensors) -> None:
    weights = find_part(converted, "vae")
    model = Autoencoder.load(weights, torch.device("cpu")).model
    assert autoencoder.read_config(weights)["scaling_factor"] == 0.18215
    stored = tensors["first_stage_model.decoder.up.1.block.0.conv1.weight"]
    assert torch.equal(model.decoder.up_blocks[0].resnets[0].conv1.weight, stored)
    stored = tensors["first_stage_model.encoder.mid.attn_1.q.weight"]
    assert torch.equal(model.encoder.mid_block.attentions[0].to_q.weight, stored[:, :, 0, 0])


def test_the_text_tower_is_read_by_its_own_loader(converted: Path, tensors: Tensors) -> None:
    loaded = ClipText.load(find_part(converted, "text_encoder"), NANO.text, torch.device("cpu"), torch.float32)
    for name, tensor in loaded.state_dict().items():
        assert torch.equal(tensor, tensors[names.TEXT + name]), name


def test_the_facts(converted: Path) -> None:
    facts = load_facts(converted)
    assert facts.schedule == Schedule(prediction="eps", rescale=0.7, rescale_steps=400)
    assert (facts.frames, facts.height, facts.width, facts.scaling_factor) == (16, 40, 64, 0.18215)
    assert facts.latents["weights_tensors"] == autoencoder.weights_hash(Weights(str(converted), subfolder="vae"))
    assert facts.text["weights_tensors"] == text.weights_hash(Weights(str(converted), subfolder="text_encoder"))
    assert "model.ckpt" in facts.origin
    from diffusers import DDIMScheduler

    config = DDIMScheduler.from_pretrained(converted, subfolder="scheduler").config
    assert (config.prediction_type, config.beta_schedule, config.steps_offset) == ("epsilon", "scaled_linear", 1)
    assert not config.clip_sample
    assert not config.set_alpha_to_one


def test_a_bare_safetensors_file_does_too_and_keeps_its_type(tensors: Tensors, tmp_path: Path) -> None:
    save_file({name: tensor.half().contiguous() for name, tensor in tensors.items()}, tmp_path / "model.safetensors")
    convert(tmp_path / "model.safetensors", tmp_path / "out", NANO)
    stored = load_file(tmp_path / "out" / "unet" / "diffusion_pytorch_model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.float16}
    assert load_network(tmp_path / "out").dtype == torch.float32


def rename(tensors: Tensors) -> None:
    tensors["model.diffusion_model.out.0.wieght"] = tensors.pop("model.diffusion_model.out.0.weight")


def remove(tensors: Tensors) -> None:
    del tensors["first_stage_model.decoder.up.1.upsample.conv.bias"]


def misshape(tensors: Tensors) -> None:
    tensors["model.diffusion_model.input_blocks.0.0.weight"] = torch.zeros(32, 8, 3, 3)


def strip(tensors: Tensors) -> None:
    for name in [name for name in tensors if name.startswith("cond_stage_model.")]:
        del tensors[name]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (rename, r"out\.0\.weight is missing, model\.diffusion_model\.out\.0\.wieght is unknown"),
        (remove, r"first_stage_model\.decoder\.up\.1\.upsample\.conv\.bias is missing\."),
        (misshape, r"input_blocks\.0\.0\.weight is \[32, 8, 3, 3\] instead of \[32, 4, 3, 3\]"),
        (strip, r"(cond_stage_model\.model\.\S+ is missing(, )?){5} and \d+ more\."),
    ],
)
def test_what_does_not_fit_is_named(
    tensors: Tensors, tmp_path: Path, damage: Callable[[Tensors], None], said: str
) -> None:
    damaged = dict(tensors)
    damage(damaged)
    torch.save(damaged, tmp_path / "model.ckpt")
    with pytest.raises(WeightsError, match=said):
        convert(tmp_path / "model.ckpt", tmp_path / "out", NANO)
    assert [path.name for path in tmp_path.iterdir()] == ["model.ckpt"]


def test_files_that_are_no_checkpoints(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="there is no such file"):
        read(tmp_path / "model.ckpt")
    for name in ("cut.ckpt", "cut.safetensors"):
        (tmp_path / name).write_bytes(b"PK\x03\x04 and then nothing")
        with pytest.raises(WeightsError, match="not a checkpoint or is incomplete"):
            read(tmp_path / name)
    torch.save({"state_dict": {}, "callbacks": {Path: 1}}, tmp_path / "objects.ckpt")
    with pytest.raises(WeightsError, match="contains Python objects"):
        read(tmp_path / "objects.ckpt")


def test_places_that_cannot_be_written(tensors: Tensors, tmp_path: Path) -> None:
    (tmp_path / "used").mkdir()
    (tmp_path / "used" / "file").touch()
    with pytest.raises(InputError, match="not empty"):
        convert(tmp_path / "model.ckpt", tmp_path / "used", NANO)
    with pytest.raises(StorageError, match="a part of the path is a file"):
        convert(tmp_path / "model.ckpt", tmp_path / "used" / "file" / "out", NANO)
