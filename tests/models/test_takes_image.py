"""Whether a model is given a picture: its config.json says the same as the network that is built from it."""

from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from models.card import ModelCard
from models.find import find_candidates
from models.folder import save_model, takes_image
from models.patches.backbone import Patches
from models.video_model import BACKBONES, Backbone, DataShapes
from models.videocrafter2.backbone import VideoCrafter2
from models.wan.backbone import IMAGE_CONDITIONS, Wan
from tests.models.facts import FACTS

SHAPES = DataShapes((4, 3, 4, 8), (5, 16), (7, 12))
SIZES = {"start": "", "block_out_channels": (8, 16), "layers_per_block": 1, "norm_num_groups": 4}
CONDITIONS = get_args(get_type_hints(VideoCrafter2)["image_condition"])
KINDS: list[Backbone] = [
    *(VideoCrafter2(**SIZES, attention_head_dim=8, image_condition=condition) for condition in CONDITIONS),
    *(
        Wan(image_condition=condition, heads=2, head_dim=12, layers=1, feed_forward=16)
        for condition in IMAGE_CONDITIONS
    ),
    Patches(width=16, depth=1, heads=1),
]


@pytest.mark.parametrize("backbone", KINDS, ids=lambda kind: f"{kind.name}-{getattr(kind, 'image_condition', '')}")
def test_a_config_says_what_the_network_takes(backbone: Backbone, tmp_path: Path) -> None:
    network = backbone.new(SHAPES)
    save_model(tmp_path / "m", network, ModelCard(FACTS))
    assert takes_image(tmp_path / "m") is network.takes_image
    assert find_candidates([str(tmp_path / "m")])[0].takes_image() is network.takes_image
    assert network.takes_image is (getattr(backbone, "image_condition", "") != "none")


def test_every_backbone_is_looked_at() -> None:
    assert {kind.name for kind in KINDS} == set(BACKBONES)
    for name, registered in BACKBONES.items():
        assert registered.backbone.endswith(f":{next(type(kind).__name__ for kind in KINDS if kind.name == name)}")
