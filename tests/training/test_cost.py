"""What a run costs, beside what one really leaves."""

from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file

from base.storage.folder import Folder
from diffusion.flow import Flow
from models.adapters.lora import Lora
from models.video_model import DataShapes
from models.wan.backbone import I2V_A14B, TI2V_5B, WAN21_GRID, WAN22_GRID, Wan
from tests.training.runs import TOY, toy_job, train_here
from training.cost import run_cost
from training.loop.optimiser import Optimiser
from training.options import Hardware
from training.recipes import Train
from training.run.job import open_sources


@pytest.mark.parametrize("ema", [0.9, 0.0])
def test_a_checkpoint_has_as_many_bytes_as_estimated(toy_dataset: Folder, tmp_path: Path, ema: float) -> None:
    job = toy_job(toy_dataset, tmp_path, steps=1, optimiser=Optimiser(ema=ema))
    train_here(job)
    cost = run_cost(job.config, open_sources(job)[0].facts.shapes)
    files = list((tmp_path / "checkpoints").rglob("*.safetensors"))
    assert len(files) == 2
    stored = sum(tensor.nbytes for path in files for tensor in load_file(path).values())
    assert stored == pytest.approx(cost.checkpoint, rel=0.01)  # AdamW also counts the steps of each tensor


def test_workers_share_a_step(toy_dataset: Folder) -> None:
    shapes = open_sources(toy_job(toy_dataset, ""))[0].facts.shapes
    alone = run_cost(TOY, shapes)
    two = run_cost(replace(TOY, hardware=Hardware(workers=2, micro_batch=1)), shapes)
    assert (alone.passes, alone.clips_a_pass, two.passes, two.clips_a_pass) == (1, 4, 2, 1)
    assert two.step_flops * 2 == alone.step_flops
    sharded = run_cost(replace(TOY, hardware=Hardware(workers=2, micro_batch=1, parallel="fsdp")), shapes)
    held = 20 * sharded.network.parameters
    assert two.memory - sharded.memory == held / 2


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")  # torch's, of Wan's norms under autocast
@pytest.mark.parametrize(
    ("backbone", "size", "gib", "tflop"),
    [
        (TI2V_5B, (49, 480, 832), 13.0, 57),
        (TI2V_5B, (121, 704, 1280), 23.9, 524),
        (I2V_A14B, (49, 480, 832), 42.2, 838),
        (I2V_A14B, (81, 480, 832), 50.3, 1687),
    ],
    ids=["5B-49", "5B-121", "A14B-49", "A14B-81"],
)
def test_an_adapter_of_wan_takes_what_was_counted_elsewhere(
    backbone: Wan, size: tuple[int, int, int], gib: float, tflop: float
) -> None:
    """A LoRA of rank 32, one clip at a time, base in bfloat16, checkpointing; counted with diffusers and peft alone."""
    grid = WAN22_GRID if backbone is TI2V_5B else WAN21_GRID
    shapes = DataShapes(grid.shape(*size), (512, 4096))
    hardware = Hardware(workers=1, micro_batch=1, checkpointing=True)
    config = Train(backbone, Lora(base="bfloat16"), Flow(shift=5.0), batch=1, hardware=hardware)
    cost = run_cost(config, shapes)
    assert cost.memory / 2**30 == pytest.approx(gib, rel=0.15)
    assert cost.network.forward_flops / 1e12 == pytest.approx(tflop, rel=0.05)
    assert cost.step_flops == pytest.approx(3 * cost.network.forward_flops, rel=0.05)
    width, layers = backbone.heads * backbone.head_dim, backbone.layers
    each = 8 * 2 * width + 2 * (width + backbone.feed_forward)  # inputs and outputs of a block's ten matrices
    assert cost.network.trained == 32 * layers * each
