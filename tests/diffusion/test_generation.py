from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from diffusion.errors import InputError, WeightsError
from diffusion.generation import Generator, Request, fit, read_image
from diffusion.model_folder import ModelFacts, save_model
from diffusion.process.sampling import Sampling
from diffusion.process.schedule import Schedule
from diffusion.video_file import encode_video
from diffusion.weights import Weights
from tests.diffusion.unet.models import small

CPU = torch.device("cpu")
FACTS = ModelFacts(
    latents={"encoder": "PixelCodec", "cell": 8, "luma": 2, "chroma": 1, "version": 1},
    scaling_factor=1.0,
    text={"encoder": "HashedText", "tokens": 5, "width": 16, "version": 1},
    schedule=asdict(Schedule()),
    frames=3,
    height=4,
    width=8,
    fps=(8.0, 12.0),
)
QUICK = Sampling(steps=3)


def picture(seed: int, height: int = 48, width: int = 90) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generation") / "model"
    save_model(folder, small(image_condition="x-cat"), FACTS)
    return folder


def test_videos_have_the_models_size(model: Path) -> None:
    generator = Generator.load(model, CPU)
    assert generator.size == (32, 64)
    videos = generator.generate([Request(picture(0), "a"), Request(picture(1, 200, 40), "b")], QUICK)
    assert videos.shape == (2, 3, 32, 64, 3)
    assert videos.dtype == np.uint8


def test_a_video_depends_on_its_request_alone(model: Path) -> None:
    generator = Generator.load(model, CPU)
    requests = [Request(picture(n), f"prompt {n}", seed=n) for n in range(4)]
    together = generator.generate(requests, QUICK)
    for number, request in enumerate(requests):
        np.testing.assert_array_equal(generator.generate([request], QUICK)[0], together[number])


def test_image_prompt_seed_and_rate_matter(model: Path) -> None:
    generator = Generator.load(model, CPU)
    first = Request(picture(0), "a red square moves")
    others = [
        replace(first, image=picture(1)),
        replace(first, prompt="nothing at all"),
        replace(first, seed=1),
        replace(first, fps=30.0),
    ]
    videos = generator.generate([first, *others], QUICK)
    assert all(not np.array_equal(videos[0], other) for other in videos[1:])
    assert generator.rate(first) == 10.0


def test_an_autoencoder_in_the_folder_is_used(tmp_path: Path, tiny_vae: Path) -> None:
    facts = replace(FACTS, latents={"encoder": "AutoencoderKL"}, scaling_factor=0.18215)
    save_model(tmp_path / "model", small(image_condition="x-cat"), facts, vae=Weights(str(tiny_vae), subfolder="vae"))
    generator = Generator.load(tmp_path / "model", CPU)
    assert generator.size == (32, 64)
    assert generator.generate([Request(picture(0), "a")], QUICK).shape == (1, 3, 32, 64, 3)


def test_what_a_model_lacks_is_named(tmp_path: Path, model: Path) -> None:
    save_model(tmp_path / "a", small(image_condition="x-cat"), replace(FACTS, latents={"encoder": "AutoencoderKL"}))
    with pytest.raises(WeightsError, match="has no vae and names none"):
        Generator.load(tmp_path / "a", CPU)
    save_model(tmp_path / "b", small(image_condition="x-cat"), replace(FACTS, text={"encoder": "ViT-H-14"}))
    with pytest.raises(WeightsError, match="has no text_encoder and names none"):
        Generator.load(tmp_path / "b", CPU)
    save_model(tmp_path / "c", small(image_condition="cx-attn"), FACTS)
    with pytest.raises(InputError, match="image condition is cx-attn"):
        Generator.load(tmp_path / "c", CPU)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (10, 300), (333, 20), (32, 64)])
def test_a_picture_is_cut_to_size_about_its_centre(height: int, width: int) -> None:
    image = np.zeros((height, width, 3), np.uint8)
    image[height // 2 - 1 : height // 2 + 1] = 255  # a bright line through the middle
    fitted = fit(image, 32, 64)
    assert fitted.shape == (32, 64, 3)
    assert fitted[14:18].max() > 200


def test_pictures_are_read_upright(tmp_path: Path) -> None:
    """EXIF says that a phone was held sideways."""
    image = np.zeros((20, 40, 3), np.uint8)
    image[:, :20] = 255
    done, data = cv2.imencode(".jpg", image)
    assert done
    exif = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    turned = data.tobytes()[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data.tobytes()[2:]
    (tmp_path / "a.jpg").write_bytes(turned)
    assert read_image(tmp_path / "a.jpg").shape == (40, 20, 3)


def test_a_video_gives_its_first_frame(tmp_path: Path) -> None:
    frames = np.stack([np.full((32, 48, 3), value, np.uint8) for value in (200, 20)])
    (tmp_path / "a.mp4").write_bytes(encode_video(frames, 8.0))
    found = read_image(tmp_path / "a.mp4")
    assert found.shape == (32, 48, 3)
    assert abs(int(found.mean()) - 200) < 5


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_picture(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.png: this is no picture"):
        read_image(tmp_path / "a.png")
    with pytest.raises(InputError, match="no such file"):
        read_image(tmp_path / "b.png")
