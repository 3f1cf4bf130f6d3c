"""The smallest backbone: what every backbone must do, and that nothing else needs to know it."""

from pathlib import Path

import numpy as np
import pytest
import torch

from base.errors import InputError
from base.storage.folder import Folder
from diffusion.flow import Flow
from diffusion.frame_difference import FrameDifference
from diffusion.options import Sampling
from models.estimate import activation_bytes, flops, parameters
from models.find import find_candidates
from models.folder import load_facts, load_network
from models.generator import Generator, Request
from models.patches.backbone import Patches
from models.video_model import DataShapes, predict
from tests.training.datasets import Toy, write_toy
from tests.training.runs import toy_job, train_here
from training.data.artifacts import Artifacts
from training.data.source import Source
from training.validation.measure import HeldOut, measure
from training.validation.options import Options
from training.validation.runs import find_comparable

SHAPES = DataShapes(latent=(4, 3, 8, 8), text=(5, 16))
TINY = Patches(width=16, depth=2, heads=2)


def given(batch: int = 2) -> dict[str, torch.Tensor]:
    draw = torch.Generator().manual_seed(1)
    shapes = SHAPES.conditions(batch)
    return {name: torch.rand(shapes[name], generator=draw) + 1 for name in ("text", "fps", "image_latent")}


def test_every_parameter_and_every_condition_has_a_gradient() -> None:
    network = TINY.new(SHAPES)
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    sample = torch.randn(2, 4, 3, 8, 8, requires_grad=True)
    conditions = {name: value.requires_grad_() for name, value in given().items()}
    predict(network, sample, torch.tensor([3.0, 700.0]), conditions).square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in network.parameters())
    assert all(value.grad is not None and value.grad.any() for value in [sample, *conditions.values()])


def test_a_patch_comes_out_where_it_went_in() -> None:
    """With layers that pass tokens through, a change of one cell changes its own patch alone."""
    network = Patches(width=64, depth=1, heads=1).new(SHAPES)
    torch.nn.init.normal_(network.out.weight)
    torch.nn.init.zeros_(network.layers[0].mixed.weight)
    sample = torch.randn(1, 4, 3, 8, 8)
    changed = sample.clone()
    changed[0, 2, 1, 5, 6] += 1
    with torch.no_grad():
        one, other = (predict(network, x, torch.tensor([5.0]), given(1)) for x in (sample, changed))
    where = (one - other).abs().sum(dim=(0, 1)).nonzero()
    assert {tuple(place) for place in where.tolist()} == {(1, row, column) for row in (4, 5) for column in (6, 7)}


def test_its_cost_is_counted() -> None:
    network = TINY.new(SHAPES)
    assert parameters(network) == sum(p.numel() for p in network.parameters())
    assert flops(network, SHAPES, 4) == 2 * flops(network, SHAPES, 2) > 0
    kept = activation_bytes(network, SHAPES, 2)
    network.enable_gradient_checkpointing()
    assert 0 < activation_bytes(network, SHAPES, 2) < kept


def test_gradients_are_the_same_where_layers_are_computed_again() -> None:
    network = TINY.new(SHAPES)
    torch.nn.init.normal_(network.out.weight)
    sample, found = torch.randn(2, 4, 3, 8, 8), []
    for _ in range(2):
        network.zero_grad()
        predict(network, sample, torch.tensor([3.0, 700.0]), given()).square().sum().backward()
        found.append([parameter.grad.clone() for parameter in network.parameters() if parameter.grad is not None])
        network.enable_gradient_checkpointing()
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


@pytest.mark.parametrize("sizes", [{"width": 10, "heads": 4}, {"depth": 0}])
def test_sizes_that_cannot_be_built(sizes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"network\.width"):
        Patches(**sizes)  # type: ignore[arg-type]
    for refused in (Patches(patch=3).new, Patches(patch=3).check):
        with pytest.raises(InputError, match="must divide the latent's 8 x 8 cells"):
            refused(SHAPES)


def test_it_is_trained_resumed_validated_and_sampled_like_any_other(tmp_path: Path) -> None:
    """With another process and another weighting: all three by the recipe alone."""
    data = write_toy(Folder(str(tmp_path / "data")), Toy(logvar=True))
    changes = {"network": TINY, "schedule": Flow(shift=2.0), "loss": FrameDifference(), "steps": 4}
    whole = train_here(toy_job(data, tmp_path / "whole", **changes))
    train_here(toy_job(data, tmp_path / "parts", **changes | {"steps": 2}))
    resumed = train_here(toy_job(data, tmp_path / "parts", **changes))
    for one, other in zip(whole.state.network.parameters(), resumed.state.network.parameters(), strict=True):
        assert torch.equal(one, other)

    (candidate,) = find_candidates([str(tmp_path / "whole")])
    assert candidate.facts.schedule == Flow(shift=2.0)
    source = Source(data.uri, Artifacts())
    options = Options(timesteps=(100, 900), device="cpu", resamples=10)
    errors = measure(candidate.load(), candidate.facts.schedule, HeldOut.choose(source, 3, 0), options, lambda _: None)
    assert np.isfinite(errors.overall).all()

    train_here(toy_job(data, tmp_path / "other", steps=1))
    with pytest.raises(InputError, match=r"schedule\.type: .*whole has flow, .*other has schedule"):
        find_comparable([str(tmp_path / "whole"), str(tmp_path / "other")])

    model = tmp_path / "whole/checkpoints/step-00000004/model"
    assert (model / "transformer" / "config.json").is_file()
    assert "FlowMatchEuler" in (model / "scheduler" / "scheduler_config.json").read_text()
    assert load_facts(model).schedule == Flow(shift=2.0)
    assert type(load_network(model)).__name__ == "PatchTransformer"
    generator = Generator.load(model, torch.device("cpu"))
    picture = np.zeros((32, 32, 3), np.uint8)
    video = generator.generate([Request(picture, "a star", seed=1)], Sampling(steps=3))
    assert video.shape[:2] == (1, generator.facts.frames)
