"""Damage done to a dataset by anything but us: the next run mends it or refuses with a sentence, and loses nothing."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from base.errors import InputError
from base.storage.folder import Folder
from dataset.catalog import Catalog
from dataset.parts.tables import part_names
from dataset.recovery import recover_catalog
from pipeline.graph.tasks import end_video_worker
from pipeline.run.run import Run
from tests.pipeline.damage import DAMAGE, content, run_damage, step
from tests.pipeline.histories import History, Life, make_library
from tests.pipeline.in_process import InProcess
from tests.pipeline.many import play_all
from tests.pipeline.oracle import Oracle, check_account, check_dataset

pytestmark = pytest.mark.usefixtures("unsynced")

MANY = 60
FEW = 5


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield make_library(tmp_path_factory.mktemp("damage") / "library")
    end_video_worker()


@pytest.fixture(scope="module")
def oracle(library: Path) -> Oracle:
    return Oracle(library)


@pytest.fixture
def history(library: Path, tmp_path: Path) -> History:
    """A dataset of ten clips in three parts, with two artifacts, text and rejects."""
    history = History(library, tmp_path / "videos", tmp_path / "d", 0)
    first = step(("brightness",))
    history.prepare(first)
    history.run(first, Life())
    history.run(step(), Life())
    return history


@pytest.mark.parametrize("folder", ["clips", "brightness", "cells", "text", "sources", "rejects"])
@pytest.mark.parametrize("damage", ["cut short", "no bytes", "head lost"])
def test_a_damaged_part_is_computed_again(history: History, oracle: Oracle, folder: str, damage: str) -> None:
    before = content(history.dataset)
    victim = sorted((history.dataset / folder).glob("part-*"))[0]
    DAMAGE[damage](victim)
    broken = victim.read_bytes()
    account = history.run(step(), Life())
    assert account is not None
    check_account(account)
    (line,) = [line for line in history.said if "damaged (" in line]
    assert line.split(None, 1)[0] == folder
    assert f"1 part is damaged ({victim.name}: " in line
    check_dataset(history.dataset, step(), oracle)
    assert content(history.dataset) == before
    (kept,) = (history.dataset / "damaged").glob(f"*/{folder}/*")
    assert (kept.name, kept.read_bytes()) == (victim.name, broken)
    again = history.run(step(), Life())
    assert again is not None
    assert (again.planned, again.artifacts_added, again.captions) == (0, 0, 0)
    assert not any("damaged" in line for line in history.said)


def test_a_dry_run_says_what_is_damaged_and_moves_nothing(history: History) -> None:
    for folder in ("cells", "clips"):
        for part in sorted((history.dataset / folder).glob("part-*"))[:2]:
            DAMAGE["cut short"](part)
    before = {path: path.read_bytes() for path in history.dataset.rglob("*") if path.is_file()}
    said: list[str] = []
    plan = Run(step().job(history.place, Folder(str(history.dataset))), said.append, InProcess()).dry_run()
    assert {path: path.read_bytes() for path in history.dataset.rglob("*") if path.is_file()} == before
    assert plan.to_compute > 0
    assert [line.split(None, 1)[0] for line in said if "2 parts are damaged (part-" in line] == ["clips", "cells"]
    assert any(line.endswith(f"damaged files are kept in {history.dataset}/damaged") for line in said)


def test_what_another_recipe_made_is_named_and_set_aside(history: History) -> None:
    part = sorted((history.dataset / "cells").glob("part-*"))[0]
    DAMAGE["cut short"](part)
    account = history.run(step(("brightness",)), Life())
    assert account is not None
    assert any("this recipe does not compute them; run the recipe that made them" in line for line in history.said)
    assert not part.exists()
    history.run(step(), Life())
    assert part.exists()


@pytest.mark.parametrize("damage", ["cut short", "gone"])
def test_a_lost_reject_of_an_artifact_is_found_out_again(
    library: Path, tmp_path: Path, oracle: Oracle, damage: str
) -> None:
    """A row of nulls without the reject that says why would never be tried again."""
    history = History(library, tmp_path / "videos", tmp_path / "d", 0)
    first, failing = step(("brightness",)), step(fails_above=140.0)
    history.prepare(first)
    for done in (first, failing):
        history.run(done, Life())
    before = content(history.dataset)
    lost = sorted((history.dataset / "rejects").glob("part-*-cells.parquet"))
    assert lost
    for part in lost:
        DAMAGE[damage](part)
    history.run(failing, Life())
    assert any("failed clips in it have no reject" in line for line in history.said)
    check_dataset(history.dataset, failing, oracle)
    assert content(history.dataset) == before


@pytest.mark.parametrize("damage", ["gone", "no bytes", "cut short"])
def test_dataset_json_is_made_again(history: History, oracle: Oracle, damage: str) -> None:
    """Another recipe used to relabel all parts as its own."""
    before = content(history.dataset)
    DAMAGE[damage](history.dataset / "dataset.json")
    other = step(("brightness-2", "text"))
    account = history.run(other, Life())
    assert account is not None
    assert any(line.startswith("dataset.json") and "rebuilt" in line for line in history.said)
    check_dataset(history.dataset, other, oracle)
    after = content(history.dataset)
    for folder in ("clips", "brightness", "cells", "text"):
        assert after[folder] == before[folder]
    assert before["catalog"][1].items() <= after["catalog"][1].items()


def test_dataset_json_of_another_dataset_is_refused(history: History, tmp_path: Path) -> None:
    folder = Folder(str(history.dataset))
    catalog = Catalog.require(folder)
    other = replace(catalog.artifacts["brightness"], identity={"scale": 9.0})
    replace(catalog, artifacts=catalog.artifacts | {"brightness": other}).write(folder)
    with pytest.raises(InputError, match=r"d/brightness: its parts were made with another configuration"):
        history.run(step(("cells",)), Life())


def test_parts_that_do_not_say_how_they_were_made_are_refused(history: History) -> None:
    from dataset.parts.part_file import read_part
    from dataset.parts.tables import FACTS, write_part

    folder = Folder(str(history.dataset))
    (history.dataset / "dataset.json").unlink()
    for name in part_names(folder / "clips"):
        write_part(folder / "clips", name, read_part(folder / "clips", name), FACTS, {"fingerprint": "f"})
    with pytest.raises(
        InputError, match=r"d/clips: dataset.json is missing or broken, and these parts do not describe"
    ):
        history.run(step(), Life())


def test_an_empty_folder_has_nothing_to_recover(tmp_path: Path) -> None:
    assert recover_catalog(Folder(str(tmp_path / "none"))) is None


@pytest.mark.parametrize("seed", range(FEW))
def test_random_damage(seed: int, library: Path, tmp_path: Path, oracle: Oracle) -> None:
    run_damage(seed, library, tmp_path, oracle)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_much_random_damage(tmp_path: Path) -> None:
    play_all("damage", FEW, FEW + MANY, tmp_path)
