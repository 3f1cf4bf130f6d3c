from pathlib import Path

import numpy as np
import pytest
import torch

from base.errors import InputError
from base.storage.folder import Folder
from dataset.heatmap.heatmap import latent_heatmap
from dataset.heatmap.normalisation import Normalisation
from dataset.parts.tables import part_names
from dataset.view import View
from diffusion.flow import Flow
from tests.training.datasets import Toy, caption_of, write_toy
from training.data.artifacts import Artifacts
from training.data.loader import Batches, BatchPlan, Share
from training.data.order import Place
from training.data.source import Source


def clips(source: Source) -> list[str]:
    return [source.read(Place(g, int(row)))["clip_id"] for g, rows in enumerate(source.rows) for row in rows]


def test_a_clip_is_read_as_it_was_written(toy_dataset: Folder) -> None:
    source = Source(toy_dataset.uri, Artifacts())
    assert len(source) == 12
    sample = source.read(Place(2, 1))  # parts of eight clips in groups of four
    expected = Toy(logvar=True).values(9)
    assert sample["clip_id"] == "clip0009"
    assert sample["caption"] == caption_of(9)
    assert sample["fps"] == 8.0
    np.testing.assert_array_equal(sample["mean"], expected["mean"])
    np.testing.assert_array_equal(sample["logvar"], expected["logvar"])
    np.testing.assert_allclose(sample["heatmap"], expected["heatmap"] / 255, atol=1e-6)
    assert sample["text"].shape == (6, 16)


def test_the_heatmap_can_be_computed_anew_from_the_intensity(toy_dataset: Folder) -> None:
    """At a third of the default's fraction everything that moves is lit fully."""
    stored = Source(toy_dataset.uri, Artifacts()).read(Place(0, 0))["heatmap"]
    lit = Source(toy_dataset.uri, Artifacts(normalisation=Normalisation(fraction=0.05))).read(Place(0, 0))["heatmap"]
    same = Source(toy_dataset.uri, Artifacts(normalisation=Normalisation())).read(Place(0, 0))["heatmap"]
    np.testing.assert_allclose(same, stored, atol=1 / 255)
    moving = stored > 0.5
    assert moving.any()
    assert lit[moving].min() >= stored[moving].max() - 1 / 255
    assert Normalisation(fraction=0.05).scale(64, 64) < Normalisation().scale(64, 64)


def test_latents_that_compress_time_get_the_motion_of_their_frames(tmp_path: Path) -> None:
    """By the heatmaps' own normalisation, or another; at the clip's rate, whatever the network is told."""
    toy = Toy(shape=(4, 9, 8, 8), stride=4)
    data = write_toy(Folder(str(tmp_path)), toy).uri
    own = Source(data, Artifacts(), fps_max=4.0)
    sample, cells = own.read(Place(0, 1)), toy.values(1)["intensity"][None]
    expected = latent_heatmap(Normalisation(), cells, None, toy.pixels, 4, np.array([9.0]))[0].numpy()
    assert own.facts.shape == (4, 3, 8, 8)
    np.testing.assert_allclose(sample["heatmap"], expected, atol=1e-6)
    assert sample["heatmap"][1:].max() > 0.5
    lit = Source(data, Artifacts(normalisation=Normalisation(fraction=0.02))).read(Place(0, 1))["heatmap"]
    assert (lit[1:] > expected[1:]).any()


def test_text_without_padding_trains_as_text_with_zeros(tmp_path: Path) -> None:
    """It is read in its own length, and a batch has zeros where there are no tokens."""
    toys = {name: write_toy(Folder(str(tmp_path / name)), Toy(ragged=name == "short")) for name in ("short", "long")}
    plan = BatchPlan(6, 0, Flow(), text_dropout=0.5)
    sources = {name: Source(folder.uri, Artifacts()) for name, folder in toys.items()}
    assert [len(sources["short"].read(Place(0, 1))["text"]), len(sources["long"].read(Place(0, 1))["text"])] == [3, 6]
    short, long = (Batches([source], plan, Share(0, 1, 6)).make(3).micro_batches[0].text for source in sources.values())
    assert short.shape == (6, 6, 16)
    assert torch.equal(short, long)
    assert {int(one.any(dim=1).sum()) for one in short} == {0, 3}


