"""Sets of keys against Python's own sets, with keys that agree in their first halves, too."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from base.keys import (
    KeyIndex,
    Keys,
    KeySet,
    hashes_of_texts,
    ids_of,
    keys_of,
    keys_of_column,
    keys_of_texts,
    seen_before,
)
from dataset.identity import digest, slot_id, slot_keys

# Few values, so that halves and whole keys are often equal.
PAIRS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=30)


def keys(pairs: Sequence[tuple[int, int]]) -> Keys:
    return np.array(pairs, np.uint64).reshape(-1, 2)


@given(PAIRS, PAIRS)
def test_an_index_finds_the_last_position(there: list[tuple[int, int]], asked: list[tuple[int, int]]) -> None:
    index = KeyIndex(keys(there))
    expected = {pair: position for position, pair in enumerate(there)}
    assert len(index) == len(expected)
    assert index.find(keys(asked)).tolist() == [expected.get(pair, -1) for pair in asked]
    assert set(map(tuple, index.keys.tolist())) == set(expected)


@given(st.lists(PAIRS, max_size=8), PAIRS)
def test_a_set_grows_by_what_is_added(added: list[list[tuple[int, int]]], asked: list[tuple[int, int]]) -> None:
    found = KeySet()
    expected: set[tuple[int, int]] = set()
    for pairs in added:
        found.add(keys(pairs))
        expected.update(pairs)
        assert found.has(keys(asked)).tolist() == [pair in expected for pair in asked]


@given(PAIRS)
def test_what_was_seen_before(pairs: list[tuple[int, int]]) -> None:
    assert seen_before(keys(pairs)).tolist() == [pair in pairs[:at] for at, pair in enumerate(pairs)]


IDS = st.one_of(
    st.text(max_size=8).map(digest),
    st.text(st.characters(codec="utf-8"), max_size=4),
    st.text("0123456789abcdefABCDEF \u00e9", min_size=31, max_size=33),
)


@given(st.lists(IDS, max_size=12))
def test_different_ids_have_different_keys(ids: list[str]) -> None:
    found = keys_of(ids)
    assert len({bytes(key) for key in found}) == len(set(ids))
    for one, key in zip(ids, found, strict=True):
        assert (keys_of([one])[0] == key).all(), "a key does not depend on its neighbours"


def test_the_key_of_an_id_is_its_digest() -> None:
    assert bytes(keys_of([digest("a"), digest("b")])[1]).hex() == digest("b")
    assert digest("a") in KeyIndex.of([digest("a")])
    assert digest("b") not in KeyIndex.of([digest("a")])


@given(st.lists(IDS, max_size=12), st.integers(0, 3), st.integers(0, 3))
def test_a_column_has_the_keys_of_its_ids(ids: list[str], skipped: int, chunk: int) -> None:
    """Also where it is a slice, or in chunks."""
    column = pa.array(ids, pa.string())[skipped:]
    assert (keys_of_column(column) == keys_of(ids[skipped:])).all()
    chunks = pa.chunked_array([column[:chunk], column[chunk:]])
    assert (keys_of_column(chunks) == keys_of(ids[skipped:])).all()


def test_keys_of_digests_are_turned_back_into_ids() -> None:
    ids = [digest(number) for number in range(5)]
    assert ids_of(keys_of(ids)) == ids
    assert ids_of(keys_of([])) == []


@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=4)))
def test_different_texts_have_different_keys(texts: list[str]) -> None:
    """Within a process; neither key nor hash depends on the neighbours."""
    keys, hashes = keys_of_texts(texts), hashes_of_texts(texts)
    assert keys.shape == (len(texts), 2)
    assert len({bytes(key) for key in keys}) == len(set(hashes.tolist())) == len(set(texts))
    for at, text in enumerate(texts):
        assert (keys_of_texts([text])[0] == keys[at]).all()
        assert hashes_of_texts([text])[0] == hashes[at]


TIMES = st.none() | st.floats(allow_nan=False)


SOURCE = st.text(st.characters(codec="utf-8"))
SLOT = st.tuples(SOURCE, TIMES, TIMES, st.integers(0, 9))


@given(st.lists(SLOT, max_size=6) | st.lists(st.tuples(SOURCE, st.none(), st.none(), st.integers(0, 9)), max_size=6))
def test_many_slots_have_the_ids_of_each(slots: list[tuple[str, float | None, float | None, int]]) -> None:
    columns = [list(column) for column in zip(*slots, strict=True)] or [[], [], [], []]
    found = slot_keys(*columns, "16:1:4:7")
    assert [bytes(key).hex() for key in found] == [slot_id(*slot, "16:1:4:7") for slot in slots]
