import pytest
import torch

from pipeline.motion.batching import in_groups


def test_groups_have_one_size() -> None:
    sizes = []

    def double(clips: torch.Tensor) -> torch.Tensor:
        sizes.append(len(clips))
        return clips * 2

    clips = torch.arange(14).view(7, 2)
    assert torch.equal(in_groups(double, clips, 3), clips * 2)
    assert sizes == [3, 3, 3]


def test_out_of_memory_halves_the_group_and_goes_on() -> None:
    sizes = []

    def tight(clips: torch.Tensor) -> torch.Tensor:
        sizes.append(len(clips))
        if len(clips) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return clips + 1

    clips = torch.arange(6)
    assert torch.equal(in_groups(tight, clips, 8), clips + 1)
    assert sizes == [8, 4, 2, 2, 2]


def test_a_single_clip_that_does_not_fit() -> None:
    def never(clips: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        in_groups(never, torch.zeros(2), 4)
