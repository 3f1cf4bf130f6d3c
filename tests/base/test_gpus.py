import pytest

from base.gpus import GPUS, find_gpu


@pytest.mark.parametrize(
    ("device", "name"),
    [
        ("NVIDIA A100-SXM4-80GB", "A100"),
        ("NVIDIA H100 80GB HBM3", "H100"),
        ("NVIDIA GH200 480GB", "H200"),
        ("NVIDIA L40S", "L40S"),
        ("NVIDIA L4", "L4"),
        ("NVIDIA GeForce RTX 4090", "4090"),
        ("Tesla T4", "T4"),
        ("NVIDIA L40", None),
    ],
)
def test_a_gpu_by_the_name_of_its_device(device: str, name: str | None) -> None:
    assert find_gpu(device) == (GPUS[name] if name else None)


def test_a_peak_is_known_for_half_precision_alone() -> None:
    assert GPUS["H100"].peak("bfloat16") == GPUS["H100"].peak("float16") == 989e12
    assert GPUS["H100"].peak("float32") is None
    assert (GPUS["T4"].peak("float16"), GPUS["T4"].peak("bfloat16")) == (65e12, None)
