"""Names of videos: by hand, and those that were published where their list is there."""

import csv

import pytest

from evaluation.bench.names import Counts, scene_of, slug, split_video_name
from tests.conftest import SHARED

PUBLISHED = SHARED / "reference" / "ti2v_bench_pairs.csv"


@pytest.mark.parametrize(
    ("prompt", "expected"),
    [
        ("A car changing its lane", "a_car_changing_its_lane"),
        ("A cartoon-style boy bends down.", "a_cartoonstyle_boy_bends_down"),
        ("The tree's branches  swaying!\n", "the_trees_branches_swaying"),
        ("lightning bolts: strike, hit (volcano) peak", "lightning_bolts_strike_hit_volcano_peak"),
        ("ein Vöglein fliegt 2 Runden", "ein_vöglein_fliegt_2_runden"),
        ("...", ""),
    ],
)
def test_slugs(prompt: str, expected: str) -> None:
    assert slug(prompt) == expected


@pytest.mark.parametrize(
    ("image", "scene"),
    [
        ("aerial_car3", "aerial_car"),
        ("meadow_bear", "meadow"),
        ("person_face1", "person_face"),
        ("Person_Walking2", "person_walking"),
        ("sunflower2", "sunflower"),  # not of the scene "sun"
        ("red_circle_12", "red_circle"),
        ("17", "17"),
    ],
)
def test_scenes(image: str, scene: str) -> None:
    assert scene_of(image) == scene


def test_names_of_videos() -> None:
    assert split_video_name("aerial_car1_a_car_moving_forward_12.mp4") == ("aerial_car1_a_car_moving_forward", 12)
    assert split_video_name("Dog1_A_dog_0.MP4") == ("dog1_a_dog", 0)
    assert split_video_name("dog1_a_dog.mp4") is None
    assert split_video_name("dog1_a_dog_0.gif") is None


def test_all_published_names() -> None:
    if not PUBLISHED.is_file():
        pytest.skip(f"{PUBLISHED}, the list of the published pairs, is not there")
    with PUBLISHED.open() as file:
        rows = list(csv.DictReader(file))
    sets = [{row[name] for row in rows} for name in ("pair_id", "image_id", "prompt_slug", "scene")]
    assert Counts(*map(len, sets)) == Counts()
    for row in rows:
        assert slug(row["prompt_slug"].replace("_", " ")) == row["prompt_slug"]
        assert scene_of(row["image_id"]) == row["scene"]
        assert split_video_name(f"{row['pair_id']}_0.mp4") == (row["pair_id"], 0)
