"""Runs that train an adapter: what changes, what is saved, resumed and refused, and what the model then is."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from base.errors import InputError, StorageError, WeightsError
from base.storage.folder import Folder
from base.weights import Weights
from diffusion.options import Sampling
from models.adapters.attach import is_low_rank, trained
from models.adapters.export import export_lora, export_model, import_lora
from models.adapters.files import LORA_FILE, read_adapter
from models.adapters.lora import Lora
from models.folder import load_adapter, load_card, load_network, revision
from models.generator import Generator, Request
from models.video_model import VideoModel, predict, unwrap
from serving.generate.describe import describe
from tests.training.bases import LORA, BaseModel, write_base, write_model_of
from tests.training.runs import TOY, losses, same, train_here, weights
from training.cost import run_cost
from training.network import build_network, check_start
from training.options import Hardware, Samples, Saves
from training.recipes import Train
from training.run.job import open_sources
from training.run.launch import launch
from training.run.worker import Worker

KINDS = ("unet", "patches", "wan")
MODEL = "checkpoints/step-00000004/model"


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, BaseModel]:
    """A base of each kind; not to be written to."""
    return {kind: write_base(tmp_path_factory.mktemp(kind), kind) for kind in KINDS}


@pytest.fixture(scope="module")
def runs(bases: dict[str, BaseModel], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Worker]:
    """A run of four steps of each kind, with samples."""
    samples = Samples(every=4, num=1, steps=2)
    return {
        kind: train_here(bases[kind].job(tmp_path_factory.mktemp("runs") / kind, samples=samples)) for kind in KINDS
    }


def run_of(worker: Worker) -> Path:
    return worker.job.out.path


@pytest.mark.parametrize("kind", KINDS)
def test_the_base_does_not_change_by_a_bit_and_the_adapter_does(
    bases: dict[str, BaseModel], runs: dict[str, Worker], kind: str
) -> None:
    worker = runs[kind]
    network, config = unwrap(worker.state.network), worker.config
    began = build_network(config.network, worker.sources[0].facts, config.seed, config.adapter)
    before, after = dict(began.named_parameters()), dict(network.named_parameters())
    changing = trained(network).keys()
    assert {name for name in changing if not is_low_rank(name)} == ({"conv_in.weight"} if kind == "unet" else set())
    for name, parameter in after.items():
        assert torch.equal(parameter, before[name]) is (name not in changing), name
    base = load_network(bases[kind].folder).state_dict()
    kept = [name for name in after if name.replace(".base_layer", "") in base and name not in changing]
    assert len(kept) == len(base) - (kind == "unet")
    assert all(torch.equal(after[name], base[name.replace(".base_layer", "")]) for name in kept)
    if kind == "unet":  # the channels of the image, which begin with zeros, and the others
        moved = (after["conv_in.weight"] != before["conv_in.weight"]).flatten(2).any(-1).any(0)
        assert moved.tolist() == [True] * 8


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_holds_what_is_trained_alone(runs: dict[str, Worker], kind: str) -> None:
    worker = runs[kind]
    names = set(trained(unwrap(worker.state.network)))
    found = weights(run_of(worker))
    parts = {name.partition(".")[0] for name in found}
    assert parts == {"network", "ema", "optimiser"}
    for part in ("network", "ema"):
        assert {name.removeprefix(f"{part}.") for name in found if name.startswith(f"{part}.")} == names
    model = run_of(worker) / MODEL
    (file,) = model.rglob("*.safetensors")
    assert file.name == LORA_FILE
    cost = run_cost(worker.config, worker.sources[0].facts.shapes)
    count = sum(parameter.numel() for parameter in trained(unwrap(worker.state.network)).values())
    assert cost.network.trained == count < cost.network.parameters / 2
    assert cost.network.gradients == cost.network.optimizer / 2 == cost.network.ema == 4 * count
    stored = sum(tensor.nbytes for tensor in (*found.values(), *load_file(file).values()))
    assert stored == pytest.approx(cost.checkpoint, rel=0.01)  # AdamW also counts the steps of each tensor
    assert cost.checkpoint == 20 * count


@pytest.mark.parametrize("kind", KINDS)
def test_the_model_is_the_average_that_was_trained(runs: dict[str, Worker], kind: str) -> None:
    """Merged, as sampling and serving load it, it computes what the network with its adapter does."""
    worker = runs[kind]
    state, model = worker.state, run_of(worker) / MODEL
    assert worker.sampler is not None
    assert state.ema is not None
    batch = worker.sampler.batch

    def run(network: VideoModel) -> Tensor:
        with torch.no_grad():
            return predict(network.eval(), batch.latents, batch.timestep, batch.conditions)

    with state.ema.swapped(state.trained):
        expected = run(unwrap(state.network))
    merged = load_network(model)
    assert merged.adapter is None
    torch.testing.assert_close(run(merged), expected, rtol=0, atol=1e-5 * float(expected.abs().max()))
    base = run(build_network(worker.config.network, worker.sources[0].facts, 0))
    assert (expected - base).abs().max() > 1e-3 * expected.abs().max()
    picture = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    video = Generator.load(model, torch.device("cpu")).generate([Request(picture, "a square")], Sampling(steps=2))
    assert video.std() > 0
    assert (run_of(worker) / "samples/step-00000004/00.mp4").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_step_is_that_of_the_base(bases: dict[str, BaseModel], kind: str, tmp_path: Path) -> None:
    """Its loss is that of a run which trains all weights of the same model.

    Up to the last digit: matrix products round by where their operands lie in memory.
    """
    first = []
    for adapter in (None, replace(LORA, dropout=0.0)):
        job = bases[kind].job(tmp_path / str(adapter is None), adapter, steps=1)
        train_here(job)
        first.append(losses(job.out.path)[0][:4])
    assert first[0] == pytest.approx(first[1], rel=1e-6)


@pytest.mark.parametrize("stop", [1, 2, 3])
def test_a_run_that_stopped_at_any_step_goes_on_bit_for_bit(
    bases: dict[str, BaseModel], runs: dict[str, Worker], tmp_path: Path, stop: int
) -> None:
    """With dropout in the adapter. Stopped before the last checkpoint was complete, as by a kill."""
    base, whole = bases["patches"], run_of(runs["patches"])
    saves = Saves(every=1, keep=4)
    train_here(base.job(tmp_path, steps=stop, saves=saves))
    if stop > 1:
        (tmp_path / f"checkpoints/step-{stop:08}/progress.json").unlink()
    train_here(base.job(tmp_path, saves=saves))
    assert losses(tmp_path) == losses(whole)
    assert same(weights(tmp_path), weights(whole))


@pytest.mark.parametrize("kind", ["unet", "wan"])
def test_the_other_backbones_go_on_as_well(
    bases: dict[str, BaseModel], runs: dict[str, Worker], tmp_path: Path, kind: str
) -> None:
    for steps in (2, 4):
        train_here(bases[kind].job(tmp_path, steps=steps))
    assert same(weights(tmp_path), weights(run_of(runs[kind])))


@pytest.fixture
def begun(bases: dict[str, BaseModel], tmp_path: Path) -> BaseModel:
    """A base of one's own, with a run of one step in ``run``."""
    base = replace(bases["patches"], folder=tmp_path / "model")
    shutil.copytree(bases["patches"].folder, base.folder)
    train_here(base.job(tmp_path / "run", steps=1))
    return base


