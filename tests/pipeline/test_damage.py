"""Damage done to a dataset by anything but us: the next run mends it or refuses with a sentence, and loses nothing."""

import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from base.errors import DamagedFile, InputError
from base.storage.folder import Folder
from dataset.catalog import Catalog
from dataset.identity import text_id
from dataset.parts.tables import part_names
from dataset.recovery import recover_catalog
from dataset.rejects import read_rejects
from pipeline.planning.plan import DryRun
from pipeline.run.accounting import Account
from pipeline.run.run import Run
from tests.pipeline.histories import RECIPES, VIDEOS, History, Life, Step, draw_history, make_library
from tests.pipeline.in_process import InProcess, close_child
from tests.pipeline.many import play_all
from tests.pipeline.test_histories import Oracle, check_account, check_dataset

pytestmark = pytest.mark.usefixtures("unsynced")

MANY = 100
FEW = 5
WHOLE = RECIPES[1]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield make_library(tmp_path_factory.mktemp("damage") / "library")
    close_child()


@pytest.fixture(scope="module")
def oracle(library: Path) -> Oracle:
    return Oracle(library)


def step(recipe: tuple[str, ...] = WHOLE, **more: Any) -> Step:
    files = {f"{number}.mp4": f"v{number}.mp4" for number in range(VIDEOS)} | {"text.mp4": "text.mp4"}
    rows = tuple((name, f"caption {chr(97 + number)}") for number, name in enumerate(files))
    return Step(recipe, rows, files, **more)


@pytest.fixture
def history(library: Path, tmp_path: Path) -> History:
    """A dataset of ten clips in three parts, with two artifacts, text and rejects."""
    history = History(library, tmp_path / "videos", tmp_path / "d", 0)
    first = step(("brightness",))
    history.prepare(first)
    history.run(first, Life())
    history.run(step(), Life())
    return history


def rows_of(folder: Path) -> list[dict[str, Any]]:
    return [row for path in folder.glob("part-*") for row in pq.read_table(path).to_pylist()]


def content(dataset: Path) -> dict[str, Any]:
    """All that a dataset says, whatever the parts it is cut into."""
    catalog = Catalog.require(Folder(str(dataset)))
    found: dict[str, Any] = {"catalog": (catalog.clips, catalog.artifacts)}
    clips = found["clips"] = {row["clip_id"]: row for row in rows_of(dataset / "clips")}
    used = {text_id(""), *(clip["text_id"] for clip in clips.values())}
    for folder, artifact in catalog.artifacts.items():
        key = "clip_id" if artifact.per_clip else "text_id"
        wanted = clips.keys() if artifact.per_clip else used
        found[folder] = {row[key]: row for row in rows_of(dataset / folder) if row[key] in wanted}
    names = ("uri", "artifact", "outcome", "stage", "error_class")
    rejects = read_rejects(Folder(str(dataset))).to_pylist()
    found["rejects"] = sorted(tuple(str(row[name]) for name in names) for row in rejects)
    return found


def without_row(clip: dict[str, Any] | None) -> dict[str, Any] | None:
    """A clip without what only the row of its manifest says: another row may name the same frames."""
    return clip and {name: value for name, value in clip.items() if name not in ("uri", "caption", "text_id")}


def rejected_slots(history: History, step: Step) -> set[str]:
    """Slots of a manifest that a dataset says are rejected. A lost reject of another manifest's row is not missed."""
    run = Run(step.job(history.place, Folder(str(history.dataset))), print, InProcess())
    run.repair.survey()
    rejects = read_rejects(Folder(str(history.dataset))).to_pylist()
    return run._plan(DryRun()).rejected_slots & {row["slot"] for row in rejects}


DAMAGE: dict[str, Callable[[Path], None]] = {
    "cut short": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "one byte short": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "no bytes": lambda path: path.write_bytes(b""),
    "zeroed": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "head lost": lambda path: path.write_bytes(bytes(16) + path.read_bytes()[16:]),
    "gone": lambda path: path.unlink(),
}


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
    assert any("this recipe does not compute them; run the one that made them" in line for line in history.said)
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
    assert any("clips failed in it and no reject says why" in line for line in history.said)
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
    assert any(line.startswith("dataset.json") and "made again" in line for line in history.said)
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
    with pytest.raises(InputError, match=r"d/clips: dataset.json is missing or broken, and these parts do not say"):
        history.run(step(), Life())


