"""The sources to probe against a dict."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.planning.to_probe import SOURCE, SourcesToProbe


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from("xy"))), st.integers(1, 4))
def test_each_source_once_in_order_with_its_first_stamp(added: list[tuple[str, str]], block: int) -> None:
    found = SourcesToProbe(block)
    expected: dict[str, str] = {}
    for uri, stamp in added:
        found.add(uri, stamp)
        expected.setdefault(uri, stamp)
    assert list(found) == list(expected)
    assert len(found) == len(expected)
    assert [uri in found for uri in "abcdefg"] == [uri in expected for uri in "abcdefg"]
    rows = [row for table in found.tables() for row in table.to_pylist()]
    assert rows == [{"uri": uri, "stamp": stamp} for uri, stamp in expected.items()]
    assert all(table.schema == SOURCE for table in found.tables())