@pytest.mark.parametrize(
    ("adapter", "said"),
    [
        (replace(LORA, rank=4), r"adapter\.rank 3, not 4"),
        (replace(LORA, alpha=None), r"adapter\.alpha 6\.0, not None"),
        (replace(LORA, targets=("qkv",)), r"adapter\.targets \[\], not \['qkv'\]"),
        (replace(LORA, dropout=0.0), r"adapter\.dropout 0\.1, not 0\.0"),
        (None, r"adapter lora, not None"),
    ],
)
def test_another_adapter_is_refused_by_name(begun: BaseModel, tmp_path: Path, adapter: Lora | None, said: str) -> None:
    with pytest.raises(InputError, match=f"holds a run with {said}"):
        launch(begun.job(tmp_path / "run", adapter, steps=2), lambda line: None)


def test_a_base_that_changed_since_is_refused(begun: BaseModel, tmp_path: Path) -> None:
    """On resume and when the adapter is loaded: nothing of the base is in the run."""
    model = tmp_path / "run/checkpoints/step-00000001/model"
    load_network(model)
    shutil.rmtree(begun.folder)
    with pytest.raises(
        WeightsError, match=rf"{model} is an adapter of {begun.folder}, which is not here\. Copy .*export"
    ):
        load_network(model)
    write_model_of(begun, seed=1)
    with pytest.raises(InputError, match=r"holds a run with base\.tensors blake3:\w+, not blake3:\w+"):
        launch(begun.job(tmp_path / "run", steps=2), lambda line: None)
    with pytest.raises(WeightsError, match=r"is an adapter of another model than .* trained on\.$"):
        load_network(model)


