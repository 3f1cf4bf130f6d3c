"""The work file: parts of any size, rows by number, and no part read for another's sake."""

import secrets
from pathlib import Path

import pyarrow as pa
import pytest

from base.storage.folder import Folder
from pipeline.graph.work import WorkFile, delete_leftovers, find_slots, read_rows, read_work

SCHEMA = pa.schema([("slot", pa.string()), ("part", pa.string())])
SIZE = 4
BLANK = {"slot": None, "part": None}


def part(name: str, rows: int) -> pa.Table:
    return pa.table([[f"{name}{row}" for row in range(rows)], [name] * rows], schema=SCHEMA)


def numbers(first: int, end: int) -> pa.Table:
    return pa.table({"id": range(first, end)})


@pytest.fixture
def work(tmp_path: Path) -> WorkFile:
    """Parts of 4, 2, 3 and 1 rows; all but the last are padded to four."""
    with WorkFile(Folder(str(tmp_path)), "run.clips", SCHEMA, SIZE) as file:
        for name, rows in (("a", 4), ("b", 2), ("c", 3), ("d", 1)):
            file.add(part(name, rows))
    assert (file.rows, file.clips, file.parts) == (13, 10, 4)
    return file


def test_rows_are_found_by_their_number(work: WorkFile) -> None:
    rows = [
        *part("a", 4).to_pylist(),
        *[*part("b", 2).to_pylist(), BLANK, BLANK],
        *[*part("c", 3).to_pylist(), BLANK],
        *part("d", 1).to_pylist(),
    ]
    for first in range(len(rows)):
        for end in range(first + 1, len(rows) + 1):
            assert read_rows(numbers(first, end), work.uri).to_pylist() == rows[first:end]


def test_parts_without_a_size_are_as_they_were_added(tmp_path: Path) -> None:
    with WorkFile(Folder(str(tmp_path)), "run.text", SCHEMA) as work:
        for name, rows in (("a", 1), ("b", 3)):
            work.add(part(name, rows))
    assert (work.rows, work.clips, work.parts) == (4, 4, 2)
    assert [read_work(work.uri, [number]) for number in (0, 1)] == [part("a", 1), part("b", 3)]


def test_a_part_is_read_without_the_others(tmp_path: Path) -> None:
    """So that the time of a pass grows with the number of parts and no faster."""
    words = [[secrets.token_hex(500) for _ in range(SIZE)] for _ in range(200)]
    with WorkFile(Folder(str(tmp_path)), "run.clips", SCHEMA, SIZE) as work:
        for each in words:
            work.add(pa.table([each, each], schema=SCHEMA))
    read_rows(numbers(0, SIZE), work.uri)  # opens it
    for number in (0, 150, 199):
        before = bytes_read()
        rows = read_rows(numbers(SIZE * number, SIZE * (number + 1)), work.uri)
        assert bytes_read() - before < Path(work.uri).stat().st_size / 50
        assert rows.column("slot").to_pylist() == words[number]


def bytes_read() -> int:
    """Bytes that this process has read from files so far."""
    counts = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(counts["rchar"])


def test_slots_are_found_in_all_parts(work: WorkFile) -> None:
    assert find_slots(work.uri, {"a3", "c0", "elsewhere"}).column("slot").to_pylist() == ["a3", "c0"]
    assert find_slots(work.uri, set()).num_rows == 0


def test_work_files_of_killed_runs_are_removed(work: WorkFile, tmp_path: Path) -> None:
    for name in ("run.clips.0123.work.parquet", "run.json"):  # the first is of an earlier version
        (tmp_path / name).touch()
    delete_leftovers(Folder(str(tmp_path)))
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]
