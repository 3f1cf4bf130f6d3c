"""Runs in this process: what is written, resumed and refused."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from base.errors import InputError, NotFinite, StorageError
from base.storage.folder import Folder
from base.weights import Weights
from diffusion.motion_focal import MotionFocal
from models.folder import find_part, load_facts, load_network
from models.generator import Generator, Request
from models.patches.backbone import Patches
from models.video_model import Backbone, Recompute
from pipeline.curation.compact import compact
from tests.training.datasets import TOKENS, Toy, write_toy
from tests.training.runs import SMALL, TOY, losses, same, toy_job, train_here, weights
from training.data.order import Place
from training.loop.optimiser import Optimiser
from training.loop.parallel import World
from training.options import Hardware, Samples, Saves
from training.recipes import sprites
from training.run.checkpoints import Checkpoints
from training.run.job import frame_rates, open_sources, write_description
from training.run.launch import launch
from training.run.samples import Passes
from training.run.tracking import read_metrics
from training.run.worker import Worker, legend


def test_a_run_leaves_its_description_its_losses_and_a_model(toy_dataset: Folder, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train_here(toy_job(toy_dataset, run, samples=Samples(every=2, num=2, steps=2), trackers=("tensorboard",)))
    assert [line[0] for line in losses(run)] == [0, 1, 2, 3]
    told = json.loads((run / "config.json").read_text())
    assert told["data"]["0"]["clips"] == 12
    assert told["config"]["loss"]["weight"] == 1.0
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["step-00000002", "step-00000004"]
    assert [path.name for path in sorted((run / "samples").iterdir())] == [f"step-{n:08}" for n in (0, 2, 4)]
    prompts = json.loads((run / "samples" / "step-00000004" / "prompts.json").read_text())
    assert [sample["file"] for sample in prompts["samples"]] == ["00.mp4", "01.mp4"]
    assert all(sample["prompt"].startswith("square number") for sample in prompts["samples"])
    assert any((run / "tensorboard").iterdir())
    model = run / "checkpoints" / "step-00000004" / "model"
    assert load_facts(model).step == 4
    assert load_facts(model).latents["encoder"] == "PixelCodec"
    assert load_network(model).config.image_condition == "x-cat"


def test_what_takes_time_is_told_of(toy_dataset: Folder, tmp_path: Path) -> None:
    said: list[str] = []
    job = toy_job(toy_dataset, tmp_path / "run", samples=Samples(every=4, num=2, steps=2))
    Worker(job, World(torch.device("cpu")), said.append).run()
    assert said[0] == legend(job.config)
    assert said[1] == "samples of step 0: 2 clips, 2 passes (--samples.every 4)"
    assert [line.split("  loss")[0] for line in said if line.startswith(("step ", "check"))] == [
        *("step      1 of 4", "step      2 of 4", "checkpoint step-00000002"),
        *("step      3 of 4", "step      4 of 4", "checkpoint step-00000004"),
    ]
    steps = [line for line in said if line.startswith("step ")]
    assert ["  left " in line for line in steps] == [True, True, True, False]
    assert said[-2:-1] == ["samples of step 4: 2 clips, 2 passes (--samples.every 4)"]
    assert said[-1].startswith("samples of step 4: written, ")


def test_passes_are_told_every_few_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    clock = iter([0.0, 1.0, 6.0, 6.0, 7.0, 12.0, 12.0])
    monkeypatch.setattr("training.run.samples.time.monotonic", lambda: next(clock))
    passes = Passes("samples of step 0", said.append)
    for done in (1, 2, 3, 4):
        passes(done, 4)
    assert said == ["samples of step 0: pass 2 of 4", "samples of step 0: pass 4 of 4"]


@pytest.mark.parametrize(
    ("loss", "told"),
    [
        (MotionFocal(weight=5.0), "loss = plain + 5 x motion; norm: gradient norm before clipping to 1;"),
        (MotionFocal(weight=0.0), "loss = plain (without motion); norm"),
    ],
)
def test_the_numbers_of_a_step_are_explained(loss: MotionFocal, told: str) -> None:
    assert legend(replace(sprites(), loss=loss)).startswith(told)


def test_the_model_that_is_saved_holds_the_moving_average(toy_dataset: Folder, tmp_path: Path) -> None:
    train_here(toy_job(toy_dataset, tmp_path / "run"))
    state = weights(tmp_path / "run")
    model = load_network(tmp_path / "run" / "checkpoints" / "step-00000004" / "model").state_dict()
    name = "conv_in.weight"
    assert torch.equal(model[name], state[f"ema.{name}"])
    assert not torch.equal(state[f"ema.{name}"], state[f"network.{name}"])


@pytest.mark.parametrize("stop", [2, 3])
def test_a_run_that_stopped_goes_on_as_if_it_had_not(toy_dataset: Folder, tmp_path: Path, stop: int) -> None:
    """Stopped after step ``stop``, of which the checkpoint of step 2 is left; bit for bit."""
    train_here(toy_job(toy_dataset, tmp_path / "whole", steps=5))
    train_here(toy_job(toy_dataset, tmp_path / "cut", steps=stop))
    if stop == 3:  # as if it had been killed before it saved
        (tmp_path / "cut" / "checkpoints" / "step-00000003" / "progress.json").unlink()
    train_here(toy_job(toy_dataset, tmp_path / "cut", steps=5))
    assert losses(tmp_path / "cut") == losses(tmp_path / "whole")
    assert same(weights(tmp_path / "cut"), weights(tmp_path / "whole"))


def test_another_seed_is_another_run(toy_dataset: Folder, tmp_path: Path) -> None:
    for seed in (0, 1):
        train_here(toy_job(toy_dataset, tmp_path / f"{seed}", seed=seed, steps=1))
    assert losses(tmp_path / "0") != losses(tmp_path / "1")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"loss": MotionFocal(weight=2.0)}, r"loss.weight 1.0, not 2.0"),
        ({"seed": 5}, r"seed 0, not 5"),
        ({"batch": 8}, r"batch 4, not 8"),
        ({"network": replace(SMALL, layers_per_block=2)}, r"network.layers_per_block 1, not 2"),
    ],
)
def test_a_folder_of_another_run_is_refused(
    toy_dataset: Folder, tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    train_here(toy_job(toy_dataset, tmp_path, steps=1))
    with pytest.raises(InputError, match=told):
        train_here(toy_job(toy_dataset, tmp_path, steps=2, **changes))


def test_a_dataset_that_has_grown_is_refused(tmp_path: Path) -> None:
    dataset = write_toy(Folder(str(tmp_path / "data")), Toy(clips=8))
    train_here(toy_job(dataset, tmp_path / "run", steps=1))
    write_toy(dataset, Toy(clips=12))
    with pytest.raises(InputError, match="clips 8, not 12"):
        train_here(toy_job(dataset, tmp_path / "run", steps=2))


def test_a_dataset_that_was_compacted_has_another_order(tmp_path: Path) -> None:
    dataset = write_toy(Folder(str(tmp_path / "data")), Toy(clips_a_part=6, clips_a_row_group=6))
    train_here(toy_job(dataset, tmp_path / "run", steps=1))
    compact(dataset, 12, 12, lambda line: None)
    with pytest.raises(InputError, match=r"began with other data than .* data.0.digest \w+, not \w+. .*compact"):
        train_here(toy_job(dataset, tmp_path / "run", steps=2))
    train_here(toy_job(dataset, tmp_path / "other", steps=1))


def test_a_folder_with_other_things_is_refused(toy_dataset: Folder, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="neither empty nor a run"):
        train_here(toy_job(toy_dataset, tmp_path))


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_checkpoint(toy_dataset: Folder, tmp_path: Path) -> None:
    train_here(toy_job(toy_dataset, tmp_path, steps=2))
    before = weights(tmp_path)
    job = toy_job(toy_dataset, tmp_path, steps=4)
    worker = Worker(job, World(torch.device("cpu")), lambda line: None)
    with torch.no_grad():
        worker.state.network.conv_out.weight.fill_(float("nan"))
    with pytest.raises(NotFinite, match=r"step 2: the loss is nan"):
        worker.run()
    assert same(weights(tmp_path), before)
    assert [line[0] for line in losses(tmp_path)] == [0, 1]


def test_old_checkpoints_go(toy_dataset: Folder, tmp_path: Path) -> None:
    train_here(toy_job(toy_dataset, tmp_path, saves=Saves(every=1, keep=2)))
    assert Checkpoints(Folder(str(tmp_path)), 2).names() == ["step-00000003", "step-00000004"]


def test_a_run_in_a_bucket(bucket: str, tmp_path: Path) -> None:
    dataset = write_toy(Folder(f"{bucket}/data"))
    local = write_toy(Folder(str(tmp_path / "data")))
    for steps in (2, 3):  # the second goes on from the first
        train_here(toy_job(dataset, f"{bucket}/run", steps=steps))
    train_here(toy_job(local, tmp_path / "run", steps=3))
    assert losses(Folder(f"{bucket}/run")) == losses(tmp_path / "run")


def test_training_from_a_model_folder(toy_dataset: Folder, tmp_path: Path) -> None:
    train_here(toy_job(toy_dataset, tmp_path / "first"))
    model = tmp_path / "first" / "checkpoints" / "step-00000004" / "model"
    second = train_here(toy_job(toy_dataset, tmp_path / "second", network=replace(SMALL, start=str(model)), steps=1))
    assert second.card.facts.origin == str(model)
    elsewhere = write_toy(Folder(str(tmp_path / "data")), Toy(shape=(5, 4, 8, 8)))
    with pytest.raises(InputError, match=r"latents.luma: .* has 2, the dataset 3"):
        train_here(toy_job(elsewhere, tmp_path / "third", network=replace(SMALL, start=str(model))))
    larger = write_toy(Folder(str(tmp_path / "larger")), Toy(shape=(4, 4, 8, 16)))
    with pytest.raises(InputError, match=r"t h w of latents: .* has \(4, 8, 8\), the dataset \(4, 8, 16\)"):
        train_here(toy_job(larger, tmp_path / "fourth", network=replace(SMALL, start=str(model))))


@pytest.mark.parametrize("condition", ["cx-attn", "both"])
def test_networks_that_attend_to_the_image(tmp_path: Path, condition: Any) -> None:
    dataset = write_toy(Folder(str(tmp_path / "data")), Toy(image=(4, TOKENS.width)))
    network = replace(SMALL, image_condition=condition)
    train_here(toy_job(dataset, tmp_path / "run", network=network, samples=Samples(every=4, num=1, steps=1)))
    model = tmp_path / "run" / "checkpoints" / "step-00000004" / "model"
    assert load_network(model).config.image_condition == condition
    generator = Generator.load(model, torch.device("cpu"))
    (video,) = generator.generate([Request(np.zeros((48, 90, 3), np.uint8), "a square")])
    assert video.shape == (4, 64, 64, 3)


@pytest.mark.parametrize(
    ("toy", "told"),
    [
        (Toy(without=frozenset({"heatmaps"})), "holds no heatmaps"),
        (Toy(failed={"latents": set(range(12))}), "no clip is left"),
        (Toy(empty_text=False), "lacks the states of the empty caption"),
    ],
)
def test_datasets_that_cannot_be_trained_on(tmp_path: Path, toy: Toy, told: str) -> None:
    dataset = write_toy(Folder(str(tmp_path / "data")), toy)
    with pytest.raises(InputError, match=told):
        train_here(toy_job(dataset, tmp_path / "run"))


def test_image_tokens_that_are_missing(toy_dataset: Folder, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no image"):
        train_here(toy_job(toy_dataset, tmp_path, network=replace(SMALL, image_condition="both")))


def test_a_corrupt_part_is_named(tmp_path: Path) -> None:
    dataset = write_toy(Folder(str(tmp_path / "data")))
    part = sorted((tmp_path / "data" / "latents").iterdir())[0]
    data = bytearray(part.read_bytes())
    data[100:3000] = b"\xff" * 2900
    part.write_bytes(bytes(data))
    with pytest.raises(StorageError, match=part.name):
        train_here(toy_job(dataset, tmp_path / "run"))


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (lambda: replace(TOY, batch=5, hardware=Hardware(workers=3)), "set batch to 6"),
        (lambda: replace(TOY, seed=-1), "seed -1"),
        (lambda: replace(TOY, samples=Samples(steps=2000)), "at most schedule.steps, 1000"),
        (lambda: replace(TOY, hardware=Hardware(workers=0, parallel="fsdp")), "set hardware.workers to 2"),
        (lambda: Hardware(workers=-1), "hardware.workers -1"),
        (lambda: Hardware(recompute="cheap"), "set hardware.checkpointing, too"),
        (lambda: Samples(num=0), "samples.num 0"),
        (lambda: Samples(guidance=-1), "samples.guidance -1"),
        (lambda: Saves(every=0), "saves.every 0"),
        (lambda: Optimiser(ema=1.0), "optimiser.ema"),
        (lambda: Optimiser(warmup=-5), "optimiser.warmup -5"),
        (lambda: Optimiser(lr=float("inf")), "optimiser.lr"),
        (lambda: Optimiser(betas=(0.9, 1.0)), "optimiser.betas"),
        (lambda: replace(SMALL, block_out_channels=(30, 60)), "30 must be a multiple of attention_head_dim, 8"),
        (lambda: replace(SMALL, dropout=2.0), "network.dropout 2.0"),
    ],
)
def test_nonsense_is_refused_when_it_is_written(made: Callable[[], object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        made()


@pytest.mark.parametrize("network", [SMALL, Patches(width=16, depth=2, heads=2)], ids=["unet", "patches"])
def test_what_is_recomputed_may_change_on_the_way_and_changes_no_digit(
    toy_dataset: Folder, tmp_path: Path, network: Backbone
) -> None:
    changes: list[tuple[Recompute | None, Recompute | None]] = [(None, None), ("all", "cheap"), ("cheap", None)]
    for number, ways in enumerate(changes):
        for steps, way in zip((1, 3), ways, strict=True):
            hardware = replace(TOY.hardware, checkpointing=way is not None, recompute=way or "all", micro_batch=2)
            train_here(toy_job(toy_dataset, tmp_path / f"{number}", network=network, hardware=hardware, steps=steps))
    for number in (1, 2):
        assert losses(tmp_path / f"{number}") == losses(tmp_path / "0")
        assert same(weights(tmp_path / f"{number}"), weights(tmp_path / "0"))
    stored = [json.loads((tmp_path / f"{number}/config.json").read_text()) for number in (0, 1)]
    assert "recompute" not in stored[0]["config"]["hardware"]  # as in runs from before there was a choice
    assert stored[1]["config"]["hardware"]["recompute"] == "cheap"


def test_the_rate_may_be_lowered_on_the_way(toy_dataset: Folder, tmp_path: Path) -> None:
    train_here(toy_job(toy_dataset, tmp_path, steps=2))
    train_here(toy_job(toy_dataset, tmp_path, steps=3, optimiser=replace(TOY.optimiser, lr=1e-4)))
    assert [line["lr"] for line in read_metrics(Folder(str(tmp_path)))] == [1e-3, 1e-3, 1e-4]


def test_what_was_wrong_may_change_before_the_first_checkpoint(toy_dataset: Folder, tmp_path: Path) -> None:
    job = toy_job(toy_dataset, tmp_path)
    write_description(job, open_sources(job))
    assert train_here(toy_job(toy_dataset, tmp_path, seed=3)).loop.progress.step == 4


def test_a_dataset_named_twice(toy_dataset: Folder, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="give each dataset once"):
        open_sources(replace(toy_job(toy_dataset, tmp_path), data=(toy_dataset.uri, toy_dataset.uri)))


@pytest.mark.parametrize("text", ["no json", "[]", '{"_class_name": "VideoUNet"}'])
def test_a_folder_with_a_config_of_something_else(toy_dataset: Folder, tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(InputError, match=r"config\.json"):
        train_here(toy_job(toy_dataset, tmp_path))


def test_the_card_of_a_model_names_its_encoders(toy_dataset: Folder, tmp_path: Path) -> None:
    """A dataset made with an autoencoder: its weights' source goes from dataset.json into the card."""
    dataset = write_toy(Folder(str(tmp_path / "data")))
    told = json.loads((tmp_path / "data" / "dataset.json").read_text())
    vae = Weights("org/vae", "main", "vae")
    told["artifacts"]["latents"]["facts"] |= vae.facts()
    (tmp_path / "data" / "dataset.json").write_text(json.dumps(told))
    train_here(toy_job(dataset, tmp_path / "run"))
    model = tmp_path / "run" / "checkpoints" / "step-00000004" / "model"
    assert find_part(model, "vae") == vae
    assert (load_facts(model).fps, load_facts(model).default_fps) == ((8.0, 10.0), 9.0)


