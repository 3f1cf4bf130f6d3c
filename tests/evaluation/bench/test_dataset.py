"""The dataset is held against what was published; the stand-in has the same shape."""

import shutil
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from base.errors import InputError
from evaluation.bench.dataset import Bench, count
from evaluation.bench.names import Counts
from evaluation.bench.stand_in import write_stand_in
from media.picture import read_image
from pipeline.sprites.world import COLOURS
from tests.conftest import SHARED
from tests.evaluation.bench.small import NAMES, TABLE, write_dataset

PUBLISHED = SHARED / "reference" / "ti2v_bench_pairs.csv"


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "stand_in"
    assert write_stand_in(folder) == 320
    return folder


@pytest.fixture
def changed(stand_in: Path, tmp_path: Path) -> Path:
    """A copy to be changed."""
    return shutil.copytree(stand_in, tmp_path / "data")


def test_the_stand_in_has_the_published_shape(stand_in: Path) -> None:
    bench = Bench.read(stand_in)
    assert bench.deviations == ()
    bench.check()
    assert count(bench.pairs) == Counts()
    assert Counter(Counter(pair.image for pair in bench.pairs).values()) == {2: 10, 3: 26, 4: 41, 5: 8, 6: 3}
    assert len({pair.video(0) for pair in bench.pairs}) == 320
    assert len({pair.image.read_bytes() for pair in bench.pairs}) == 88
    assert all(pair.prompt.startswith(f"the {pair.scene.replace('_', ' ')} moves ") for pair in bench.pairs)


def test_the_stand_ins_images_show_what_prompts_say(stand_in: Path) -> None:
    """The named colour covers as much of the image as a shape does."""
    for pair in Bench.read(stand_in).pairs[::40]:
        image = read_image(pair.image)
        assert image.shape == (192, 192, 3)
        colour = np.array(COLOURS[pair.scene.partition("_")[0]])
        near = np.abs(image.astype(int) - colour).max(axis=2) < 60
        assert near.mean() > 0.01


def test_the_stand_in_is_always_the_same(stand_in: Path, tmp_path: Path) -> None:
    write_stand_in(tmp_path / "again")
    for path in stand_in.rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "again" / path.relative_to(stand_in)).read_bytes()
    with pytest.raises(InputError, match="exists and is not empty"):
        write_stand_in(tmp_path / "again")


def test_a_stand_in_of_the_published_pairs(tmp_path: Path) -> None:
    if not PUBLISHED.is_file():
        pytest.skip(f"{PUBLISHED}, the list of the published pairs, is not there")
    assert write_stand_in(tmp_path / "data", PUBLISHED) == 320
    bench = Bench.read(tmp_path / "data")
    assert bench.deviations == ()
    published = [line.split(",")[0] for line in PUBLISHED.read_text().splitlines()[1:]]
    assert sorted(pair.name for pair in bench.pairs) == sorted(published)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("image_id,prompt\na,b\n", "--pairs .*pairs.csv has the columns image_id, prompt: it must have"),
        ("image_id,prompt_slug\n../a,b\n", "line 2: image_id and prompt_slug are letters, digits, - and _"),
        ("image_id,prompt_slug\na,\n", "line 2: image_id and prompt_slug are letters"),
        ("image_id,prompt_slug\n", "has no pair"),
    ],
)
def test_a_stand_in_of_a_wrong_list(tmp_path: Path, table: str, message: str) -> None:
    (tmp_path / "pairs.csv").write_text(table)
    with pytest.raises(InputError, match=message):
        write_stand_in(tmp_path / "data", tmp_path / "pairs.csv")
    assert not (tmp_path / "data").exists()


def test_deviations_are_named(changed: Path) -> None:
    table = (changed / "prompt.csv").read_text().splitlines()
    name, prompt = table[1].split(",")
    (changed / "prompt.csv").write_text("\n".join([*table[:-1], table[5], f"{name},{prompt.upper()}!"]))
    (changed / "images" / "star.jpeg").write_bytes((changed / name).read_bytes())
    gone = changed / table[30].split(",")[0]
    gone.unlink()
    lines = [number for number, line in enumerate(table, 1) if line.startswith(f"images/{gone.name}")]
    found = Bench.read(changed).deviations
    assert found[0] == f"{320 - 1 - len(lines)} pairs instead of 320"
    assert "87 images instead of 88" in found
    assert {f"line {line} names images/{gone.name}, which is not there" for line in lines} <= {*found}
    first = Bench.read(changed).pairs[0]
    assert first.video(3) == f"{first.image_id}_{first.slug}_3.mp4"
    assert any(text.startswith("lines 6 and 321 are the same pair") for text in found)
    assert any(text.startswith("lines 2 and 322 are the same pair") for text in found)
    assert f"{changed / 'images' / 'star.jpeg'} has no prompt" in found
    with pytest.raises(InputError, match=r"not TI2V-Bench as it was published: .*; and \d+ more\. .*--allow-dev"):
        Bench.read(changed).check()


def test_pairs_do_not_depend_on_the_order_of_the_table(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "data")
    pairs = Bench.read(folder).pairs
    assert tuple(pair.name for pair in pairs) == NAMES
    header, *lines = TABLE.splitlines()
    (folder / "prompt.csv").write_text("\n".join([header, *reversed(lines)]))
    assert Bench.read(folder).pairs == pairs


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("images/dog1.png,?! ...", "the prompt in line 7, .*, has no letter"),
        (f"images/dog1.png,{'a very long prompt ' * 12}", r"line 7 makes a video's name of \d+ bytes.* Shorten"),
        ("more/dog1.png,a dog sleeps", r"dog1\.png and .*dog1\.png would have videos of the same name"),
    ],
)
def test_pairs_without_a_name_of_their_own(tmp_path: Path, line: str, message: str) -> None:
    folder = write_dataset(tmp_path / "data")
    (folder / "more").mkdir()
    cv2.imwrite(str(folder / "more" / "dog1.png"), np.zeros((32, 32, 3), np.uint8))
    same = "more/dog1.png,A dog barking\n" if line.startswith("more") else ""
    (folder / "prompt.csv").write_text(f"{TABLE}{line}\n{same}")
    with pytest.raises(InputError, match=message):
        Bench.read(folder)