def test_a_server_knows_at_its_start_that_the_base_is_gone(begun: BaseModel, tmp_path: Path) -> None:
    model = tmp_path / "run/checkpoints/step-00000001/model"
    assert describe("a", str(model)).frames == 4
    begun.folder.rename(tmp_path / "moved")
    with pytest.raises(WeightsError, match="which is not here"):
        describe("a", str(model))


def test_the_base_may_move(begun: BaseModel, bases: dict[str, BaseModel], tmp_path: Path) -> None:
    model = tmp_path / "run/checkpoints/step-00000001/model"
    expected = load_network(model).state_dict()
    shutil.rmtree(begun.folder)
    place = Weights(str(bases["patches"].folder))
    export_model(model, tmp_path / "whole", place)
    assert same(load_network(tmp_path / "whole").state_dict(), expected)
    assert same(load_network(model, base=place).state_dict(), expected)


@pytest.mark.parametrize("kind", KINDS)
def test_an_exported_model_stands_alone(runs: dict[str, Worker], kind: str, tmp_path: Path) -> None:
    model = run_of(runs[kind]) / MODEL
    export_model(model, tmp_path / "whole")
    assert load_card(tmp_path / "whole").base is None
    assert replace(load_card(model), base=None) == load_card(tmp_path / "whole")
    assert same(load_network(tmp_path / "whole").state_dict(), load_network(model).state_dict())
    assert revision(tmp_path / "whole") != revision(model)
    lora = tmp_path / "lora.safetensors"
    assert export_lora(model, lora) == (["conv_in.weight"] if kind == "unet" else [])
    assert load_file(lora).keys() == load_file(next(model.rglob(LORA_FILE))).keys()
    ours, theirs = load_adapter(model), read_adapter(lora, "unet" if kind == "unet" else "transformer")
    pairs = [(half, theirs.layers[layer][n]) for layer in ours.layers for n, half in enumerate(ours.layers[layer])]
    assert all(torch.equal(one, other) for one, other in pairs)
    for wrong, said in ((model, "lora.safetensors exists"), (tmp_path / "whole", "is a whole model, not an adapter")):
        with pytest.raises(InputError, match=said):
            export_lora(wrong, lora)


@pytest.mark.parametrize("kind", ["patches", "wan"])
def test_an_exported_lora_comes_back_as_it_was(
    bases: dict[str, BaseModel], runs: dict[str, Worker], kind: str, tmp_path: Path
) -> None:
    model, file = run_of(runs[kind]) / MODEL, tmp_path / "lora.safetensors"
    export_lora(model, file)
    import_lora(file, bases[kind].folder, tmp_path / "back")
    assert same(load_network(tmp_path / "back").state_dict(), load_network(model).state_dict())
    assert load_card(tmp_path / "back").base == load_card(model).base
    assert revision(tmp_path / "back") == revision(model)
    with pytest.raises(InputError, match="back exists and is not empty"):
        import_lora(file, bases[kind].folder, tmp_path / "back")
    with pytest.raises(WeightsError, match=r"lora\.safetensors (is no adapter of this network|is no LoRA)"):
        import_lora(file, bases["unet"].folder, tmp_path / "other")
    with pytest.raises(InputError, match="is an adapter itself"):
        import_lora(file, model, tmp_path / "other")
    assert not (tmp_path / "other").exists()