def test_rare_frame_rates_do_not_move_the_default(tmp_path: Path) -> None:
    """Of 5 and 1000 frames a second among forty clips at 8 to 10, the middle was 502."""
    dataset = write_toy(Folder(str(tmp_path / "d")), Toy(clips=40))
    for part in (tmp_path / "d" / "clips").iterdir():
        table = pq.read_table(part)
        rates = table.column("fps").to_pylist()
        rates[0] = 5.0 if "0000" in part.name else 1000.0 if "0008" in part.name else rates[0]
        pq.write_table(table.set_column(table.column_names.index("fps"), "fps", pa.array(rates)), part)
    sources = open_sources(toy_job(dataset, tmp_path / "run", fps_max=None))
    assert sources[0].rates.max() == 1000
    assert frame_rates(sources) == (8.0, 9.0, 10.0)
    capped = open_sources(toy_job(dataset, tmp_path / "run"))[0]
    assert capped.rates.max() == 32
    assert capped.read(Place(2, 0))["fps"] == 32


def test_a_run_of_an_earlier_version_keeps_its_order(toy_dataset: Folder, tmp_path: Path) -> None:
    """Its configuration names neither window nor fps_max; launched again it goes on as that version would have."""
    whole = tmp_path / "whole"
    train_here(toy_job(toy_dataset, whole, window=0, fps_max=None))
    old = tmp_path / "old"
    train_here(toy_job(toy_dataset, old, window=0, fps_max=None, steps=2))
    told = json.loads((old / "config.json").read_text())
    assert (told["config"].pop("window"), told["config"].pop("fps_max")) == (0, None)
    (old / "config.json").write_text(json.dumps(told))
    launch(toy_job(toy_dataset, old), lambda line: None)
    assert losses(old) == losses(whole)
    assert same(weights(old), weights(whole))
    assert json.loads((old / "config.json").read_text())["config"]["window"] == 0
    train_here(toy_job(toy_dataset, tmp_path / "new"))
    assert losses(tmp_path / "new") != losses(whole)
    with pytest.raises(InputError, match="window 0, not 4096"):
        launch(toy_job(toy_dataset, old, steps=6, window=4096), lambda line: None)
