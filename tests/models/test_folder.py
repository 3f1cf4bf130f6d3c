import errno
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from base.errors import InputError, StorageError, WeightsError
from base.storage.folder import Folder
from base.weights import Weights
from diffusion.schedule import Schedule
from models.card import ModelCard, ModelFacts
from models.folder import (
    disk_errors,
    find_part,
    load_facts,
    load_network,
    need_room,
    new_folder,
    save_model,
    write_model,
)
from models.videocrafter2.unet import VideoUNet
from tests.conftest import ROOT
from tests.models.videocrafter2.models import conditions, small

FACTS = ModelFacts(
    latents={"encoder": "PixelCodec", "cell": 16, "luma": 10, "chroma": 3, "version": 1},
    scaling_factor=1.0,
    text={"encoder": "HashedText", "tokens": 5, "width": 16},
    schedule=Schedule(rescale=0.7),
    frames=3,
    height=8,
    width=8,
    step=300,
    origin="a test",
)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_model(tmp_path / "model", small(dropout=0.1), ModelCard(FACTS))
    return tmp_path / "model"


def test_what_was_saved_comes_back(saved: Path) -> None:
    model, loaded = small(dropout=0.1).eval(), load_network(saved)
    given = conditions(model)
    assert torch.equal(loaded(**given), model(**given))
    assert not loaded.training
    assert loaded.config.dropout == 0.1
    assert load_facts(saved) == FACTS
    half = load_network(Weights(str(saved)), torch.bfloat16)
    assert {tensor.dtype for tensor in half.state_dict().values()} == {torch.bfloat16}


def test_diffusers_reads_it_too(saved: Path) -> None:
    from diffusers import DDIMScheduler

    unet = VideoUNet.from_pretrained(saved, subfolder="unet")
    assert torch.equal(unet.conv_in.weight, small().conv_in.weight)
    scheduler = DDIMScheduler.from_pretrained(saved, subfolder="scheduler")
    assert scheduler.config.prediction_type == "v_prediction"
    scheduler.set_timesteps(50)
    assert scheduler.timesteps.tolist()[:2] + scheduler.timesteps.tolist()[-1:] == [981, 961, 1]
    torch.testing.assert_close(scheduler.alphas_cumprod, Schedule().alphas_cumprod)
    index = json.loads((saved / "model_index.json").read_text())
    assert index["unet"] == ["models.videocrafter2.unet", "VideoUNet"]
    assert index["vae"] == [None, None]