def test_what_an_adapter_cannot_belong_to(bases: dict[str, BaseModel], runs: dict[str, Worker], tmp_path: Path) -> None:
    base = bases["patches"]
    nothing = base.job(tmp_path / "a")
    nothing = replace(nothing, config=replace(nothing.config, network=replace(nothing.config.network, start="")))
    with pytest.raises(InputError, match=r"network\.start is empty\. Give a model folder with --base-model, or"):
        launch(nothing, lambda line: None)
    with pytest.raises(InputError, match=r"network\.start is empty"):
        build_network(nothing.config.network, open_sources(nothing)[0].facts, 0, LORA)
    adapter = replace(base, folder=run_of(runs["patches"]) / MODEL)
    with pytest.raises(InputError, match=r"is an adapter itself\. Write it as a whole model first \(`motif export"):
        launch(adapter.job(tmp_path / "b"), lambda line: None)
    job = adapter.job(tmp_path / "c", None, steps=1)  # all of its weights can be trained
    check_start(job.config.network, open_sources(job)[0].facts)
    began = build_network(job.config.network, open_sources(job)[0].facts, 0).state_dict()
    assert same(began, load_network(adapter.folder).state_dict())
    with pytest.raises(InputError, match=r"adapter\.targets to_q: no layer's name ends so"):
        launch(base.job(tmp_path / "d", Lora(targets=("to_q",))), lambda line: None)
    assert not (tmp_path / "d" / "checkpoints").exists()


def test_a_checkpoint_of_another_adapter_is_named(begun: BaseModel, tmp_path: Path) -> None:
    config = tmp_path / "run/config.json"
    described = json.loads(config.read_text())
    described["config"]["adapter"]["rank"] = 5
    config.write_text(json.dumps(described))
    with pytest.raises(StorageError, match=r"not of this adapter: .* is \[3, 16\] instead of \[5, 16\]"):
        launch(begun.job(tmp_path / "run", replace(LORA, rank=5), steps=2), lambda line: None)


def test_a_base_in_bfloat16_trains_with_the_same_losses(bases: dict[str, BaseModel], tmp_path: Path) -> None:
    """Under autocast, which rounds the same matrices; and half of their bytes are held."""
    hardware = replace(TOY.hardware, precision="bfloat16")
    found = []
    for held in ("float32", "bfloat16"):
        job = bases["patches"].job(tmp_path / held, replace(LORA, base=held), hardware=hardware, steps=3)
        train_here(job)
        found.append((losses(job.out.path), weights(job.out.path)))
    assert found[0][0] == found[1][0]
    assert same(found[0][1], found[1][1])
    with pytest.raises(ValueError, match=r"adapter\.base bfloat16 with hardware\.precision float32"):
        Train(adapter=Lora(base="bfloat16"), hardware=Hardware(precision="float32"))


def test_an_estimate_counts_the_adapter(bases: dict[str, BaseModel], tmp_path: Path) -> None:
    base = bases["unet"]
    shapes = open_sources(base.job(tmp_path))[0].facts.shapes
    costs = {}
    for name, adapter in (("all", None), ("lora", LORA), ("half", replace(LORA, base="bfloat16"))):
        hardware = replace(TOY.hardware, precision="bfloat16")
        costs[name] = run_cost(base.job(tmp_path, adapter, hardware=hardware).config, shapes).network
    assert costs["all"].trained == costs["all"].parameters
    assert costs["lora"].weights == 4 * costs["lora"].parameters
    assert costs["lora"].parameters > costs["all"].parameters
    assert costs["half"].weights < 0.6 * costs["lora"].weights
    share = costs["lora"].trained / costs["lora"].parameters
    assert costs["lora"].step_flops == pytest.approx((2 + share) * costs["lora"].forward_flops, rel=1e-6)


def test_a_run_in_a_bucket(bucket: str, bases: dict[str, BaseModel], runs: dict[str, Worker]) -> None:
    job: Any = replace(bases["patches"].job(Path("unused")), out=Folder(f"{bucket}/run"))
    train_here(job)
    found = load_network(Weights(f"{bucket}/run/{MODEL}")).state_dict()
    assert same(found, load_network(run_of(runs["patches"]) / MODEL).state_dict())
