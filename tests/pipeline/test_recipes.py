import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from base.config import dump, load, to_json
from base.errors import InputError
from base.storage.folder import Folder
from dataset.rules import Rule
from models.encoders.pixel_codec import PixelCodec
from pipeline.featurizers.base import Feature
from pipeline.featurizers.latents import PixelLatents
from pipeline.featurizers.text import HashedTextStates
from pipeline.planning.artifacts import choose_targets
from pipeline.recipes import (
    RECIPES,
    Preprocess,
    Resources,
    motif,
    motif_image,
    sprites,
    sprites_image,
)
from pipeline.video.geometry import ClipShape
from pipeline.video.process.worker import DecodeLimits
from pipeline.video.sampling import Sampling
from tests.pipeline.features import Brightness


def tiny() -> Preprocess:
    """A recipe of one's own."""
    return Preprocess(features={"brightness": Brightness(scale=0.5)}, keep=("brightness>=1",), max_failed=0.0)


@pytest.mark.parametrize("made", [*RECIPES.values(), tiny])
def test_a_recipe_is_read_as_it_was_written(made: Callable[[], Preprocess]) -> None:
    """A run's record is enough to run it again."""
    config = made()
    assert load(dump(config)) == config
    other = replace(
        config,
        sampling=Sampling(frames=4, seed=9),
        keep=("moving_share>=0.001", "source_height>=256"),
        decode=DecodeLimits(decoders=("decord",), deadline_s=7.5),
        resources=Resources(device="cpu", featurizers=3),
    )
    assert load(dump(other)) == other
    assert load(dump(other)) != config


LATENTS: dict[str, Feature] = {"latents": PixelLatents()}


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"height": 100}, "height 100: must be a multiple of 8 and at least 64"),
        ({"width": 56}, "width 56: must be a multiple of 8 and at least 64"),
        ({"features": {}}, "features: give at least one clip feature"),
        ({"features": {"text": HashedTextStates()}}, "features: give at least one clip feature"),
        ({"features": LATENTS | {"b": PixelLatents(PixelCodec(cell=8))}}, "the kinds latents, latents: one of a kind"),
        ({"max_failed": 1.5}, "max_failed 1.5: must be a share from 0 to 1"),
        ({"max_failed": -0.1}, "max_failed -0.1: must be a share from 0 to 1"),
    ],
)
def test_a_recipe_checks_its_fields(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Preprocess(**{"features": LATENTS} | fields)


@pytest.mark.parametrize("rule", ["moving", "moving=1", "moving>=much"])
def test_a_rule_that_is_none(rule: str) -> None:
    with pytest.raises(InputError, match=f"rule '{rule}': write column>=number"):
        Preprocess(features=LATENTS, keep=(rule,))


def test_the_same_checks_hold_for_json() -> None:
    data = json.loads(dump(sprites()))
    for field, value, said in [
        ("height", 100, "config Preprocess: height 100: must be a multiple of 8"),
        ("keep", ["moving"], "rule 'moving': write column>=number"),
        ("hieght", 100, "config field 'hieght' does not exist. Did you mean height?"),
        ("features", {"latents": 3}, "config field 'features': .*: input should be an instance of (?i:feature)"),
        ("captions", "none", "config field 'captions': 'none': input should be 'required' or 'optional'"),
    ]:
        with pytest.raises(InputError, match=said):
            load(json.dumps(data | {field: value}))
    data["features"]["latents"]["codec"]["cel"] = 4
    with pytest.raises(InputError, match="'features.latents.codec.cel' does not exist. Did you mean cell?"):
        load(json.dumps(data))


def test_what_follows_from_a_recipe() -> None:
    config = replace(sprites(), keep=("moving_share>=0.001",))
    assert config.shape == ClipShape(16, 256, 256)
    assert config.rules == (Rule("moving_share", ">=", 0.001),)
    assert set(config.clip_features) == {"heatmaps", "latents"}
    assert set(config.text_features) == {"text"}


def test_a_feature_of_clips_is_known_with_the_pixels_it_was_computed_from() -> None:
    small, large = sprites(), replace(sprites(), height=512)
    latents, text = small.features["latents"], small.features["text"]
    assert small.feature_identity(latents) != large.feature_identity(latents)
    assert small.feature_identity(text) == large.feature_identity(text) == text.identity()
    faster = replace(small, resources=Resources(featurizers=9), decode=DecodeLimits(decoders=("decord",)))
    assert faster.feature_identity(latents) == small.feature_identity(latents)


@pytest.mark.parametrize("rule", ["moving_shares>=0.001", "clip_id>=1", "heatmap>=0.5"])
def test_a_rule_on_what_is_no_number_of_a_clip_is_refused(rule: str, tmp_path: Path) -> None:
    """A rule that can never be applied would keep every clip, and nobody would know."""
    with pytest.raises(InputError, match=rule.partition(">")[0]):
        choose_targets(replace(sprites(), keep=(rule,)), Folder(str(tmp_path)))


def test_rules_on_sources_and_on_scores_are_accepted(tmp_path: Path) -> None:
    config = replace(sprites(), keep=("moving_share>=0.001", "source_height>=256", "fps<60"))
    assert [target.folder for target in choose_targets(config, Folder(str(tmp_path))).clips] == ["heatmaps", "latents"]


def test_the_papers_size() -> None:
    assert motif().shape == ClipShape(16, 320, 512)
    assert to_json(motif())["features"]["heatmaps"]["flow"]["type"] == "raft-flow"


@pytest.mark.parametrize(("plain", "more"), [(motif(), motif_image()), (sprites(), sprites_image())])
def test_image_tokens_are_the_only_addition(plain: Preprocess, more: Preprocess) -> None:
    assert set(more.features) - set(plain.features) == {"image"}
    assert replace(more, features=plain.features) == plain
    assert {name: more.features[name] for name in plain.features} == plain.features


def test_a_dataset_without_image_tokens_can_get_them(tmp_path: Path) -> None:
    """They come beside what is there, which is not computed again."""
    dataset = Folder(str(tmp_path))
    choose_targets(sprites(), dataset).catalog.write(dataset)
    targets = choose_targets(sprites_image(), dataset)
    assert {target.folder: target.is_new for target in (*targets.clips, *targets.text)} == {
        "heatmaps": False,
        "latents": False,
        "text": False,
        "image": True,
    }
