"""What is said of the toy's motion levels (it is measured by ``python -m infra.toy.levels``)."""

import csv
from pathlib import Path

from infra.toy.levels import recipe, summary, write_clips
from infra.toy.training import toy
from pipeline.sprites.files import read_truth


def test_ranks() -> None:
    rising = [[0.1 * level for level in range(10)], [0.5 + 0.01 * level for level in range(10)]]
    assert summary(rising).spearman == 1
    assert 0 < summary(rising).spearman_of_videos < 1
    assert summary([row[::-1] for row in rising]).spearman == -1


def test_captions_do_not_say_the_speed(tmp_path: Path) -> None:
    """Which differs from clip to clip."""
    with write_clips(tmp_path, 8).open(newline="") as file:
        rows = list(csv.DictReader(file))
    _, clips = read_truth(tmp_path)
    assert len({clip.motion.speed for clip in clips}) > 1
    for row, clip in zip(rows, clips, strict=True):
        assert row["caption"].split() == [word for word in clip.motion.caption.split() if word != clip.motion.speed]


def test_it_is_the_toy_with_a_level() -> None:
    assert recipe(7).schedule == toy().schedule
    assert recipe(7).network.takes_motion_level
