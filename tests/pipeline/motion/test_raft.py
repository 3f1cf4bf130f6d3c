from pathlib import Path

import pytest
import torch
from torchvision.models.optical_flow import raft_large, raft_small

from base.errors import WeightsError
from base.weights import Weights
from pipeline.motion.raft import Raft

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("raft")
    torch.save(raft_small(weights=None).state_dict(), folder / "small.pth")
    return folder


def frames(clips: int, count: int = 3) -> torch.Tensor:
    return torch.randint(
        0, 256, (clips, count, 128, 136, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1)
    )


def raft(weights: Path, **more: object) -> Raft:
    return Raft("small", Weights(str(weights / "small.pth")), precision="float32", **more)  # type: ignore[arg-type]


def test_the_flow_is_torchvisions(weights: Path) -> None:
    """Shared features and one upsampling instead of twelve must not change the result."""
    clips = frames(2)
    model = raft_small(weights=None).eval()
    model.load_state_dict(torch.load(weights / "small.pth", weights_only=True))
    ours = raft(weights, clips_a_batch=2).load(CPU)(clips)
    images = clips.permute(0, 1, 4, 2, 3).float() / 127.5 - 1
    for clip in range(2):
        with torch.inference_mode():
            theirs = model(images[clip, :-1], images[clip, 1:])[-1]
        torch.testing.assert_close(ours[clip], theirs, atol=2e-4, rtol=1e-4)


def test_the_large_model_too(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = raft_large(weights=None).eval()
    torch.save(model.state_dict(), tmp_path / "large.pth")
    clips = frames(1, 2)
    config = Raft("large", Weights(str(tmp_path / "large.pth")), updates=3, precision="float32", clips_a_batch=1)
    images = clips.permute(0, 1, 4, 2, 3).float() / 127.5 - 1
    with torch.inference_mode():
        theirs = model(images[0, :-1], images[0, 1:], num_flow_updates=3)[-1]
    torch.testing.assert_close(config.load(CPU)(clips)[0], theirs, atol=2e-4, rtol=1e-4)


def test_a_clip_alone_and_among_others_has_the_same_flow(weights: Path) -> None:
    flow = raft(weights, clips_a_batch=2).load(CPU)
    clips = frames(3)
    together = flow(clips)
    for row in range(3):
        assert torch.equal(flow(clips[row : row + 1])[0], together[row])


def test_identity_names_the_weights_and_not_the_speed(weights: Path) -> None:
    assert raft(weights, clips_a_batch=1).identity() == raft(weights, clips_a_batch=9).identity()
    assert raft(weights).identity() != raft(weights, updates=20).identity()
    assert raft(weights).identity()["weights_tensors"].startswith("blake3:")


def test_sizes_raft_cannot_take(weights: Path) -> None:
    flow = raft(weights).load(CPU)
    with pytest.raises(ValueError, match="at least 128 pixels, divisible by 8; got 64 x 64"):
        flow(torch.zeros(1, 2, 64, 64, 3, dtype=torch.uint8))


def test_missing_weights_say_how_to_get_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match=r"RAFT-large: .*download https://.*raft_large.*or choose a recipe with DIS"):
        Raft().identity()


def test_a_file_that_is_no_raft(tmp_path: Path) -> None:
    torch.save({"x": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="is not RAFT-small: it lacks"):
        Raft("small", Weights(str(tmp_path / "other.pth"))).load(CPU)


@pytest.mark.gpu
def test_mixed_precision_stays_close_on_a_gpu(weights: Path) -> None:
    clips = frames(2)
    exact = raft(weights).load(torch.device("cuda"))(clips)
    mixed = Raft("small", Weights(str(weights / "small.pth"))).load(torch.device("cuda"))(clips)
    assert (exact - mixed).abs().mean() < 0.05


@pytest.mark.gpu
def test_batch_of_one_and_of_many_on_a_gpu(weights: Path) -> None:
    flow = Raft("small", Weights(str(weights / "small.pth"))).load(torch.device("cuda"))
    clips = frames(5)
    together = flow(clips)
    assert all(torch.equal(flow(clips[i : i + 1])[0], together[i]) for i in range(5))
