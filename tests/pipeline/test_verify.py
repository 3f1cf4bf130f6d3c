"""`motif dataset verify`: what is damaged is told from what is whole, set aside, and computed again."""

import json
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from base.errors import InputError
from base.storage.folder import Folder
from dataset.lock import WriteLock
from dataset.parts.tables import read_parts
from infra.commands.dataset import main
from pipeline.curation.verify import verify
from pipeline.graph.tasks import end_video_worker
from pipeline.run.accounting import Account
from tests.conftest import ROOT
from tests.pipeline.conftest import SMALL
from tests.pipeline.damage import content, step
from tests.pipeline.features import Brightness
from tests.pipeline.histories import History, Life, make_library
from tests.videos import pictures, write

FOLDERS = ("clips", "brightness", "cells", "text", "sources", "rejects")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[History]:
    """A dataset of ten clips in three parts, with two artifacts, text and rejects; not to be changed."""
    place = tmp_path_factory.mktemp("verify")
    history = History(make_library(place / "library"), place / "videos", place / "d", 0)
    first = step(("brightness",))
    history.prepare(first)
    history.run(first, Life())
    history.run(step(), Life())
    yield history
    end_video_worker()


@pytest.fixture
def dataset(whole: History, tmp_path: Path) -> Path:
    """A copy that may be damaged."""
    return Path(shutil.copytree(whole.dataset, tmp_path / "d"))


def parts(dataset: Path, folder: str) -> list[Path]:
    return sorted((dataset / folder).glob("part-*"))


