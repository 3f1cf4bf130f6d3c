"""The toy that comes with the code."""

import importlib.resources
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from base.errors import InputError
from evaluation.sprites.tracking import track
from infra.toy import MODEL, read_story
from infra.toy.data import WORLD, clips
from infra.toy.heldout import held_out
from infra.toy.training import toy
from models.folder import load_facts
from models.generator import Generator, Request
from pipeline.featurizers.latents import PixelLatents
from pipeline.sprites.files import draw_clips
from pipeline.sprites.world import DIRECTIONS, World


def test_the_toy_is_what_its_recipes_and_its_story_say() -> None:
    facts, recipe, story = load_facts(MODEL), clips(), read_story()
    latents = recipe.features["latents"]
    assert isinstance(latents, PixelLatents)
    assert facts.latents == latents.identity()
    grid = latents.columns(recipe.shape)[0].shape
    assert (facts.frames, facts.height, facts.width) == grid[1:]
    assert facts.schedule == toy().schedule
    assert facts.step == story.steps == story.loss[-1][0]
    assert story.right > 0.8
    assert story.loss[-1][1] < 0.5 * story.loss[0][1]


def test_the_toy_lies_in_the_package_and_is_small() -> None:
    package = Path(str(importlib.resources.files("infra.toy")))
    assert package / "model" == MODEL
    files = [path for path in package.rglob("*") if path.suffix in (".safetensors", ".json", ".md")]
    assert len(files) >= 6
    assert sum(path.stat().st_size for path in files) < 6e6


def test_right_and_left_are_opposite() -> None:
    (scene,) = held_out(WORLD, 1, seed=0)
    generator = Generator.load(MODEL, torch.device("cpu"))
    requests = [Request(scene.image, scene.prompt(way), seed=0) for way in ("right", "left")]
    videos = generator.generate(requests, replace(generator.facts.sampling, steps=6))
    right, left = (track(video, scene.scene).moves[scene.number, -1] for video in videos)
    assert right[1] > 0.1
    assert left[1] < -0.1
    assert [scene.direction(video) for video in videos] == ["right", "left"]


def test_held_out_scenes_have_room_and_are_in_no_dataset() -> None:
    scenes = held_out(WORLD, 4, seed=1, ways=tuple(DIRECTIONS))
    assert len(scenes) == 4
    trained = {sprite for clip in draw_clips(WORLD, 40, seed=1) for sprite in clip.scene.sprites}
    for scene in scenes:
        assert scene.sprite not in trained
        assert scene.image.shape == (192, 192, 3)
        for way in DIRECTIONS.values():
            there = [c + step * 5 / 256 * 16 for c, step in zip(scene.sprite.centre, way, strict=True)]
            assert all(scene.sprite.reach <= place <= 1 - scene.sprite.reach for place in there)
    assert scenes[0].prompt("up") == f"the {scenes[0].sprite.name} moves up"


def test_kinds_narrow_the_world() -> None:
    assert {clip.motion.kind for clip in draw_clips(WORLD, 20, 0)} == {"moves"}
    everything = World(192, 192)
    assert len({clip.motion.kind for clip in draw_clips(everything, 60, 0)}) == 4
    with pytest.raises(ValueError, match="kinds: none is given; give some of moves, stops, swaps, enters"):
        replace(WORLD, kinds=())


def test_a_scene_runs_out_of_sentences() -> None:
    world = replace(WORLD, kinds=("swaps",), most=2)
    with pytest.raises(InputError, match="prompts_per_scene 2: with the kinds swaps a scene has only 1 different"):
        list(draw_clips(world, 4, 0))
