"""Random damage to datasets, and what a run makes of it."""

import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from base.errors import DamagedFile, InputError
from base.storage.folder import Folder
from dataset.catalog import Catalog
from dataset.identity import text_id
from dataset.rejects import read_rejects
from dataset.survey import find_damage
from pipeline.planning.plan import Retry
from pipeline.run.accounting import Account
from pipeline.run.context import make_plan
from pipeline.run.run import Run
from tests.pipeline.histories import RECIPES, VIDEOS, History, Life, Step, draw_history
from tests.pipeline.in_process import InProcess
from tests.pipeline.oracle import Oracle, check_account, check_dataset

WHOLE = RECIPES[1]


def step(recipe: tuple[str, ...] = WHOLE, **more: Any) -> Step:
    files = {f"{number}.mp4": f"v{number}.mp4" for number in range(VIDEOS)} | {"text.mp4": "text.mp4"}
    rows = tuple((name, f"caption {chr(97 + number)}") for number, name in enumerate(files))
    return Step(recipe, rows, files, **more)


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
    damage = find_damage(run.context.dataset, run.context.targets.catalog)
    rejects = read_rejects(run.context.dataset).to_pylist()
    return make_plan(run.context, Retry(), damage=damage).rejected_slots & {row["slot"] for row in rejects}


DAMAGE: dict[str, Callable[[Path], None]] = {
    "cut short": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "one byte short": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "no bytes": lambda path: path.write_bytes(b""),
    "zeroed": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "head lost": lambda path: path.write_bytes(bytes(16) + path.read_bytes()[16:]),
    "gone": lambda path: path.unlink(),
}


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
    from tests.pipeline.oracle import folders_of

    return {folder for name, folder in folders_of(dataset).items() if name in last.recipe}
