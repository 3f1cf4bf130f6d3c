from hypothesis import given
from hypothesis import strategies as st

from dataset.identity import clip_id, differences, digest, fingerprint, part_name, slot_id, text_id


def test_ids_are_stable() -> None:
    """These names are on disk in every dataset: a change here orphans them all."""
    assert clip_id("abc", 3, 2, 16) == "663f3b701e10bc307e5f5763f5b02895"
    assert text_id("the red circle moves left") == "e7bf2018966fd9dc685d07a2845f0fc2"
    assert slot_id("abc", None, 1.5, 0, "k") == "57f8ef821f921c71bbd51595f9a2aef1"
    assert fingerprint({"a": 1}) == "015abd7f5cc57a2d"
    assert part_name("f", ["a", "b"]) == "part-c6422aad4b5666fd.parquet"


def test_fields_do_not_run_into_each_other() -> None:
    assert digest("ab", "c") != digest("a", "bc")
    assert slot_id("x", None, None, 0, "s") != slot_id("x", None, None, 1, "s")


def test_fingerprints_ignore_order_and_see_every_field() -> None:
    assert fingerprint({"a": 1, "b": {"c": 2}}) == fingerprint({"b": {"c": 2}, "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 2})


def test_parts_are_named_by_what_they_hold() -> None:
    assert part_name("f", ["a", "b"]) == part_name("f", ["a", "b"]) != part_name("f", ["b", "a"])


def test_differences_name_the_field() -> None:
    old = {"vae": {"revision": "a", "dtype": "fp16"}, "gone": 1}
    new = {"vae": {"revision": "b", "dtype": "fp16"}, "here": 2}
    assert differences(old, new) == ["gone: 1 -> (not there)", "here: (not there) -> 2", "vae.revision: a -> b"]
    assert differences(old, old) == []


@given(st.text(), st.integers(0, 1 << 40), st.integers(1, 1000))
def test_ids_are_digests_of_their_fields(text: str, first: int, stride: int) -> None:
    assert clip_id(text, first, stride, 16) == digest("clip", text, first, stride, 16)
    assert text_id(text) == digest("text", text)