def test_heatmaps_that_latents_do_not_divide(tmp_path: Path) -> None:
    data = write_toy(Folder(str(tmp_path)), Toy(shape=(4, 8, 8, 8), stride=3))
    with pytest.raises(InputError, match="heatmaps are 8 x 8 x 8 .t h w., latents 3 x 8 x 8 of 3 frames each after"):
        Source(data.uri, Artifacts())


def test_a_saved_view_restricts_the_clips(toy_dataset: Folder, tmp_path: Path) -> None:
    ids = ("clip0003", "clip0008")
    View(toy_dataset.uri, ("latents", "heatmaps"), ids=ids).save(Folder(str(tmp_path)), "two.json")
    assert clips(Source(str(tmp_path / "two.json"), Artifacts())) == list(ids)
    View(toy_dataset.uri, ("heatmaps",), where=("fps>=10",)).save(Folder(str(tmp_path)), "fast.json")
    assert clips(Source(str(tmp_path / "fast.json"), Artifacts())) == [f"clip{n:04}" for n in range(2, 12, 3)]


def test_a_view_that_leaves_nothing(toy_dataset: Folder, tmp_path: Path) -> None:
    View(toy_dataset.uri, ("heatmaps",), where=("fps>=100",)).save(Folder(str(tmp_path)), "none.json")
    with pytest.raises(InputError, match="no clip is left that passes fps>=100"):
        Source(str(tmp_path / "none.json"), Artifacts())


def test_clips_that_lack_an_artifact_are_left_out(tmp_path: Path) -> None:
    dataset = write_toy(Folder(str(tmp_path)), Toy(failed={"latents": {1}, "heatmaps": {6, 11}}))
    source = Source(dataset.uri, Artifacts())
    assert clips(source) == [f"clip{n:04}" for n in range(12) if n not in (1, 6, 11)]


def test_clips_that_are_left_out_are_told(tmp_path: Path) -> None:
    """Of clips that failed, and of a part that is gone."""
    dataset = write_toy(Folder(str(tmp_path / "d")), Toy(failed={"latents": {1}}))
    assert Source(dataset.uri, Artifacts()).lack() == (
        f"{dataset.uri}: of its clips 1 lack latents, and are left out. Run its `motif preprocess` "
        "again, and `motif retry` for failed clips."
    )
    ((dataset / "heatmaps").path / part_names(dataset / "heatmaps")[0]).unlink()
    assert "of its clips 1 lack latents, 8 lack heatmaps, and are left out" in str(
        Source(dataset.uri, Artifacts()).lack()
    )
    view = View(dataset.uri, ("latents", "heatmaps"), ids=("clip0009",))
    view.save(Folder(str(tmp_path)), "one.json")
    assert Source(str(tmp_path / "one.json"), Artifacts()).lack() is None
    wide = View(dataset.uri, ("latents", "heatmaps", "text"), ids=("clip0001", "clip0009"))
    wide.save(Folder(str(tmp_path)), "two.json")
    assert "of its clips 1 lack latents, 1 lack heatmaps, and" in str(
        Source(str(tmp_path / "two.json"), Artifacts()).lack()
    )
    assert Source(write_toy(Folder(str(tmp_path / "whole")), Toy()).uri, Artifacts()).lack() is None


@pytest.mark.parametrize(
    ("artifacts", "told"),
    [
        (Artifacts(latents="latentz"), "artifact 'latentz' is not in the dataset"),
        (Artifacts(heatmaps="latents"), "--artifacts.heatmaps latents: .* it has kind latents"),
    ],
)
def test_artifacts_that_are_not_there(toy_dataset: Folder, artifacts: Artifacts, told: str) -> None:
    with pytest.raises(InputError, match=told):
        Source(toy_dataset.uri, artifacts)


def test_facts_are_those_a_model_must_agree_with(toy_dataset: Folder) -> None:
    facts = Source(toy_dataset.uri, Artifacts()).facts
    assert facts.shape == (4, 4, 8, 8)
    assert facts.pixels == (64, 64)
    assert facts.text_shape == (6, 16)
    assert facts.latents["encoder"] == "PixelCodec"
    assert "clips" not in facts.latents