def test_a_whole_dataset(dataset: Path) -> None:
    found = verify(Folder(str(dataset)))
    files = [path for folder in FOLDERS for path in parts(dataset, folder)]
    assert (found.damaged, found.captions_lacking, found.set_aside, found.sealed) == ({}, {}, None, True)
    assert found.clips_lacking == {}
    assert main(["verify", str(dataset)]) == 0
    assert (found.parts, found.bytes) == (len(files), sum(path.stat().st_size for path in files))
    assert found.clips == len(content(dataset)["clips"])
    verify(Folder(str(dataset)), repair=True)
    assert not (dataset / "damaged").exists()


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_flipped_bit_is_noticed(dataset: Path, folder: str) -> None:
    draw = random.Random(folder)
    for _ in range(10):
        victim = draw.choice(parts(dataset, folder))
        before = victim.read_bytes()
        flipped = bytearray(before)
        bit = draw.randrange(8 * len(before))
        flipped[bit // 8] ^= 1 << bit % 8
        victim.write_bytes(flipped)
        assert list(verify(Folder(str(dataset))).damaged) == [str(victim)], bit
        victim.write_bytes(before)


@pytest.mark.parametrize("folder", FOLDERS)
def test_what_is_set_aside_is_computed_again(whole: History, dataset: Path, folder: str) -> None:
    before, victim = content(dataset), parts(dataset, folder)[0]
    broken = victim.read_bytes()[:-100] + bytes(100)
    victim.write_bytes(broken)
    found = verify(Folder(str(dataset)), repair=True)
    assert str(victim) in found.damaged
    assert not victim.exists()
    assert found.set_aside is not None
    assert (Path(found.set_aside) / folder / victim.name).read_bytes() == broken
    assert verify(Folder(str(dataset))).damaged == {}
    history = History(whole.library, whole.place, dataset, 0)
    account = history.run(step(), Life())
    assert account is not None
    assert account.complete
    assert content(dataset) == before
    assert verify(Folder(str(dataset))).damaged == {}


def test_parts_in_each_others_place(dataset: Path) -> None:
    first, second, *_ = parts(dataset, "brightness")
    one, other = first.read_bytes(), second.read_bytes()
    first.write_bytes(other)
    second.write_bytes(one)
    stranger = parts(dataset, "cells")[0].with_name("part-0000000000000000.parquet")
    shutil.copy(parts(dataset, "cells")[0], stranger)
    twice = parts(dataset, "clips")[0].with_name("part-ffffffffffffffff.parquet")
    shutil.copy(parts(dataset, "clips")[0], twice)
    assert set(verify(Folder(str(dataset))).damaged) == {str(path) for path in (first, second, stranger, twice)}


def test_values_that_are_not_finite(dataset: Path) -> None:
    from dataset.parts.part_file import read_part
    from dataset.parts.schema import Column, columns_of
    from dataset.parts.tables import part_options, write_part

    folder = Folder(str(dataset / "cells"))
    name = parts(dataset, "cells")[0].name
    table, options = read_part(folder, name), part_options(folder, name)
    facts = {key.decode(): value.decode() for key, value in table.schema.metadata.items()}
    field, column = next((table.schema.field(key), found) for key, found in columns_of(table.schema).items())
    assert isinstance(column, Column)
    values = column.to_numpy(table.column(column.name)).copy()
    values.reshape(-1)[0] = np.nan
    table = table.set_column(table.schema.get_field_index(column.name), field, column.to_arrow(values))
    write_part(folder, name, table, options, facts)
    (what,) = verify(Folder(str(dataset))).damaged.values()
    assert "not finite" in what


def test_captions_without_states(dataset: Path) -> None:
    for path in parts(dataset, "text"):
        path.unlink()
    found = verify(Folder(str(dataset)))
    assert found.damaged == {}
    assert found.captions_lacking["text"] > 0
    assert main(["verify", str(dataset)]) == 5


def test_an_artifact_that_lacks_parts(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is damaged, and yet training would be on fewer clips."""
    first = parts(dataset, "cells")[0]
    rows = read_parts(Folder(str(dataset / "clips")), ["clip_id"], [first.name]).num_rows
    first.unlink()
    found = verify(Folder(str(dataset)))
    assert (found.damaged, found.clips_lacking) == ({}, {"cells": rows})
    assert main(["verify", str(dataset)]) == 5
    out, err = capsys.readouterr()
    assert json.loads(out)["clips_lacking"] == {"cells": rows}
    assert f"cells lacks {rows} clips: run its `motif preprocess` again" in err
    shutil.rmtree(dataset / "cells")
    assert verify(Folder(str(dataset))).clips_lacking == {"cells": found.clips}


def test_an_artifact_that_another_recipe_has_left_behind(dataset: Path) -> None:
    """What lacks there lacks nobody: another of its kind is complete."""
    shutil.copytree(dataset / "cells", dataset / "cells-old")
    catalog = json.loads((dataset / "dataset.json").read_text())
    catalog["artifacts"]["cells-old"] = catalog["artifacts"]["cells"]
    (dataset / "dataset.json").write_text(json.dumps(catalog))
    parts(dataset, "cells-old")[0].unlink()
    found = verify(Folder(str(dataset)))
    assert (list(found.clips_lacking), found.replaced) == (["cells-old"], ("cells-old",))
    assert main(["verify", str(dataset)]) == 0
    parts(dataset, "cells")[0].unlink()
    assert main(["verify", str(dataset)]) == 5


def test_a_dataset_of_version_1() -> None:
    found = verify(Folder(str(ROOT / "tests" / "golden" / "dataset_v1")))
    assert (found.damaged, found.sealed) == ({}, False)
    assert found.clips > 0


def test_the_command(dataset: Path, capsys: pytest.CaptureFixture[str]) -> None:
    victim = parts(dataset, "cells")[0]
    victim.write_bytes(victim.read_bytes()[:-1])
    assert main(["verify", str(dataset)]) == 4
    out, err = capsys.readouterr()
    assert list(json.loads(out)["damaged"]) == [str(victim)]
    assert f"`motif dataset verify {dataset} --repair`" in err
    assert main(["verify", str(dataset), "--repair"]) == 0
    assert "run the last `motif preprocess` again" in capsys.readouterr().err
    assert main(["verify", str(dataset)]) == 5
    assert "cells lacks" in capsys.readouterr().err


def test_a_dataset_that_another_run_writes_to_is_not_repaired(dataset: Path, tmp_path: Path) -> None:
    with WriteLock(Folder(str(dataset))), pytest.raises(InputError):
        verify(Folder(str(dataset)), repair=True)
    with pytest.raises(InputError, match="is not a dataset"):
        verify(Folder(str(tmp_path)))


def test_a_video_of_a_variable_rate_is_kept_verifies_and_is_done(
    preprocess: Callable[..., Account], tmp_path: Path
) -> None:
    """Its frames' times lie in the part of sources, as bytes."""
    (tmp_path / "v").mkdir()
    frames = pictures(40, 64, 64)
    write(tmp_path / "v" / "even.mkv", frames)
    times = np.cumsum([30] * 20 + [60] * 20).tolist()
    write(tmp_path / "v" / "uneven.mkv", frames[::-1], times=times)
    for name in ("even", "uneven"):
        (tmp_path / "v" / f"{name}.txt").write_text(name)
    recipe = replace(SMALL, features={"brightness": Brightness()})
    account = preprocess(tmp_path / "v", tmp_path / "d", recipe)
    assert (account.planned, account.written, account.complete) == (2, 2, True)
    sources = read_parts(Folder(str(tmp_path / "d" / "sources")), ["variable_rate", "times"]).to_pylist()
    assert sorted((row["variable_rate"], row["times"] is not None) for row in sources) == [
        (False, False),
        (True, True),
    ]
    assert verify(Folder(str(tmp_path / "d"))).damaged == {}
    before = {path: path.read_bytes() for path in (tmp_path / "d").rglob("*.parquet")}
    assert preprocess(tmp_path / "v", tmp_path / "d", recipe).planned == 0
    assert {path: path.read_bytes() for path in (tmp_path / "d").rglob("*.parquet")} == before
