"""The same tensors are the same weights, in whatever file; other tensors are others."""

import inspect
import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from base.errors import WeightsError
from base.tensor_hash import tensor_hash
from base.weights import Weights
from models.encoders import autoencoder, image, open_clip_weights, text
from models.encoders.autoencoder import Autoencoder
from models.encoders.clip_image import ClipImage
from models.encoders.clip_text import ClipText

Tensors = dict[str, Tensor]
VAE = "diffusion_pytorch_model"
TINY_CLIP = "ViT-S-32-alt"


def some(seed: int = 0) -> Tensors:
    draw = torch.Generator().manual_seed(seed)
    shapes = {"b.weight": (3, 4), "a.weight": (2, 3, 1), "a.bias": (2,), "scale": ()}
    return {name: torch.randn(shape, generator=draw).half().float() for name, shape in shapes.items()}


def hashed(tensors: Tensors, path: Path) -> str:
    path.unlink(missing_ok=True)
    if path.suffix == ".safetensors":
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)
    else:
        torch.save(tensors if path.suffix == ".bin" else {"state_dict": tensors, "epoch": 1}, path)
    return tensor_hash([path], "x")


def test_container_order_and_lossless_type_do_not_count(tmp_path: Path) -> None:
    tensors = some()
    shuffled = dict(reversed(tensors.items()))
    narrow = {name: tensor.half() for name, tensor in tensors.items()}
    mixed = {name: tensor.double().float().T if tensor.dim() == 2 else tensor for name, tensor in tensors.items()}
    strided = mixed | {"b.weight": mixed["b.weight"].contiguous().T}
    same = [
        hashed(tensors, tmp_path / "one.safetensors"),
        hashed(shuffled, tmp_path / "two.bin"),
        hashed(tensors, tmp_path / "three.ckpt"),
        hashed(narrow, tmp_path / "four.safetensors"),
        hashed(strided, tmp_path / "five.bin"),
    ]
    assert len(set(same)) == 1
    assert same[0].startswith("blake3:")
    assert len(same[0]) == len("blake3:") + 64


def test_shards_do_not_count(tmp_path: Path) -> None:
    tensors = some()
    whole = hashed(tensors, tmp_path / "whole.safetensors")
    for number, name in enumerate(tensors):
        save_file({name: tensors[name]}, tmp_path / f"{number}.safetensors")
    assert tensor_hash([tmp_path / f"{number}.safetensors" for number in range(len(tensors))], "x") == whole


@given(st.integers(0, 3), st.sampled_from(["value", "name", "shape", "missing", "rounded"]))
@settings(max_examples=20, deadline=None)
def test_anything_else_counts(which: int, change: str) -> None:
    tensors = some()
    tensors["scale"] = torch.tensor(1 / 3)
    with tempfile.TemporaryDirectory() as folder:
        before = hashed(tensors, Path(folder) / "a.safetensors")
        name = sorted(tensors)[which]
        tensor = tensors.pop(name)
        changed = {
            "value": {name: torch.nextafter(tensor, torch.tensor(9.0))},
            "name": {name + "_": tensor},
            "shape": {name: tensor[None]},
            "missing": {},
            "rounded": {name: tensor, "scale": torch.tensor(1 / 3).half()},
        }[change]
        assert hashed(tensors | changed, Path(folder) / "b.safetensors") != before


