"""Which device a process computes on."""

from collections.abc import Iterator

import pytest
import torch

from base.device import Kernels, find_device, set_kernels
from base.errors import InputError


def test_a_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for there, auto in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert find_device("auto") == torch.device(auto)
        assert find_device("cpu") == torch.device("cpu")


def test_a_gpu_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="hardware.device cuda: this machine has no GPU"):
        find_device("cuda", "hardware.device")


@pytest.fixture
def own_kernels() -> Iterator[None]:
    """What a test sets here is set back."""
    precision, benchmark = torch.get_float32_matmul_precision(), torch.backends.cudnn.benchmark
    yield
    torch.set_float32_matmul_precision(precision)
    torch.backends.cudnn.benchmark = benchmark


def chosen() -> tuple[str, bool]:
    return torch.get_float32_matmul_precision(), torch.backends.cudnn.benchmark


def test_a_gpu_computes_as_torch_does_unless_it_may_be_fast(own_kernels: None) -> None:
    """For both, whatever an earlier run in this process chose; setting needs no GPU."""
    assert chosen() == ("highest", False)
    expected: dict[Kernels, tuple[str, bool]] = {"usual": ("highest", False), "fast": ("high", True)}
    for _ in range(2):
        for kernels, flags in expected.items():
            set_kernels(torch.device("cuda", 0), kernels)
            assert chosen() == flags


def test_a_cpu_computes_as_ever(own_kernels: None) -> None:
    set_kernels(torch.device("cpu"), "fast")
    assert chosen() == ("highest", False)
