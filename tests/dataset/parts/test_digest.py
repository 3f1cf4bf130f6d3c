"""Digests of columns are of what the columns say: of every type, in any chunks, in any process."""

import itertools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from base.errors import DamagedFile
from base.storage.folder import Folder
from dataset.parts.digest import digest
from dataset.parts.part_file import encode_part, read_part

TEXT = st.text(max_size=6).filter(lambda text: "\0" not in text)
SMALL = st.integers(-100, 100)
TYPES: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "string": (pa.string(), TEXT),
    "large string": (pa.large_string(), TEXT),
    "binary": (pa.binary(), st.binary(max_size=6)),
    "null": (pa.null(), st.none()),
    "int8": (pa.int8(), SMALL),
    "int64": (pa.int64(), st.integers(-(1 << 63), (1 << 63) - 1)),
    "uint32": (pa.uint32(), st.integers(0, (1 << 32) - 1)),
    "float32": (pa.float32(), SMALL),
    "float64": (pa.float64(), SMALL),
    "bool": (pa.bool_(), st.booleans()),
    "timestamp": (pa.timestamp("us"), SMALL),
    "time": (pa.time64("us"), st.integers(0, 1000)),
    "decimal": (pa.decimal128(9, 2), st.decimals(-99, 99, places=2)),
    "dictionary": (pa.dictionary(pa.int32(), pa.string()), TEXT),
    "list": (pa.list_(pa.int32()), st.lists(SMALL | st.none(), max_size=3)),
    "list of bytes": (pa.list_(pa.large_binary()), st.lists(st.binary(max_size=3) | st.none(), max_size=3)),
    "large list": (pa.large_list(pa.string()), st.lists(TEXT, max_size=3)),
    "pairs": (pa.list_(pa.float64(), 2), st.lists(SMALL, min_size=2, max_size=2)),
    "struct": (
        pa.struct([("a", pa.int32()), ("b", pa.binary(2))]),
        st.fixed_dictionaries({"a": SMALL | st.none(), "b": st.binary(min_size=2, max_size=2)}),
    ),
}
TENSORS = {"tensor": pa.large_binary(), "version 1": pa.binary(3)}


def values_of(name: str) -> st.SearchStrategy[list[Any]]:
    return st.lists(TYPES[name][1] | st.none(), max_size=20)


def pieces(array: pa.Array, cuts: list[int]) -> pa.ChunkedArray:
    """The same values in other chunks, each a slice of something larger."""
    around = pa.concat_arrays([array, array, array])
    ends = [0, *sorted(cut % (len(array) + 1) for cut in cuts), len(array)]
    chunks = [around.slice(len(array) + a, b - a) for a, b in itertools.pairwise(ends)]
    return pa.chunked_array(chunks, array.type)


@pytest.mark.parametrize("name", TYPES)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_what_was_written_verifies_when_it_is_read(
    name: str, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    array = pa.array(data.draw(values_of(name)), TYPES[name][0])
    cuts = data.draw(st.lists(st.integers(0, 20), max_size=3))
    group = data.draw(st.integers(1, 7))
    folder = Folder(str(tmp_path_factory.getbasetemp() / f"digests {name}"))
    folder.write("a.parquet", encode_part(pa.table({"a": pieces(array, cuts)}), group))
    assert read_part(folder, "a.parquet").column("a").to_pylist() == array.to_pylist()


@pytest.mark.parametrize("name", TYPES)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_equal_values_have_one_digest_and_others_another(name: str, data: st.DataObject) -> None:
    values = data.draw(values_of(name))
    array = pa.array(values, TYPES[name][0])
    expected = digest(array)
    assert digest(pieces(array, data.draw(st.lists(st.integers(0, 20), max_size=3)))) == expected
    others = data.draw(values_of(name))
    assert (digest(pa.array(others, array.type)) == expected) == (others == values)
    if values:
        at = data.draw(st.integers(0, len(values) - 1))
        changed = [*values[:at], data.draw(TYPES[name][1] | st.none()), *values[at + 1 :]]
        assert (digest(pa.array(changed, array.type)) == expected) == (changed == values)


@pytest.mark.parametrize("kind", TENSORS.values(), ids=TENSORS)
def test_of_tensors_the_digest_tells_which_are_null_and_how_long_they_are(kind: pa.DataType) -> None:
    array = pa.array([b"abc", None, b"xyz"], kind)
    assert digest(pieces(array, [1, 2])) == digest(array)
    assert digest(pa.array([b"abc", b"xyz", None], kind)) != digest(array)


# As parts on disk hold them: these may never change.
ON_DISK: dict[str, tuple[Callable[[], pa.Array], str]] = {
    "string": (lambda: pa.array(["a", None, "", "ä€"]), "396fa543c6f99e6e"),
    "int64": (lambda: pa.array([1, None, -3], pa.int64()), "a581c495e4dacd44"),
    "uint8": (lambda: pa.array([1, None, 3], pa.uint8()), "3f201dacf16e85cb"),
    "float32": (lambda: pa.array([1.5, None, -0.0], pa.float32()), "dd94fcf645c83461"),
    "float64": (lambda: pa.array([1.5, 2.5]), "2c974db948aabc1b"),
    "bool": (lambda: pa.array([True, None, False]), "88bb230b4e5af399"),
    "tensor": (lambda: pa.array([b"abc", None, b""], pa.large_binary()), "8adf435991c0177d"),
    "fixed": (lambda: pa.array([b"abc", None, b"xyz"], pa.binary(3)), "c919ad067343fa74"),
    "null": (lambda: pa.nulls(3), "50e0128f7b0e5cb3"),
    "times of even rates": (lambda: pa.nulls(3, pa.binary()), "50e0128f7b0e5cb3"),
    "timestamp": (lambda: pa.array([1, None], pa.timestamp("us")), "d310205f68d650d9"),
}


@pytest.mark.parametrize("name", ON_DISK)
def test_digests_are_those_of_parts_on_disk(name: str) -> None:
    make, expected = ON_DISK[name]
    assert digest(make()) == expected


def test_digests_are_the_same_in_another_process() -> None:
    code = (
        "import pyarrow as pa; from dataset.parts.digest import digest; "
        "print(digest(pa.array([b'a', None, b'bc'])), digest(pa.array([['x'], None, ['y', None]])))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    here = [digest(pa.array([b"a", None, b"bc"])), digest(pa.array([["x"], None, ["y", None]]))]
    assert printed.stdout.split() == here


@pytest.mark.parametrize(
    "kind", [pa.map_(pa.string(), pa.int8()), pa.string_view(), pa.timestamp("s"), pa.date64()], ids=str
)
def test_a_type_that_could_not_be_checked_is_not_written(kind: pa.DataType) -> None:
    with pytest.raises(ValueError, match="no digest is known for|Parquet reads .* back as"):
        encode_part(pa.table({"a": pa.nulls(2, kind)}), 1)


def test_a_changed_byte_of_times_is_damage(tmp_path: Path) -> None:
    folder = Folder(str(tmp_path))
    times = np.random.default_rng(0).bytes(400)
    table = pa.table({"times": pa.array([times, None])})
    data = encode_part(table, 2, compression="none", use_dictionary=False, write_statistics=False)
    at = bytes(data).index(times)
    for place in (at - 4, at, at + 399):
        changed = bytearray(bytes(data))
        changed[place] ^= 1
        folder.write("a.parquet", bytes(changed))
        with pytest.raises(DamagedFile):
            read_part(folder, "a.parquet")