def test_it_is_remembered_until_the_file_changes(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    first = hashed(some(), path)
    assert tensor_hash([path], "x", lambda name: pytest.fail("read again")) == first
    other = tmp_path / "b.safetensors"
    save_file(some(1), other)
    import os

    stat = path.stat()
    os.utime(other, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert other.stat().st_size == stat.st_size
    other.replace(path)  # same path, size and time: only the inode tells
    assert tensor_hash([path], "x") != first


@pytest.mark.parametrize("name", ["a.safetensors", "a.bin"])
def test_a_damaged_file_is_named(tmp_path: Path, name: str) -> None:
    hashed(some(), tmp_path / name)
    whole = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WeightsError, match=f"{name} cannot be read .*download it again"):
        tensor_hash([tmp_path / name], "x")


def vae_hash(folder: Path) -> str:
    return autoencoder.weights_hash(Weights(str(folder)))


@pytest.fixture
def vae(tiny_vae: Path, tmp_path: Path) -> Path:
    """A copy of the tiny autoencoder, to be changed."""
    shutil.copytree(tiny_vae / "vae", tmp_path / "vae")
    return tmp_path / "vae"


def test_an_autoencoder_is_its_tensors_and_how_they_are_used(tiny_vae: Path, vae: Path) -> None:
    before = vae_hash(tiny_vae / "vae")
    config = json.loads((vae / "config.json").read_text())
    (vae / "config.json").write_text(json.dumps(config | {"_diffusers_version": "0.1", "sample_size": 768}))
    assert vae_hash(vae) == before
    (vae / "config.json").write_text(json.dumps(config | {"norm_num_groups": 2}))
    assert vae_hash(vae) != before


def test_shards_and_names_of_old_diffusers_are_the_same_autoencoder(tiny_vae: Path, vae: Path) -> None:
    before = vae_hash(tiny_vae / "vae")
    tensors = load_file(vae / f"{VAE}.safetensors")
    (vae / f"{VAE}.safetensors").unlink()
    names = sorted(tensors)
    files = {"one.safetensors": names[::2], "two.safetensors": names[1::2]}
    for file, inside in files.items():
        save_file({name: tensors[name] for name in inside}, vae / file)
    index = {"weight_map": {name: file for file, inside in files.items() for name in inside}}
    (vae / f"{VAE}.safetensors.index.json").write_text(json.dumps(index))
    assert vae_hash(vae) == before
    old = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}

    def renamed(name: str) -> str:
        for new, before in old.items():
            name = name.replace(f".attentions.0.{new}.", f".attentions.0.{before}.")
        return name

    (vae / f"{VAE}.safetensors.index.json").unlink()
    save_file({renamed(name): tensor for name, tensor in tensors.items()}, vae / f"{VAE}.safetensors")
    assert vae_hash(vae) == before
    loaded = Autoencoder.load(Weights(str(vae)), torch.device("cpu")).model.state_dict()  # diffusers reads it so too
    assert all(torch.equal(loaded[name], tensor) for name, tensor in tensors.items())


def test_what_an_old_config_leaves_out_is_the_default_of_diffusers(vae: Path) -> None:
    from diffusers import AutoencoderKL

    config = json.loads((vae / "config.json").read_text())
    theirs = inspect.signature(AutoencoderKL.__init__).parameters.values()
    defaults = {one.name: one.default for one in theirs if one.default is not one.empty}
    assert len(defaults) > 10

    def with_config(config: dict[str, object]) -> str:
        (vae / "config.json").write_text(json.dumps(config))
        return vae_hash(vae)

    given = with_config(config | defaults)
    assert given != with_config(config)
    for name in defaults:
        assert with_config({key: value for key, value in (config | defaults).items() if key != name}) == given, name


@pytest.mark.parametrize(("module", "tower"), [(text, ClipText), (image, ClipImage)])
def test_a_tower_is_the_same_alone_and_in_a_whole_checkpoint(
    tmp_path: Path, module: Any, tower: Callable[[str], nn.Module]
) -> None:
    """And another one where any of its tensors is."""
    with torch.device("meta"):
        whole, own = open_clip_weights.create(TINY_CLIP).state_dict(), tower(TINY_CLIP).state_dict().keys()
    assert own < whole.keys()
    tensors = {name: torch.tensor([float(number)]) for number, name in enumerate(whole)}
    alone = {name: tensors[name] for name in own}

    def tower_hash(tensors: Tensors) -> str:
        folder = Path(tempfile.mkdtemp(dir=tmp_path))
        save_file(tensors, folder / "open_clip_model.safetensors")
        return str(module.weights_hash(Weights(str(folder))))

    of_tower = tower_hash(alone)
    assert tower_hash(tensors) == of_tower
    for name in own:
        assert tower_hash(alone | {name: torch.tensor([-1.0])}) != of_tower, name
