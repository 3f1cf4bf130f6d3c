"""The networks of the metrics against the packages that they come from, and weights that do not fit."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torchvision.transforms.v2 import functional as torchvision

from base.errors import InputError, WeightsError
from evaluation.metrics.networks.aesthetic import load_aesthetic
from evaluation.metrics.networks.clip import CONFIG, Clip, load_clip
from evaluation.metrics.networks.dino import crop, load_dino, shrink
from evaluation.metrics.networks.flow import FlowLengths, load_dis, load_raft, pairs_at_once
from evaluation.metrics.networks.frames import crop_centre, resize_short_side
from evaluation.metrics.networks.i3d import load_i3d
from evaluation.metrics.observe import ClipObserver, Decoded, RatingObserver
from tests.evaluation.metrics.tiny import CLIP, vit, write_aesthetic, write_clip, write_dino, write_i3d

CPU = torch.device("cpu")


def frames(count: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), np.uint8)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    write_clip(folder / "clip")
    write_dino(folder / "dino")
    write_aesthetic(folder / "head.pth")
    write_i3d(folder / "i3d.pt")
    return folder


@pytest.fixture(scope="module")
def clip(weights: Path) -> Clip:
    return load_clip(str(weights / "clip"), "", CPU, 3, "--clip")[0]


@pytest.mark.parametrize("size", [(40, 64), (64, 40), (65, 129), (32, 32)])
@pytest.mark.parametrize("how", ["bilinear", "bicubic"])
def test_frames_are_resized_and_cropped_as_by_torchvision(size: tuple[int, int], how: str) -> None:
    images = torch.from_numpy(frames(2, *size))
    modes = {"bilinear": torchvision.InterpolationMode.BILINEAR, "bicubic": torchvision.InterpolationMode.BICUBIC}
    for antialias in (True, False):
        theirs = torchvision.resize(
            images.permute(0, 3, 1, 2).float(), [32], interpolation=modes[how], antialias=antialias
        )
        ours = resize_short_side(images, 32, how, antialias)  # type: ignore[arg-type]
        assert torch.equal(ours, theirs)
    assert torch.equal(crop_centre(ours, 24), torchvision.center_crop(theirs, [24, 24]))


def test_clip_is_open_clips(weights: Path, clip: Clip) -> None:
    """Its own loader, tokenizer and transform of pictures."""
    import open_clip

    name = f"local-dir:{weights / 'clip'}"
    model, _, transform = open_clip.create_model_and_transforms(name)
    pixels = frames(5, 32, 32)
    prompt = "the red circle moves left"
    with torch.inference_mode():
        images = torch.stack([transform(Image.fromarray(frame)) for frame in pixels])
        theirs = model.eval().encode_image(images)
        text = model.encode_text(open_clip.get_tokenizer(name)([prompt]))[0]
    torch.testing.assert_close(torch.from_numpy(clip.frames(pixels)), theirs, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(torch.from_numpy(clip.prompt(prompt)), text, rtol=1e-5, atol=1e-6)


def test_clip_sees_the_centre_of_a_wide_frame_as_open_clip_does(weights: Path, clip: Clip) -> None:
    """Pillow resizes to whole levels from 0 to 255, we do not; so these frames have no extremes."""
    import open_clip

    transform = open_clip.create_model_and_transforms(f"local-dir:{weights / 'clip'}")[2]
    pixels = np.repeat(np.repeat(64 + frames(1, 12, 16) // 2, 8, axis=1), 8, axis=2)
    ours = clip.prepare(torch.from_numpy(pixels))[0]
    theirs = transform(Image.fromarray(pixels[0]))
    assert (ours - theirs).abs().max() < 2.5 / 255 / 0.26


def test_a_frames_features_do_not_depend_on_the_batch(clip: Clip) -> None:
    pixels = frames(7, 32, 32)
    alone = np.concatenate([clip.frames(pixels[at : at + 1]) for at in range(7)])
    np.testing.assert_allclose(clip.frames(pixels), alone, rtol=1e-4, atol=1e-5)
    assert np.array_equal(clip.frames(pixels), clip.frames(pixels.copy()))


def test_an_architecture_of_open_clip_for_a_file_without_configuration(weights: Path, tmp_path: Path) -> None:
    import open_clip

    torch.manual_seed(1)
    model = open_clip.create_model("ViT-S-32-alt", pretrained=None, load_weights=False)
    save_file(model.state_dict(), tmp_path / "clip.safetensors")
    found = load_clip(str(tmp_path / "clip.safetensors"), "ViT-S-32-alt", CPU, 2, "--clip")[0]
    pixels = frames(1, 224, 224)
    with torch.inference_mode():
        theirs = model.eval().encode_image(found.prepare(torch.from_numpy(pixels)))
    torch.testing.assert_close(torch.from_numpy(found.frames(pixels)), theirs)


def test_the_hash_is_that_of_the_tensors(weights: Path, tmp_path: Path) -> None:
    one = load_clip(str(weights / "clip"), "", CPU, 1, "--clip")[1]
    same = load_clip(str(write_clip(tmp_path / "same")), "", CPU, 1, "--clip")[1]
    other = load_clip(str(write_clip(tmp_path / "other", seed=1)), "", CPU, 1, "--clip")[1]
    assert one == same != other
    assert one.startswith("blake3:")


@pytest.mark.parametrize(
    ("architecture", "config", "message"),
    [
        ("", None, "there is no open_clip_config.json, so --clip-architecture must say which"),
        ("ViT-B-23", None, "--clip-architecture ViT-B-23: open_clip has no such model"),
        ("ViT-B-32", {"model_cfg": CLIP}, "open_clip_config.json says what it is. Omit the option"),
        ("", {"model": CLIP}, "is not a configuration of open_clip"),
        ("", {"model_cfg": CLIP | {"embed_dim": 13}}, r"has [\w.]+ of \(\d+, 12\) instead of \(\d+, 13\)"),
        ("", {"model_cfg": {**CLIP, "vision_cfg": {"layers": 2}}}, "open_clip_model.safetensors has"),
        ("", {"model_cfg": {**CLIP, "colour": 1}}, "open_clip cannot make this model: .*unexpected keyword"),
        ("", {"model_cfg": {**CLIP, "text_cfg": {"hf_model_name": "a/b"}}}, "another library's text model"),
        ("", {"model_cfg": CLIP, "preprocess_cfg": {"resize_mode": "longest"}}, "its input is resized by longest"),
    ],
)
def test_clip_weights_that_do_not_fit(
    weights: Path, tmp_path: Path, architecture: str, config: dict[str, object] | None, message: str
) -> None:
    (tmp_path / "open_clip_model.safetensors").write_bytes((weights / "clip/open_clip_model.safetensors").read_bytes())
    if config is not None:
        (tmp_path / CONFIG).write_text(json.dumps({"preprocess_cfg": {}} | config))
    with pytest.raises(InputError, match=message) as caught:
        load_clip(str(tmp_path), architecture, CPU, 2, "--clip")
    assert "\n" not in str(caught.value)


def test_dino_is_the_class_token_of_the_transformer(weights: Path) -> None:
    """Against timm, with the weights under the names of facebook/dino-vitb16."""
    dino, tensors = load_dino(str(weights / "dino"), CPU, 2)
    model = vit()
    pixels = frames(3, 224, 224)
    with torch.inference_mode():
        whole = model(shrink(torch.from_numpy(pixels)))
        cropped = model(crop(torch.from_numpy(pixels)))
    torch.testing.assert_close(torch.from_numpy(dino.whole(pixels)), whole, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(torch.from_numpy(dino.cropped(pixels)), cropped, rtol=1e-4, atol=1e-4)
    assert tensors.startswith("blake3:")


def test_dino_sees_wide_frames_whole_or_their_centre(weights: Path) -> None:
    dino, _ = load_dino(str(weights / "dino"), CPU, 4)
    pixels = frames(1, 64, 128)
    edge = pixels.copy()
    edge[:, :, :4] = 0
    assert shrink(torch.from_numpy(pixels)).shape == (1, 3, 224, 448)
    assert crop(torch.from_numpy(pixels)).shape == (1, 3, 224, 224)
    assert np.abs(dino.whole(edge) - dino.whole(pixels)).max() > 1e-3
    assert np.array_equal(dino.cropped(edge), dino.cropped(pixels))


@pytest.mark.parametrize(
    ("fields", "drop", "message"),
    [
        ({"model_type": "clip"}, "", "is of type clip: give a ViT"),
        ({"model_type": "nothing"}, "", "cannot be loaded"),
        ({"hidden_size": 32, "intermediate_size": 32}, "", "cannot be loaded"),
        ({}, "encoder.layer.1.layernorm_after.weight", r"lacks .*1\.layernorm_after\.weight: is it a ViT"),
    ],
)
def test_dino_weights_that_do_not_fit(
    weights: Path, tmp_path: Path, fields: dict[str, object], drop: str, message: str
) -> None:
    tensors = load_file(weights / "dino/model.safetensors")
    tensors.pop(drop, None)
    save_file(tensors, tmp_path / "model.safetensors", {"format": "pt"})
    config = json.loads((weights / "dino/config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | fields))
    with pytest.raises(WeightsError, match=message) as caught:
        load_dino(str(tmp_path), CPU, 2)
    assert "\n" not in str(caught.value)


def test_dino_weights_that_hold_more_than_tensors_are_not_loaded(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((weights / "dino/config.json").read_bytes())
    torch.save({"embeddings.cls_token": Path("a")}, tmp_path / "pytorch_model.bin")
    with pytest.raises(WeightsError, match="contains Python objects, which are not loaded"):
        load_dino(str(tmp_path), CPU, 2)


def by_brightness(clips: Tensor) -> Tensor:
    """In the place of a flow network: x is the change of the red channel, y that of the green one."""
    change = (clips[:, 1:].float() - clips[:, :-1].float())[..., :2]
    return change.permute(0, 1, 4, 2, 3)


@pytest.mark.parametrize("batch", [1, 2, 5, 99])
def test_lengths_of_flow_are_the_same_for_any_batch(batch: int) -> None:
    pixels = np.zeros((6, 8, 8, 3), np.uint8)
    pixels[..., 0] = 3 * np.arange(6)[:, None, None]
    pixels[..., 1] = 4 * np.arange(6)[:, None, None]
    lengths = FlowLengths(by_brightness, lambda height, width: batch)(pixels)
    assert lengths.shape == (5, 8, 8)
    assert (lengths == 5).all()


def test_frames_of_other_sizes_are_padded_by_their_edges_and_the_padding_is_cut_off() -> None:
    seen: list[Tensor] = []

    def flow(clips: Tensor) -> Tensor:
        seen.append(clips)
        return by_brightness(clips)

    pixels = frames(2, 130, 50)
    lengths = FlowLengths(flow, lambda height, width: 4, multiple=8, least=128)(pixels)
    (padded,) = seen
    assert padded.shape == (1, 2, 136, 128, 3)
    assert np.array_equal(padded[0, :, 3:133, 39:89].numpy(), pixels)
    assert np.array_equal(padded[0, :, 0, 0].numpy(), pixels[:, 0, 0])
    change = pixels[1].astype(np.float32) - pixels[0]
    assert lengths[0] == pytest.approx(np.hypot(change[..., 0], change[..., 1]), rel=1e-6)


@pytest.mark.parametrize(("size", "pairs"), [((320, 512), 16), ((720, 1280), 1), ((512, 512), 16), ((480, 832), 10)])
def test_large_frames_are_taken_fewer_at_a_time(size: tuple[int, int], pairs: int) -> None:
    assert pairs_at_once(*size, batch=16) == pairs
    assert pairs_at_once(*size, batch=1) == 1


def test_dis_sees_how_far_something_moves() -> None:
    from tests.evaluation.metrics.moving import moving_square

    pixels, mask = moving_square(steps=4, pixels=6)
    lengths = load_dis(3)(pixels)
    assert np.median(lengths[:, mask]) == pytest.approx(6, abs=0.5)
    assert not load_dis(3)(np.repeat(pixels[:1], 3, axis=0)).any()


def test_raft_is_torchvisions_with_twenty_updates(tmp_path: Path) -> None:
    from torchvision.models.optical_flow import raft_large

    torch.manual_seed(0)
    model = raft_large(weights=None).eval()
    torch.save(model.state_dict(), tmp_path / "raft.pth")
    lengths, tensors = load_raft(str(tmp_path / "raft.pth"), CPU, 1)
    pixels = frames(2, 128, 128)
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.inference_mode():
        flow = model(images[:1], images[1:], num_flow_updates=20)[-1]
    torch.testing.assert_close(torch.from_numpy(lengths(pixels))[0], flow[0].norm(dim=0), rtol=1e-3, atol=1e-3)
    assert tensors.startswith("blake3:")


def test_weights_that_are_not_raft_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.models.optical_flow import raft_small

    state = raft_small(weights=None).state_dict()
    torch.save(state, tmp_path / "small.pth")
    with pytest.raises(WeightsError, match=r"--raft .*small\.pth: the file is not RAFT-large: it lacks") as caught:
        load_raft(str(tmp_path / "small.pth"), CPU, 1)
    assert "\n" not in str(caught.value)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(WeightsError, match="--raft torchvision: these weights are not on this machine and cannot be"):
        load_raft("torchvision", CPU, 1)


def test_ratings_are_of_the_direction_of_clips_features(weights: Path, clip: Clip) -> None:
    aesthetic, _ = load_aesthetic(str(weights / "head.pth"), clip)
    state = torch.load(weights / "head.pth", weights_only=True)
    pixels = frames(3, 32, 32)
    features = nn.functional.normalize(torch.from_numpy(clip.frames(pixels)), dim=-1)
    expected = nn.functional.linear(features, state["weight"], state["bias"])[:, 0]
    assert aesthetic.rate(clip.frames(pixels)) == pytest.approx(expected.numpy(), rel=1e-5)


def test_one_clip_for_alignment_and_ratings_sees_each_frame_once(weights: Path, clip: Clip) -> None:
    aesthetic, _ = load_aesthetic(str(weights / "head.pth"), clip)
    video = Decoded(frames(4, 32, 32, seed=5), 8.0, "a prompt", frames(1, 32, 32, seed=6)[0])
    seen: list[int] = []
    hook = clip.model.visual.register_forward_hook(lambda module, inputs, output: seen.append(len(inputs[0])))
    aligned, _ = ClipObserver(clip)(video)
    rated, static = RatingObserver(aesthetic, clip)(video)
    hook.remove()
    assert sum(seen) == 2 * 4 + 1  # in two ways, and the image
    assert rated["ratings"] == pytest.approx(aesthetic.rate(aligned["clip_aliased"]))
    assert (static["ratings"] == rated["ratings"][0]).all()


def test_an_aesthetic_predictor_of_other_features(tmp_path: Path, clip: Clip) -> None:
    with pytest.raises(WeightsError, match=r"rates 768 features, and CLIP has 12\. LAION's is for ViT-L-14"):
        load_aesthetic(str(write_aesthetic(tmp_path / "head.pth", 768)), clip)
    torch.save({"weight": torch.zeros(1, 12)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match="is not the linear layer of an aesthetic predictor"):
        load_aesthetic(str(tmp_path / "other.pth"), clip)
    (tmp_path / "none.pth").write_bytes(b"none")
    with pytest.raises(WeightsError, match=r"none\.pth"):
        load_aesthetic(str(tmp_path / "none.pth"), clip)


def test_i3d_is_called_with_a_video_of_levels(weights: Path) -> None:
    i3d, sha256 = load_i3d(weights / "i3d.pt", "", CPU)
    video = np.zeros((4, 8, 8, 3), np.uint8)
    video[..., 1] = 255
    video[2:, ..., 2] = 51
    assert i3d(video) == pytest.approx([-1, 1, -0.8, 0, 0, 51 / 127.5 / 3], abs=1e-6)
    digits = sha256.removeprefix("sha256:")
    assert load_i3d(weights / "i3d.pt", digits.upper(), CPU)[1] == sha256


def test_a_torchscript_file_with_another_hash_is_not_loaded(weights: Path, tmp_path: Path) -> None:
    (tmp_path / "other.pt").write_bytes(b"not even TorchScript")
    with pytest.raises(InputError, match="and --i3d-sha256 is another. It is not loaded"):
        load_i3d(tmp_path / "other.pt", "ab" * 32, CPU)
    with pytest.raises(WeightsError, match=r"other\.pt is not a TorchScript file"):
        load_i3d(tmp_path / "other.pt", "", CPU)
    with pytest.raises(InputError, match="there is no such file"):
        load_i3d(tmp_path / "none.pt", "", CPU)


class Other(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


class Picky(nn.Module):
    def forward(self, x: Tensor, rescale: bool, resize: bool, return_features: bool) -> Tensor:
        assert x.shape[2] >= 10, "ten frames at least"
        return x.flatten()


@pytest.mark.parametrize(
    ("module", "count", "message"),
    [
        (Other(), 4, "cannot compute features of 4 frames"),
        (Picky(), 4, "cannot compute features of 4 frames .*ten frames at least"),
        (Picky(), 12, "does not return one row of features"),
    ],
)
def test_a_torchscript_file_that_is_not_such_a_network(
    tmp_path: Path, module: nn.Module, count: int, message: str
) -> None:
    i3d, _ = load_i3d(write_i3d(tmp_path / "i3d.pt", module), "", CPU)
    with pytest.raises(WeightsError, match=message) as caught:
        i3d(frames(count, 8, 8))
    assert "\n" not in str(caught.value)
