"""The backbone: sizes, files, bad input, and that nothing else needs to know it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import WanTransformer3DModel
from safetensors.torch import load_file, save_file

from base.errors import InputError, WeightsError
from base.storage.folder import Folder
from base.weights import Weights
from diffusion.flow import Flow
from diffusion.options import Sampling
from models.estimate import flops, parameters
from models.folder import load_network
from models.generator import Generator, Request
from models.latent_grid import LatentGrid
from models.video_model import DataShapes, predict
from models.wan.backbone import I2V_14B, I2V_A14B, TI2V_5B, WAN21_GRID, WAN22_GRID, Wan
from models.wan.checkpoint import find, load
from tests.training.datasets import Toy, write_toy
from tests.training.runs import toy_job, train_here
from training.data.artifacts import Artifacts
from training.data.source import Source
from training.validation.measure import HeldOut, measure
from training.validation.options import Options

TINY = Wan(heads=2, head_dim=12, layers=2, feed_forward=32)
SHAPES = DataShapes(latent=(4, 3, 4, 6), text=(5, 16))


def published(backbone: Wan, grid: LatentGrid) -> DataShapes:
    tokens = (257, 1280) if backbone.takes_image_tokens else None
    return DataShapes(grid.shape(49, 480, 832), text=(512, 4096), image=tokens)


@pytest.mark.parametrize(
    ("backbone", "grid", "count"),
    [
        (TI2V_5B, WAN22_GRID, 4_999_787_712),
        (I2V_A14B, WAN21_GRID, 14_288_901_184),
        (I2V_14B, WAN21_GRID, 16_394_878_784),
    ],
    ids=["5B", "A14B", "14B"],
)
def test_published_models_have_their_parameters(backbone: Wan, grid: LatentGrid, count: int) -> None:
    """As many as their files hold; those of Wan 2.1 hold 40 unused vectors of 5120 more, 16,395,083,584."""
    with torch.device("meta"):
        network = backbone.new(published(backbone, grid))
    assert parameters(network) == count


def test_the_cost_of_the_5b_shape_is_that_of_its_matrix_products() -> None:
    """49 frames of 480 x 832 are 13 x 15 x 26 tokens; a multiply-add is two FLOPs."""
    with torch.device("meta"):
        network = TI2V_5B.new(published(TI2V_5B, WAN22_GRID))
    n, text, d, ffn = 13 * 15 * 26, 512, 3072, 14336
    own, cross = 4 * n * d * d + 2 * n * n * d, 2 * (n + text) * d * d + 2 * n * text * d
    times = n * (256 * d + d * d + d * 6 * d)  # of every token
    ends = 2 * n * 4 * 48 * d + text * (4096 * d + d * d)
    expected = 2 * (30 * (own + cross + 2 * n * d * ffn) + times + ends)
    assert flops(network, published(TI2V_5B, WAN22_GRID)) == pytest.approx(expected, rel=1e-3)


def test_gradients_are_the_same_where_blocks_are_computed_again() -> None:
    network, found = TINY.new(SHAPES), []
    sample, given = (
        torch.randn(2, *SHAPES.latent),
        {"text": torch.randn(2, 5, 16), "image_latent": torch.randn(2, 4, 4, 6)},
    )
    for _ in range(2):
        network.zero_grad()
        predict(network, sample, torch.tensor([3.0, 700.0]), given).square().sum().backward()
        found.append([parameter.grad.clone() for parameter in network.parameters() if parameter.grad is not None])
        network.enable_gradient_checkpointing()
    assert len(found[0]) == len(list(network.parameters()))
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))


@pytest.mark.parametrize("shards", ["10GB", "20KB"])
def test_a_folder_of_diffusers_is_opened_and_opens_there(tmp_path: Path, shards: str) -> None:
    network = TINY.new(SHAPES)
    theirs = WanTransformer3DModel.from_config(network.config)
    theirs.save_pretrained(tmp_path / "theirs/transformer", max_shard_size=shards)
    assert len(list(tmp_path.rglob("*.safetensors"))) > 1 or shards == "10GB"
    opened = load(Weights(str(tmp_path / "theirs")))
    opened.save_pretrained(tmp_path / "ours")
    assert json.loads((tmp_path / "ours/config.json").read_text())["_class_name"] == "WanTransformer3DModel"
    back = WanTransformer3DModel.from_config(WanTransformer3DModel.load_config(tmp_path / "ours"))
    back.load_state_dict(load_file(tmp_path / "ours/diffusion_pytorch_model.safetensors"))
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(tensor, opened.state_dict()[name])
        assert torch.equal(tensor, back.state_dict()[name])
    for one, other in zip(theirs.buffers(), opened.buffers(), strict=True):  # not in the files
        assert torch.equal(one, other)


def test_files_of_wan_2_1_have_a_tensor_too_many(tmp_path: Path) -> None:
    backbone = Wan("", "concat-tokens", heads=2, head_dim=12, layers=1, feed_forward=32)
    backbone.new(DataShapes(SHAPES.latent, SHAPES.text, (3, 8))).save_pretrained(tmp_path / "transformer")
    file = tmp_path / "transformer/diffusion_pytorch_model.safetensors"
    save_file(load_file(file) | {"blocks.0.attn2.norm_added_q.weight": torch.ones(24)}, file)
    assert load(Weights(str(tmp_path))).conditions == ("text", "image_clip", "image_tokens")


def test_folders_that_are_refused(tmp_path: Path) -> None:
    TINY.new(SHAPES).save_pretrained(tmp_path / "transformer")
    config = tmp_path / "transformer/config.json"
    described = json.loads(config.read_text())
    for change, message in (
        ({"in_channels": 5}, "5 channels in and 4 out, which is none of motif's ways"),
        ({"pos_embed_seq_len": 514}, "first and last frames"),
        ({"_class_name": "WanVACETransformer3DModel"}, "describes a WanVACETransformer3DModel, not a VideoWan"),
        ({"num_layers": 3}, r"blocks\.2\.\S+ is missing"),
    ):
        config.write_text(json.dumps(described | change))
        with pytest.raises(WeightsError, match=message):
            load(Weights(str(tmp_path)))
    with pytest.raises(WeightsError, match="transformer_2 has no config.json"):
        find(Weights(str(tmp_path), subfolder="transformer_2"))


@pytest.mark.parametrize(
    ("size", "message"),
    [
        ((48, 480, 832), r"frames 48: must be a multiple of 4 plus 1.* Use 45 or 49\."),
        ((0, 480, 832), "frames 0: .* Use 1 or 5"),
        ((49, 480, 840), r"480 x 840 pixels: both sides must be multiples of 32\. Use 480 x 832\."),
        ((49, 16, 832), "16 x 832 pixels: .* Use 32 x 832"),
    ],
)
def test_videos_that_have_no_latent_grid(size: tuple[int, int, int], message: str) -> None:
    assert WAN22_GRID.shape(49, 480, 832) == (48, 13, 30, 52)
    assert WAN21_GRID.shape(1, 480, 832) == (16, 1, 60, 104)
    with pytest.raises(InputError, match=message):
        WAN22_GRID.shape(*size)


@pytest.mark.parametrize(
    ("backbone", "shapes", "message"),
    [
        (TINY, DataShapes((4, 3, 5, 6), (5, 16)), "5 x 6 cells: .* both sides must be even"),
        (TINY, DataShapes((4, 1, 4, 6), (5, 16)), "latents of 1 frame"),
        (TINY, DataShapes((4, 3, 4, 6), (513, 16)), "513 tokens: Wan takes at most 512"),
        (I2V_A14B, SHAPES, "network.image_condition concat: no dataset holds"),
    ],
)
def test_data_that_does_not_fit(backbone: Wan, shapes: DataShapes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        backbone.check(shapes)


@pytest.mark.parametrize("sizes", [{"layers": 0}, {"head_dim": 4}, {"head_dim": 7}])
def test_sizes_that_cannot_be_built(sizes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"network\.(heads|head_dim)"):
        Wan(**sizes)  # type: ignore[arg-type]


def test_it_is_trained_resumed_validated_and_sampled_like_any_other(tmp_path: Path) -> None:
    """On latents of four frames each, of which the picture gives the first."""
    data = write_toy(Folder(str(tmp_path / "data")), Toy(shape=(4, 13, 8, 8), stride=4))
    changes = {"network": TINY, "schedule": Flow(shift=5.0, times="logit-normal")}
    whole = train_here(toy_job(data, tmp_path / "whole", **changes))
    train_here(toy_job(data, tmp_path / "parts", **changes | {"steps": 2}))
    resumed = train_here(toy_job(data, tmp_path / "parts", **changes))
    for one, other in zip(whole.state.network.parameters(), resumed.state.network.parameters(), strict=True):
        assert torch.equal(one, other)

    model = tmp_path / "whole/checkpoints/step-00000004/model"
    network, source = load_network(model), Source(data.uri, Artifacts())
    options = Options(timesteps=(100, 900), device="cpu", resamples=10)
    errors = measure(network, Flow(shift=5.0), HeldOut.choose(source, 3, 0), options, lambda _: None)
    assert np.isfinite(errors.overall).all()
    assert list(errors.cells) == [3 * 8 * 8] * 3  # of four frames, three are predicted

    generator = Generator.load(model, torch.device("cpu"))
    picture = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    video = generator.generate([Request(picture, "a star", seed=1)], Sampling(steps=3))
    shown = generator.space.decode(
        generator.space.encode(torch.from_numpy(picture).permute(2, 0, 1)[None] / 127.5 - 1)[:, :, None]
    )
    assert np.abs(video[0, 0] - ((shown[0].permute(1, 2, 0).clamp(-1, 1) + 1) * 127.5).numpy()).max() <= 1