def test_the_state_keeps_its_type_on_disk(tmp_path: Path) -> None:
    save_model(tmp_path, small().to(torch.bfloat16), ModelCard(FACTS))
    stored = load_file(tmp_path / "unet" / "diffusion_pytorch_model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.bfloat16}


def test_a_model_in_an_object_store(saved: Path, bucket: str) -> None:
    for name in ("unet/config.json", "unet/diffusion_pytorch_model.safetensors", "motif.json"):
        folder, _, file = f"{bucket}/runs/{name}".rpartition("/")
        Folder(folder).write(file, (saved / name).read_bytes())
    place = Weights(bucket, subfolder="runs")
    assert load_facts(place) == FACTS
    assert torch.equal(load_network(place).conv_in.weight, small().conv_in.weight)
    with pytest.raises(WeightsError, match="has no vae and refers to none"):
        find_part(place, "vae")


def test_frozen_parts_are_named_not_copied(tmp_path: Path, tiny_vae: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tiny_vae.parent)
    hub = Weights("laion/CLIP-ViT-H-14-laion2B-s32B-b79K", "main")
    save_model(tmp_path / "step", small(), ModelCard(FACTS, Weights(tiny_vae.name, subfolder="vae"), hub))
    assert sorted(path.name for path in (tmp_path / "step").iterdir()) == [
        "model_index.json",
        "motif.json",
        "scheduler",
        "unet",
    ]
    monkeypatch.chdir(tmp_path)
    assert find_part(tmp_path / "step", "vae") == Weights(str(tiny_vae), subfolder="vae")
    assert find_part(tmp_path / "step", "text_encoder") == hub


def test_a_part_in_the_folder_goes_with_it(tmp_path: Path, tiny_vae: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "vae").symlink_to(tiny_vae / "vae")
    write_model(tmp_path / "model", small(), ModelCard(FACTS))
    (tmp_path / "model").rename(tmp_path / "moved")
    assert find_part(tmp_path / "moved", "vae") == Weights(str(tmp_path / "moved"), subfolder="vae")
    assert json.loads((tmp_path / "moved" / "motif.json").read_text())["vae"]["source"] == "."


def test_missing_pieces_are_named(saved: Path) -> None:
    with pytest.raises(WeightsError, match=r"has no vae and refers to none: copy the vae folder"):
        find_part(saved, "vae")
    (saved / "unet" / "config.json").rename(saved / "config.json")
    with pytest.raises(WeightsError, match=r"there is no .*unet/config.json\. Give a model folder"):
        load_network(saved)
    (saved / "motif.json").unlink()
    with pytest.raises(WeightsError, match=r"there is no .*motif.json"):
        load_facts(saved)


def test_tensors_that_do_not_fit_are_named(saved: Path) -> None:
    path = saved / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    tensors["conv_out.bais"] = tensors.pop("conv_out.bias")
    tensors["conv_in.bias"] = torch.zeros(7)
    save_file(tensors, path)
    with pytest.raises(
        WeightsError, match=r"conv_out.bias is missing, conv_out.bais is unknown, conv_in.bias is \[7\]"
    ):
        load_network(saved)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(WeightsError, match=r"cannot be read .*incomplete"):
        load_network(saved)


def test_another_models_folder_is_refused(saved: Path) -> None:
    config = saved / "unet" / "config.json"
    config.write_text(config.read_text().replace("VideoUNet", "UNet2DConditionModel"))
    with pytest.raises(WeightsError, match="describes a UNet2DConditionModel, not a VideoUNet"):
        load_network(saved)


def test_a_card_from_before_models_said_how_to_sample(saved: Path) -> None:
    path = saved / "motif.json"
    card = json.loads(path.read_text())
    del card["facts"]["sampling"]
    path.write_text(json.dumps(card))
    assert load_facts(saved) == FACTS


def test_a_card_of_another_version(saved: Path) -> None:
    card = saved / "motif.json"
    text = card.read_text()
    card.write_text(text.replace('"format": 1', '"format": 2'))
    with pytest.raises(WeightsError, match="not a card of format 1"):
        load_facts(saved)
    card.write_text(text.replace('"scaling_factor"', '"scale"'))
    with pytest.raises(WeightsError, match="'facts.scale' does not exist"):
        load_facts(saved)


def test_a_new_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    def fail() -> None:
        with new_folder(tmp_path / "out") as folder:
            (folder / "half").touch()
            raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError, match="interrupted"):
        fail()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "out").mkdir()
    with new_folder(tmp_path / "out") as folder:
        (folder / "whole").touch()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["whole"]
    with pytest.raises(InputError, match="not empty"), new_folder(tmp_path / "out"):
        pass


def test_disks_that_refuse(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="a part of the path is a file"), new_folder(tmp_path / "file" / "out"):
        pass
    with pytest.raises(StorageError, match=r"GiB are needed and .* are free"):
        need_room(tmp_path, 2**60)
    with pytest.raises(StorageError, match="disk is full"), disk_errors(tmp_path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


LIMITED = """
import resource, signal, sys
from pathlib import Path
from base.errors import StorageError
from models.folder import save_model
from tests.models.test_folder import FACTS, ModelCard, small
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    save_model(Path(sys.argv[1]), small(), ModelCard(FACTS))
except StorageError as error:
    print(error)
"""


@pytest.mark.slow
def test_a_write_that_fails_inside_safetensors(tmp_path: Path) -> None:
    """In a process that may write no file of more than ten kilobytes; safetensors has errors of its own."""
    command = [sys.executable, "-c", LIMITED, tmp_path / "out"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert re.fullmatch(r".*/out: .*File too large.*\n", done.stdout), done.stderr
    assert list(tmp_path.iterdir()) == []
    said = "Error while serializing: I/O error: No space left on device (os error 28)"
    with pytest.raises(StorageError, match=f"{tmp_path}: the disk is full"), disk_errors(tmp_path):
        raise SafetensorError(said)