def test_an_empty_folder_has_nothing_to_recover(tmp_path: Path) -> None:
    assert recover_catalog(Folder(str(tmp_path / "none"))) is None


def swap(dataset: Path, draw: random.Random) -> list[str]:
    """Exchange two parts of different artifacts, or two of one; returns them."""
    parts = sorted(path for path in dataset.glob("*/part-*") if path.parent.name not in ("sources", "rejects"))
    one, other = draw.sample(parts, 2)
    aside = dataset / "aside"
    shutil.move(one, aside)
    shutil.move(other, one)
    shutil.move(aside, other)
    return [f"{path.parent.name}/{path.name}" for path in (one, other)]


def do_damage(dataset: Path, draw: random.Random) -> list[str]:
    """Damage one to three things; returns which."""
    done: list[str] = []
    for _ in range(draw.randint(1, 3)):
        kind = draw.choice([*DAMAGE, "swap", "catalog"])
        if kind == "catalog":
            if (dataset / "dataset.json").exists():
                DAMAGE[draw.choice(["gone", "no bytes"])](dataset / "dataset.json")
            done.append("dataset.json")
        elif kind == "swap":
            done += swap(dataset, draw)
        else:
            victim = draw.choice(sorted(dataset.glob("*/part-*")))
            DAMAGE[kind](victim)
            done.append(f"{victim.parent.name}/{victim.name}")
    return done


def run_damage(seed: int, library: Path, folder: Path, oracle: Oracle) -> None:
    """A random history, then damage, then the last command again: all is as before, or a sentence says why not."""
    draw = random.Random(seed)
    steps = draw_history(seed, changes=False)
    last = replace(steps[-1], recipe=draw.choice((WHOLE, RECIPES[4])))
    history = History(library, folder / "videos", folder / "d", seed)
    for step in (*steps, last):
        history.prepare(step)
        history.play(step, kills=False)
    before, rejected = content(history.dataset), rejected_slots(history, last)
    done = do_damage(history.dataset, draw)
    account: Account | None = None
    try:
        account = history.run(last, Life())
    except (InputError, DamagedFile) as refusal:
        if not str(refusal).startswith(str(history.dataset)):
            raise
        return
    assert account is not None
    check_account(account)
    check_dataset(history.dataset, last, oracle)
    after = content(history.dataset)
    used = {clip["text_id"] for clip in after["clips"].values()}
    others = {name.split("/")[0] for name in done} - {"clips"}
    for name, expected in before.items():
        if name in ("catalog", "rejects") or (name in others and name not in ours(history.dataset, last)):
            continue
        found = after[name]
        if name == "clips":
            expected, found = ({key: without_row(row) for key, row in rows.items()} for rows in (expected, found))
        elif not before["catalog"][1][name].per_clip:
            expected = {key: row for key, row in expected.items() if key in used}
        lost = {key for key, value in expected.items() if found.get(key) != value}
        if lost and name not in ("clips", *ours(history.dataset, last)):
            # An artifact of another recipe, beside a part of clips that was lost and cut anew.
            assert any(part.startswith("clips/") for part in done), (name, done)
            assert list((history.dataset / "damaged").glob(f"*/{name}/*"))
            continue
        assert not lost, (name, done)
    written = {clip["slot"] for clip in after["clips"].values()}
    assert rejected - written == rejected_slots(history, last) - written


def ours(dataset: Path, last: Step) -> set[str]:
    """The folders of the artifacts that a recipe computes."""
    from tests.pipeline.test_histories import folders_of

    return {folder for name, folder in folders_of(dataset).items() if name in last.recipe}


@pytest.mark.parametrize("seed", range(FEW))
def test_random_damage(seed: int, library: Path, tmp_path: Path, oracle: Oracle) -> None:
    run_damage(seed, library, tmp_path, oracle)


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_much_random_damage(tmp_path: Path) -> None:
    play_all("damage", FEW, FEW + MANY, tmp_path)
