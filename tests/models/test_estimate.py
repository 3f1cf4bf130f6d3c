import time
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from base.gpus import Cost
from models.adapters.attach import attach
from models.adapters.lora import Lora
from models.estimate import activation_bytes, estimate, flops, forward_cost, parameters
from models.video_model import DataShapes
from models.videocrafter2.backbone import VideoCrafter2
from models.videocrafter2.unet import VideoUNet
from tests.models.videocrafter2.models import conditions, small

SHAPES = DataShapes(latent=(4, 3, 8, 8), text=(5, 16), image=(7, 12))
FULL = DataShapes(latent=(4, 16, 40, 64), text=(77, 1024), image=(257, 1280))


def kept_for_backward(model: VideoUNet) -> int:
    """What a real forward pass keeps, on this CPU."""
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        out = model.train()(**conditions(model))
    own = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    found = sum(tensor.untyped_storage().nbytes() for at, tensor in kept.items() if at not in own)
    assert out.requires_grad
    return found


@pytest.mark.parametrize("condition", ["none", "both"])
def test_activations_are_those_that_a_forward_pass_keeps(condition: str) -> None:
    model = small(image_condition=condition)
    assert activation_bytes(model, SHAPES, 2, "float32") == pytest.approx(kept_for_backward(model), rel=0.01)


def test_frozen_layers_keep_no_inputs_for_their_weights() -> None:
    """Under an adapter on a part of the layers, counted as a real forward pass keeps them."""
    model = small()
    attach(model, Lora(rank=4), VideoCrafter2.lora_targets)
    found = activation_bytes(model, SHAPES, 2, "float32")
    assert found == pytest.approx(kept_for_backward(model), rel=0.01)
    few = small()
    attach(few, Lora(rank=1, targets=("conv_out",)))
    assert activation_bytes(few, SHAPES, 2, "float32") < 0.1 * activation_bytes(small(), SHAPES, 2, "float32")


def test_between_recomputed_units_the_same_is_kept() -> None:
    """The greatest unit comes on top: what a real run keeps between the units is less by just that."""
    model = small(block_out_channels=(8, 16, 16), layers_per_block=2)
    whole = activation_bytes(model, SHAPES, 2, "float32")
    model.enable_gradient_checkpointing()
    between = kept_for_backward(model)
    assert between < activation_bytes(model, SHAPES, 2, "float32") < between + whole / 3


def test_autocast_keeps_less_and_counts_its_copies_of_the_weights() -> None:
    model = small()
    few, many = (replace(SHAPES, latent=(4, 3, side, side)) for side in (8, 32))
    weights = 2 * sum(p.numel() for p in model.parameters() if p.dim() > 1)
    assert weights < activation_bytes(model, few, 2) < activation_bytes(model, few, 2, "float32") + weights
    assert 0.5 < activation_bytes(model, many, 2) / activation_bytes(model, many, 2, "float32") < 0.85


def test_flops_of_a_convolution_are_counted_in_closed_form() -> None:
    """The image's four channels change the first convolution alone: two FLOPs for each of 3 x 3 weights and output."""
    more = flops(small(image_condition="x-cat"), SHAPES, 2) - flops(small(image_condition="none"), SHAPES, 2)
    assert more == 2 * 3 * 3 * 4 * 8 * (2 * 3 * 8 * 8)
    assert flops(small(), SHAPES, 4) == 2 * flops(small(), SHAPES, 2)


def test_an_estimate_of_the_base_model_takes_seconds_and_no_memory() -> None:
    with torch.device("meta"):
        model = VideoUNet()
    model.enable_gradient_checkpointing()
    began = time.monotonic()
    found = estimate(model, FULL, 8)
    assert time.monotonic() - began < 30
    assert found.parameters == parameters(model) == 1_413_284_420 + 320 * 4 * 9
    assert (found.weights, found.gradients, found.optimizer, found.ema) == tuple(
        found.parameters * size for size in (4, 4, 8, 4)
    )
    assert found.step_flops == 4 * found.forward_flops
    assert found.total == 20 * found.parameters + found.activations
    # MotiF trained 8 clips a device on 80 GB.
    assert found.total < 80e9
    model.disable_gradient_checkpointing()
    plain = estimate(model, FULL, 8, ema=False)
    assert plain.step_flops == 3 * plain.forward_flops
    assert plain.ema == 0
    assert plain.activations > 5 * found.activations


def test_a_forward_pass_moves_its_inputs_weights_and_outputs() -> None:
    layer = torch.nn.Linear(32, 64, bias=False, device="meta")
    images = torch.empty(8, 32, device="meta")
    whole = forward_cost(lambda: layer(images), "float32")
    assert whole == Cost(2 * 8 * 32 * 64, 4 * (8 * 32 + 32 * 64 + 8 * 64), "float32")
    assert forward_cost(lambda: layer(images).view(-1).detach(), "float32") == whole  # views move nothing
    assert whole.times(3) == Cost(3 * whole.flops, 3 * whole.moved, "float32")
    casts = (4 + 2) * (8 * 32 + 32 * 64)
    half = forward_cost(lambda: layer(images), "float16", autocast=True)
    assert half == Cost(whole.flops, whole.moved / 2 + casts, "float16")
