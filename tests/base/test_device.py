"""Which device a process computes on."""

import pytest
import torch

from base.device import find_device
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
