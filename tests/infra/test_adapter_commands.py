"""Adapters on the command line: trained, estimated, exported."""

import json
from pathlib import Path

import pytest
from safetensors.torch import load_file

from models.folder import load_card, load_network
from tests.infra.conftest import Motif
from tests.training.bases import BaseModel, write_base


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    return write_base(tmp_path_factory.mktemp("base"), "unet")


def arguments(base: BaseModel, out: Path, *more: str) -> list[str]:
    return [
        "train",
        "sprites",
        "--data",
        base.data.uri,
        "--out",
        str(out),
        "--samples.every",
        "0",
        "--steps",
        "1",
        *more,
    ]


def test_from_training_to_files_for_others(motif: Motif, base: BaseModel, tmp_path: Path) -> None:
    run = tmp_path / "run"
    lora = [
        "--base-model",
        str(base.folder),
        "--adapter",
        "lora",
        "--adapter.rank",
        "2",
        "--adapter.targets",
        "to_q",
        "to_k",
    ]
    status, out, said = motif(*arguments(base, run, *lora, "--dry-run"))
    assert status == 0, said
    assert json.loads(out)["adapter"]["type"] == "lora"
    assert "M, a LoRA of rank 2 on to_q, to_k" in said
    status, out, said = motif(*arguments(base, run, *lora))
    assert status == 0, said
    assert json.loads(out)["step"] == 1
    described = json.loads((run / "config.json").read_text())
    assert described["config"]["adapter"]["targets"] == ["to_q", "to_k"]

    status, out, said = motif("export", run, "--out", tmp_path / "lora.safetensors")
    assert (status, out) == (0, f"{tmp_path}/lora.safetensors\n"), said
    assert "conv_in.weight is trained as a whole" in said
    layers = {name.partition(".lora_")[0].rpartition(".")[2] for name in load_file(out.strip()) if ".lora_" in name}
    assert layers == {"to_q", "to_k"}
    status, out, said = motif("export", run, "--out", tmp_path / "whole")
    assert status == 0, said
    assert load_card(tmp_path / "whole").base is None
    assert load_network(tmp_path / "whole").config.image_condition == "x-cat"

    wrong = motif("convert", "lora", tmp_path / "lora.safetensors", tmp_path / "in", "--base-model", base.folder)
    assert wrong[0] == 2
    assert "has whole parameters beside its LoRA, such as conv_in.weight" in wrong[2]
    again = ["train", "--config", str(run / "config.json"), "--data", base.data.uri, "--out", str(tmp_path / "again")]
    assert motif(*again)[0] == 0
    assert json.loads((tmp_path / "again/config.json").read_text())["config"]["adapter"]["rank"] == 2
    status, _, said = motif(*again[:-1], str(tmp_path / "all"), "--adapter", "none")
    assert status == 0, said
    assert json.loads((tmp_path / "all/config.json").read_text())["config"]["adapter"] is None


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--adapter", "lorra"], "--adapter lorra: there are none, lora."),
        (["--adapter"], "--adapter : there are none, lora."),
        (["--adapter=lora"], "network.start is empty. Give a model folder with --base-model, or train all"),
        (["--adapter", "lora", "--base-model", "BASE", "--adapter.rank", "0"], "adapter.rank 0: must be at least 1"),
        (["--adapter", "lora", "--base-model", "BASE", "--adapter.targets", "to_w"], "to_w: no layer's name ends so"),
        (["--adapter", "lora", "--base-model", "BASE", "--adapter.base", "bfloat16"], "hardware.precision float32"),
        (["--adapter.rank", "3"], "adapter"),
    ],
)
def test_mistakes_get_one_line(motif: Motif, base: BaseModel, tmp_path: Path, more: list[str], said: str) -> None:
    given = [str(base.folder) if word == "BASE" else word for word in more]
    status, out, error = motif(*arguments(base, tmp_path / "run", *given))
    assert (status, out) == (2, "")
    assert said in error
    assert "Traceback" not in error
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_exports_that_are_refused(motif: Motif, base: BaseModel, tmp_path: Path) -> None:
    for args, said in (
        (["export"], "MODEL is missing"),
        (["export", str(tmp_path), "--out", "x"], "neither a run nor a model"),
        (["export", str(base.folder), "--out", str(tmp_path / "a.safetensors")], "is a whole model, not an adapter"),
        (["export", str(base.folder), "--out", str(base.folder)], "exists and is not empty"),
    ):
        status, _, error = motif(*args)
        assert status == 2
        assert said in error
        assert len(error.strip().splitlines()) == 1


def test_help_lists_the_options_of_an_adapter(motif: Motif) -> None:
    status, out, _ = motif("train", "sprites", "--adapter", "lora", "--help")
    assert status == 0
    for name in ("rank", "alpha", "targets", "dropout", "base"):
        assert f"--adapter.{name}" in out
    assert "--adapter lora" in motif("train", "--help")[1]
