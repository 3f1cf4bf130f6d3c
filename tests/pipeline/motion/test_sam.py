"""SAM 2 and SAM 3's tracker, tiny and with random weights, against the library's own predictor, used by hand."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from base.errors import WeightsError
from base.weights import Weights
from models.encoders.quiet import quiet
from pipeline.motion.prompts import Points
from pipeline.motion.sam import Sam, published
from tests.pipeline.tiny_sam import save_sam2, save_sam3

CPU = torch.device("cpu")
POINTS = [np.array([[20, 30], [60, 44], [90, 8]]), np.array([[50, 32]]), np.array([[5, 60], [70, 20]])]


@pytest.fixture(autouse=True)
def silence() -> Iterator[None]:
    with quiet():
        yield


@pytest.fixture(scope="module", params=["sam2", "sam3"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    save = save_sam2 if request.param == "sam2" else save_sam3
    return save(tmp_path_factory.mktemp("weights") / str(request.param))


@pytest.fixture(scope="module")
def clips() -> np.ndarray:
    """Three clips of five frames of smooth noise that drifts."""
    rng = np.random.default_rng(0)
    noise = np.kron(rng.integers(0, 256, (3, 12, 16, 3), np.uint8), np.ones((1, 8, 8, 1), np.uint8))
    return np.stack([noise[:, t : t + 64, 3 * t : 3 * t + 96] for t in range(5)], axis=1)


def by_hand(folder: Path, clip: np.ndarray, points: Points) -> np.ndarray:
    """As the library's documentation does it: one clip, one session, the video as it is."""
    size = {"height": 128, "width": 128}
    model: Any
    processor: Any
    if folder.name == "sam2":
        model = transformers.Sam2VideoModel.from_pretrained(folder)
        videos = transformers.Sam2VideoVideoProcessor(size=size)
        processor = transformers.Sam2VideoProcessor(transformers.Sam2ImageProcessor(size=size), videos)
    else:
        size = {"height": 112, "width": 112}
        model = transformers.Sam3TrackerVideoModel.from_pretrained(folder)
        videos = transformers.Sam2VideoVideoProcessor(size=size, image_mean=[0.5] * 3, image_std=[0.5] * 3)
        processor = transformers.Sam3TrackerVideoProcessor(transformers.Sam3ImageProcessor(size=size), videos)
    session = processor.init_video_session(video=clip)
    prompts = [[[[int(x), int(y)]] for x, y in points]]
    labels = [[[1] for _ in points]]
    processor.add_inputs_to_inference_session(session, 0, list(range(len(points))), prompts, labels)
    model.eval()(inference_session=session, frame_idx=0)
    masks = []
    for found in model.propagate_in_video_iterator(session):
        size_of_clip = [[session.video_height, session.video_width]]
        masks.append(processor.post_process_masks([found.pred_masks], size_of_clip)[0].any(dim=0)[0])
    return torch.stack(masks).numpy()


def test_masks_are_the_librarys_whatever_the_batch_and_the_order(folder: Path, clips: np.ndarray) -> None:
    sam = Sam(Weights(str(folder)), "float32", clips_a_batch=2)
    follow = sam.load(CPU)
    together = follow(torch.from_numpy(clips), POINTS).numpy()
    assert together.shape == clips.shape[:-1]
    for number, points in enumerate(POINTS):
        expected = by_hand(folder, clips[number], points)
        assert 0.02 < expected.mean() < 0.98  # masks with edges
        assert (expected[0] != expected[-1]).any()
        assert (together[number] != expected).mean() < 1e-3  # kernels for several frames round differently
        alone = follow(torch.from_numpy(clips[number : number + 1]), [points])
        np.testing.assert_array_equal(alone[0], together[number])
    reversed_order = follow(torch.from_numpy(clips[::-1].copy()), POINTS[::-1]).numpy()
    np.testing.assert_array_equal(reversed_order[::-1], together)


def test_half_precision_is_close(folder: Path, clips: np.ndarray) -> None:
    sam = Sam(Weights(str(folder)), "float32")
    whole = sam.load(CPU)(torch.from_numpy(clips[:1]), POINTS[:1])
    half = replace(sam, precision="bfloat16").load(CPU)(torch.from_numpy(clips[:1]), POINTS[:1])
    assert (half != whole).float().mean() < 0.2
    assert half.shape == whole.shape


def test_identity_changes_with_what_changes_masks(folder: Path, tmp_path: Path) -> None:
    sam = Sam(Weights(str(folder)), "float32")
    assert sam.identity()["model"] == folder.name
    assert replace(sam, clips_a_batch=1).identity() == sam.identity()
    assert replace(sam, precision="bfloat16").identity() != sam.identity()
    save = save_sam2 if folder.name == "sam2" else save_sam3
    same, other = save(tmp_path / "same"), save(tmp_path / "other", seed=1)
    assert replace(sam, weights=Weights(str(same))).identity() == sam.identity()
    assert replace(sam, weights=Weights(str(other))).identity() != sam.identity()
    config = json.loads((same / "config.json").read_text())
    (same / "config.json").write_text(json.dumps(config | {"transformers_version": "5.0"}))
    assert replace(sam, weights=Weights(str(same))).identity() == sam.identity()
    (same / "config.json").write_text(json.dumps(config | {"num_maskmem": 2}))
    assert replace(sam, weights=Weights(str(same))).identity() != sam.identity()


def test_wrong_weights_get_a_sentence(tmp_path: Path) -> None:
    folder = save_sam2(tmp_path / "sam2")
    with pytest.raises(WeightsError, match="SAM 2: weights 'nowhere' are neither a file"):
        Sam(Weights("nowhere")).identity()
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "config.json").write_text("{}")
    with pytest.raises(WeightsError, match=r"SAM 2: \S* has no model.safetensors or model.safetensors.index.json"):
        Sam(Weights(str(tmp_path / "empty"))).identity()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"memory_attention_num_layers": 2}))
    with pytest.raises(WeightsError, match=r"sam2 lacks memory_attention.layers.1.*: download it again"):
        Sam(Weights(str(folder))).load(CPU)
    (folder / "config.json").write_text(json.dumps(config | {"mask_decoder_config": {"hidden_size": 32}}))
    with pytest.raises(WeightsError, match="sam2 cannot be loaded"):
        Sam(Weights(str(folder))).load(CPU)
    (folder / "config.json").write_text(json.dumps({"model_type": "vit"}))
    with pytest.raises(WeightsError, match="sam2 is of type vit; give SAM 2, such as facebook/sam2.1-hiera-large"):
        Sam(Weights(str(folder))).identity()
    with pytest.raises(ValueError, match="clips_a_batch 0: must be at least 1"):
        Sam(clips_a_batch=0)


@pytest.mark.parametrize(
    ("name", "millions"),
    [("tiny", 38.9), ("small", 46), ("base-plus", 80.8), ("large", 224.4)],
)
def test_published_sizes(name: str, millions: float) -> None:
    """The parameters that the authors state, from which the cost is counted where weights are missing."""
    with torch.device("meta"):
        model = transformers.Sam2VideoModel(published(f"facebook/sam2.1-hiera-{name}")[1])
    assert sum(one.numel() for one in model.parameters()) / 1e6 == pytest.approx(millions, rel=0.01)
