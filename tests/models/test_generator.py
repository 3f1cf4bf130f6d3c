from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from base.errors import InputError, WeightsError
from base.weights import Weights
from diffusion.options import Sampling
from media.picture import fit
from models.card import ModelCard
from models.encoders.image import CellTokens
from models.folder import save_model
from models.generator import Generator, Precision, Request
from models.video_model import DataShapes
from models.wan.backbone import Wan
from tests.models.facts import FACTS
from tests.models.videocrafter2.models import small

CPU = torch.device("cpu")
QUICK = Sampling(steps=3)


def picture(seed: int, height: int = 48, width: int = 90) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("generation") / "model"
    save_model(folder, small(image_condition="x-cat"), ModelCard(FACTS))
    return folder


def test_videos_have_the_models_size(model: Path) -> None:
    generator = Generator.load(model, CPU)
    assert generator.size == (32, 64)
    videos = generator.generate([Request(picture(0), "a"), Request(picture(1, 200, 40), "b")], QUICK)
    assert videos.shape == (2, 3, 32, 64, 3)
    assert videos.dtype == np.uint8


def mixed(count: int = 4) -> list[Request]:
    """Requests that differ in everything; two prompts are alike."""
    words = ["a red square moves", "", "a star", "a red square moves"]
    return [
        Request(picture(n, 40 + 9 * n), words[n % 4], seed=n, fps=[None, 8.0][n % 2], negative=["", "blur"][n // 2 % 2])
        for n in range(count)
    ]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_video_depends_on_its_request_alone(model: Path, precision: Precision) -> None:
    generator = Generator.load(model, CPU, precision)
    options = replace(QUICK, guidance_rescale=0.7, eta=0.5)
    requests = mixed()
    together = generator.generate(requests, options)
    backwards = generator.generate(requests[::-1], options)
    for number, request in enumerate(requests):
        np.testing.assert_array_equal(generator.generate([request], options)[0], together[number])
        np.testing.assert_array_equal(backwards[-1 - number], together[number])


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow  # on a busy machine threads wait for each other
def test_so_it_does_with_several_threads(model: Path, two_threads: None) -> None:
    generator = Generator.load(model, CPU)
    options = Sampling(steps=1, guidance_rescale=0.7)
    together = generator.generate(mixed(2), options)
    np.testing.assert_array_equal(generator.generate(mixed(2)[1:], options)[0], together[1])


def test_requests_that_share_passes_of_the_network_give_nearly_the_same(model: Path) -> None:
    """As on a GPU; float32 products of more rows may round otherwise, which a byte of a picture hardly shows."""
    generator = Generator.load(model, CPU)
    alone = generator.generate(mixed(), QUICK)
    generator.at_once = None
    together = generator.generate(mixed(), QUICK)
    assert np.abs(alone.astype(int) - together).max() <= 1


def test_an_autoencoder_and_a_text_tower_see_one_request_at_a_time(tmp_path: Path, tiny_vae: Path) -> None:
    facts = replace(FACTS, latents={"encoder": "AutoencoderKL"}, scaling_factor=0.18215)
    card = ModelCard(facts, Weights(str(tiny_vae), subfolder="vae"))
    save_model(tmp_path / "model", small(image_condition="x-cat"), card)
    generator = Generator.load(tmp_path / "model", CPU)
    assert generator.size == (32, 64)
    generator.at_once = None
    encoded: list[list[str]] = []
    text = generator.text
    generator.text = lambda prompts: (encoded.append(prompts), text(prompts))[1]
    videos = generator.generate(mixed(), QUICK)
    assert videos.shape == (4, 3, 32, 64, 3)
    assert sorted(encoded) == [[""], ["a red square moves"], ["a star"], ["blur"]]


def test_everything_of_a_request_matters(model: Path) -> None:
    generator = Generator.load(model, CPU)
    first = Request(picture(0), "a red square moves")
    others = [
        replace(first, image=picture(1)),
        replace(first, prompt="nothing at all"),
        replace(first, seed=1),
        replace(first, fps=30.0),
        replace(first, negative="nothing at all"),
    ]
    videos = generator.generate([first, *others], QUICK)
    assert all(not np.array_equal(videos[0], other) for other in videos[1:])
    assert generator.rate(first) == 10.0
    assert generator.fps_range == (8.0, 12.0)


def test_guidance_leads_away_from_the_negative_prompt(model: Path) -> None:
    """Where it is the prompt itself, nothing is left to be led by: guidance of any strength gives the same."""
    generator = Generator.load(model, CPU)
    same = Request(picture(0), "a star", negative="a star")
    weak, strong = (generator.generate([same], replace(QUICK, guidance=g)).astype(int) for g in (1.0, 9.0))
    assert np.abs(weak - strong).max() <= 1


def test_a_video_may_be_shorter_than_the_models(model: Path) -> None:
    generator = Generator.load(model, CPU)
    for frames in (1, 2, 3, None):
        assert generator.generate(mixed(2), QUICK, frames=frames).shape == (2, frames or 3, 32, 64, 3)
    for frames in (0, 4):
        with pytest.raises(InputError, match=f"frames {frames}: this model makes videos of 1 to 3 frames"):
            generator.generate(mixed(1), QUICK, frames=frames)


def test_each_pass_of_the_network_is_told_and_may_cancel(model: Path) -> None:
    generator = Generator.load(model, CPU)
    told: list[tuple[int, int]] = []
    generator.generate(mixed(2), QUICK, lambda *now: told.append(now))
    assert told == [(n, 6) for n in range(1, 7)]
    generator.at_once = 2
    generator.generate(mixed(3), QUICK, lambda *now: told.append(now))
    assert told[6:] == [(n, 6) for n in range(1, 7)]

    def cancel(done: int, of: int) -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        generator.generate(mixed(1), QUICK, cancel)


def test_half_precision_is_near_and_keeps_half_the_weights(model: Path) -> None:
    """Latents and steps stay in float32: only the network's output is rounded."""
    whole, half = (Generator.load(model, CPU, precision) for precision in ("float32", "bfloat16"))
    assert {weight.dtype for weight in half.network.parameters()} == {torch.bfloat16}
    assert whole.network.get_memory_footprint() == 2 * half.network.get_memory_footprint()
    videos = [generator.generate(mixed(2), QUICK).astype(int) for generator in (whole, half)]
    assert 0 < np.abs(videos[0] - videos[1]).mean() < 4


def test_frames_are_decoded_in_the_precision_that_is_asked_for(tiny_vae: Path, tmp_path: Path) -> None:
    facts = replace(FACTS, latents={"encoder": "AutoencoderKL"}, scaling_factor=0.18215)
    card = ModelCard(facts, vae=Weights(str(tiny_vae), subfolder="vae"))
    save_model(tmp_path / "model", small(image_condition="x-cat"), card)
    asked: tuple[Precision, ...] = ("float32", "bfloat16")
    generators = [Generator.load(tmp_path / "model", CPU)]
    generators += [Generator.load(tmp_path / "model", CPU, decoding=precision) for precision in asked]
    usual, plain, half = (generator.generate(mixed(1), QUICK).astype(int) for generator in generators)
    np.testing.assert_array_equal(usual, plain)
    assert 0 < np.abs(plain - half).mean() < 1


def test_the_network_is_compiled_when_asked(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torch is only told so: it would take minutes at the first run."""
    told: list[torch.nn.Module] = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module, **options: told.append(module))
    Generator.load(model, CPU)
    assert not told
    network = Generator.load(model, CPU, compiled=True).network
    assert told == [network]


@pytest.mark.slow
def test_a_compiled_network_gives_the_same(model: Path) -> None:
    """Traced into graphs that run as they are: no code is generated."""
    generator = Generator.load(model, CPU)
    expected = generator.generate(mixed(1), Sampling(steps=1))
    graphs: list[torch.fx.GraphModule] = []

    def backend(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable[..., object]:
        graphs.append(graph)
        return graph.forward

    generator.compile(backend)
    np.testing.assert_array_equal(generator.generate(mixed(1), Sampling(steps=1)), expected)
    assert graphs


@pytest.mark.parametrize("condition", ["cx-attn", "both"])
def test_models_that_attend_to_the_image(tmp_path: Path, condition: str) -> None:
    cells = CellTokens(cell=16, place=8)
    facts = replace(FACTS, image={"encoder": "CellTokens", "cell": 16, "place": 8, "version": 1})
    torch.manual_seed(3)
    unet = small(image_condition=condition, image_token_width=cells.width)
    for parameter in unet.parameters():  # the resampler ends in zeros, as training finds it
        torch.nn.init.normal_(parameter, std=0.2)
    save_model(tmp_path / "model", unet, ModelCard(facts))
    generator = Generator.load(tmp_path / "model", CPU)
    seen = []
    unet_forward = generator.network.forward

    def noted(*given: torch.Tensor, **image: torch.Tensor) -> torch.Tensor:
        seen.append(image)
        return unet_forward(*given, **image)  # type: ignore[no-any-return]

    generator.network.forward = noted  # type: ignore[method-assign]
    one, other = (generator.generate([Request(picture(seed), "a", 7)], QUICK) for seed in (0, 1))
    assert (one != other).any()
    fitted = torch.from_numpy(fit(picture(0), 32, 64))[None]
    tokens = cells.encode(fitted).half().float()
    assert tokens.shape == (1, 8, cells.width)
    assert all(torch.equal(told, tokens[0]) for told in seen[0]["image_tokens"])
    assert ("image_latent" in seen[0]) == (condition == "both")


def test_a_text_to_video_model_generates_the_first_frame_as_any_other(tmp_path: Path, model: Path) -> None:
    """It follows seed, prompt, frame rate and negative prompt, which by default is the empty text."""
    save_model(tmp_path / "model", small(image_condition="none"), ModelCard(FACTS))
    generator = Generator.load(tmp_path / "model", CPU)
    first = Request(None, "a red square moves")
    others = [
        replace(first, prompt="nothing at all"),
        replace(first, seed=1),
        replace(first, fps=30.0),
        replace(first, negative="nothing at all"),
    ]
    videos = generator.generate([first, *others, first, replace(first, prompt="", seed=2)], QUICK)
    assert videos.shape == (7, 3, 32, 64, 3)
    assert all((videos[0, frame] != other[frame]).any() for other in videos[1:5] for frame in range(3))
    np.testing.assert_array_equal(videos[0], videos[5])
    unguided = generator.generate([replace(first, prompt="", seed=2)], replace(QUICK, guidance=1.0))
    assert np.abs(videos[6].astype(int) - unguided[0]).max() <= 1  # both branches see the empty text
    with pytest.raises(InputError, match=r"^this model makes videos from text alone: leave the picture out\.$"):
        generator.generate([first, replace(first, image=picture(0))], QUICK)
    with pytest.raises(InputError, match=r"^this model begins its videos with a picture: give one\.$"):
        Generator.load(model, CPU).generate([Request(picture(0), "a"), first], QUICK)


def test_a_motion_level_is_followed_by_models_that_take_it(tmp_path: Path, model: Path) -> None:
    facts = replace(FACTS, motion_bounds=tuple(1 - number / 10 for number in range(9)))
    save_model(tmp_path / "model", small(motion_level=True), ModelCard(facts))
    generator = Generator.load(tmp_path / "model", CPU)
    first = Request(picture(0), "a red square moves")
    levels = [replace(first, motion_level=level) for level in (5, 1, 10)]
    usual, five, least, most = generator.generate([first, *levels], QUICK)
    np.testing.assert_array_equal(usual, five)
    assert (least != five).any()
    assert (most != five).any()
    assert (least != most).any()
    np.testing.assert_array_equal(generator.generate(levels[2:], QUICK)[0], most)
    for level in (0, 11):
        with pytest.raises(InputError, match=rf"^motion_level {level}: must be from 1 to 10\.$"):
            generator.generate([replace(first, motion_level=level)], QUICK)
    with pytest.raises(InputError, match=r"^this model takes no motion level: leave it out\.$"):
        Generator.load(model, CPU).generate([first, levels[0]], QUICK)


def test_what_a_model_lacks_is_named(tmp_path: Path, model: Path) -> None:
    save_model(
        tmp_path / "a", small(image_condition="x-cat"), ModelCard(replace(FACTS, latents={"encoder": "AutoencoderKL"}))
    )
    with pytest.raises(WeightsError, match="has no vae and refers to none"):
        Generator.load(tmp_path / "a", CPU)
    save_model(tmp_path / "b", small(image_condition="x-cat"), ModelCard(replace(FACTS, text={"encoder": "ViT-H-14"})))
    with pytest.raises(WeightsError, match="has no text_encoder and refers to none"):
        Generator.load(tmp_path / "b", CPU)
    save_model(tmp_path / "c", small(image_condition="cx-attn"), ModelCard(FACTS))
    with pytest.raises(WeightsError, match="no image encoder is given"):
        Generator.load(tmp_path / "c", CPU)
    wan = Wan(image_condition="concat", heads=2, head_dim=12, layers=1, feed_forward=16)
    save_model(tmp_path / "w", wan.new(DataShapes((4, 3, 4, 8), (5, 16))), ModelCard(FACTS))
    with pytest.raises(InputError, match="latents followed by empty ones, which cannot be made yet"):
        Generator.load(tmp_path / "w", CPU)
    save_model(tmp_path / "d", small(image_condition="both"), ModelCard(replace(FACTS, image={"encoder": "ViT-H-14"})))
    with pytest.raises(WeightsError, match="has no image_encoder and refers to none"):
        Generator.load(tmp_path / "d", CPU)


@pytest.mark.parametrize(("height", "width"), [(64, 64), (10, 300), (333, 20), (32, 64)])
def test_a_picture_is_cut_to_size_about_its_centre(height: int, width: int) -> None:
    image = np.zeros((height, width, 3), np.uint8)
    image[height // 2 - 1 : height // 2 + 1] = 255  # a bright line through the middle
    fitted = fit(image, 32, 64)
    assert fitted.shape == (32, 64, 3)
    assert fitted[14:18].max() > 200


@pytest.mark.parametrize("shape", [(1, 200_000), (150_000, 2)])
def test_a_picture_of_one_row_takes_no_memory(shape: tuple[int, int]) -> None:
    """Resized as a whole it would take gigabytes."""
    image = np.zeros((*shape, 3), np.uint8)
    image[shape[0] // 2, shape[1] // 2] = 255
    fitted = fit(image, 320, 512)
    assert fitted.shape == (320, 512, 3)
    assert fitted.max() > 200
