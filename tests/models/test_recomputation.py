"""Gradient checkpointing changes memory and FLOPs, and no gradient; and the estimate says what it takes."""

import gc
from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from models.adapters.attach import attach
from models.adapters.lora import Lora
from models.estimate import activation_bytes, estimate
from models.video_model import Recompute, VideoModel
from tests.models.adapters.networks import BACKBONES, SHAPES, fill_lora, inputs, small

WAYS: tuple[Recompute | None, ...] = (None, "cheap", "all")


def made(kind: str, way: Recompute | None, *, adapter: bool = False, dropout: float | None = None) -> VideoModel:
    """In training; ``dropout`` is that of all layers that have some."""
    network = small(kind).train()
    if adapter:
        attach(network, Lora(rank=2, dropout=0.2), BACKBONES[kind].lora_targets)
        fill_lora(network)
    for module in network.modules():
        if isinstance(module, nn.Dropout) and dropout is not None:
            module.p = dropout
    if way:
        network.enable_gradient_checkpointing(way)
    return network


def gradients(network: VideoModel, *, half: bool = False) -> tuple[dict[str, Tensor], int]:
    """The gradients of two passes that are accumulated, as a step's are, and their FLOPs."""
    flops = FlopCounterMode(display=False)
    with flops:
        for seed in (5, 6):
            torch.manual_seed(seed)
            with torch.autocast("cpu", torch.bfloat16) if half else nullcontext():
                loss = inputs(gradients=True)(network).square().mean()
            torch.autograd.backward(loss)
    found = {name: p.grad for name, p in network.named_parameters() if p.grad is not None}
    return found, flops.get_total_flops()


@pytest.mark.parametrize("kind", BACKBONES)
@pytest.mark.parametrize(("half", "adapter"), [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight")  # torch's, of Wan's norms under autocast
def test_gradients_are_the_same_and_what_is_expensive_is_computed_once(kind: str, half: bool, adapter: bool) -> None:
    """Dropout included: what is drawn again is what was drawn before. Only ``all`` computes FLOPs twice."""
    plain, cheap, every = (gradients(made(kind, way, adapter=adapter, dropout=0.2), half=half) for way in WAYS)
    assert len(plain[0]) > 4
    assert all(gradient.any() for gradient in plain[0].values())
    for found, _ in (cheap, every):
        assert found.keys() == plain[0].keys()
        assert all(torch.equal(found[name], plain[0][name]) for name in found)
    assert plain[1] == cheap[1] < every[1]


def held(network: VideoModel) -> int:
    """Bytes that a forward pass on this CPU holds until the backward pass: all tensors that are alive."""
    run, own = inputs(gradients=True), alive().keys()
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: tensor, lambda tensor: tensor):
        out = run(network)
    return sum(size for at, size in alive().items() if at not in own) - out.untyped_storage().nbytes()


def alive() -> dict[int, int]:
    gc.collect()
    tensors = [found for found in gc.get_objects() if type(found) in (Tensor, nn.Parameter)]
    return {each.untyped_storage().data_ptr(): each.untyped_storage().nbytes() for each in tensors}


@pytest.mark.parametrize("kind", ["unet", "patches"])
@pytest.mark.filterwarnings("ignore:A saved_tensors_hooks context")  # what is saved twice is counted once all the same
def test_what_is_kept_is_what_is_estimated(kind: str) -> None:
    """Beside what one unit recomputes, which a forward pass does not hold yet."""
    estimated = {way: activation_bytes(made(kind, way), SHAPES, 2, "float32") for way in WAYS}
    really = {way: held(made(kind, way)) for way in WAYS}
    assert estimated[None] == pytest.approx(really[None], rel=0.02)
    assert really["all"] < really["cheap"] < 0.8 * really[None]
    for way in WAYS[1:]:
        assert 0.98 * really[way] < estimated[way] < really[way] + really[None] / 2


def test_one_way_takes_the_place_of_another() -> None:
    network = made("unet", None)
    assert (network.recomputes, network.is_gradient_checkpointing) == (None, False)
    ways: tuple[Recompute, ...] = ("cheap", "all", "cheap")
    for way in ways:
        network.enable_gradient_checkpointing(way)
        assert (network.recomputes, network.is_gradient_checkpointing) == (way, True)
    network.disable_gradient_checkpointing()
    assert network.recomputes is None


def test_the_estimate_counts_what_is_computed_twice() -> None:
    plain, cheap, every = (estimate(made("unet", way), SHAPES, 2) for way in WAYS)
    assert (plain.recomputed_flops, cheap.recomputed_flops) == (0, 0)
    assert every.recomputed_flops == every.forward_flops
    assert cheap.step_flops == plain.step_flops == every.step_flops - every.recomputed_flops
    assert every.activations < cheap.activations < plain.activations
