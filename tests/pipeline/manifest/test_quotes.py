"""A quote that nobody closed takes no rows in silence."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from base.errors import InputError
from pipeline.manifest.quotes import csv_records, tsv_records
from tests.pipeline.manifest.manifests import rows

HEAD = "video,caption\na.mp4,cat\n"


@pytest.mark.parametrize(
    ("body", "line", "what"),
    [
        ('b.mp4,"unclosed dog\nc.mp4,bird\nd.mp4,fish\n', 3, "open at the end of the file"),
        ('b.mp4,"unclosed dog', 3, "open at the end of the file"),
        ('b.mp4,x\nc.mp4,"', 4, "open at the end of the file"),
        ('b.mp4,"unclosed dog\nc.mp4,"bird"\nd.mp4,fish\n', 3, "open in the rows after it, up to line 4"),
        ('b.mp4,"unclosed dog\nc.mp4,bird\nd.mp4,a screen of 12"\ne.mp4,fish\n', 3, "rows after it, up to line 5"),
        ('b.mp4,"unclosed dog\nc.mp4,one, two, 12"\n', 3, "rows after it, up to line 4"),
        ('"b.mp4,dog\nc.mp4,bird\n', 3, "open at the end of the file"),
        ('b.mp4,"dog\r\nc.mp4,bird\r\n', 3, "open at the end of the file"),
    ],
)
def test_a_quote_that_is_not_closed_is_refused(tmp_path: Path, body: str, line: int, what: str) -> None:
    path = tmp_path / "m.csv"
    path.write_bytes((HEAD + body).encode())
    with pytest.raises(InputError, match=rf"m.csv': the row in line {line} has a quote .*{what}.*close it"):
        rows(path)


def test_a_quote_that_is_open_for_megabytes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text(HEAD + 'b.mp4,"dog\n' + ("c.mp4," + "x" * 1000 + "\n") * 20_000)
    with pytest.raises(InputError, match="the row in line 3 cannot be read .*close it"):
        rows(path)


def test_a_header_whose_quote_is_not_closed(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text('video,"caption\na.mp4,cat\n')
    with pytest.raises(InputError, match="the row in line 1 has a quote"):
        rows(path)


@pytest.mark.parametrize(
    "caption",
    ["two\nlines", "a, b\nc, d\n", 'he said "yes"\nand "no"', "\n", "one.mp4\ntwo.mp4", "1234\n5678", "x" * 100_000],
)
@pytest.mark.parametrize("kind", ["csv", "tsv"])
def test_line_breaks_in_quotes_are_kept(tmp_path: Path, caption: str, kind: str) -> None:
    path = tmp_path / f"m.{kind}"
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter="\t" if kind == "tsv" else ",")
        writer.writerows([["video", "caption", "x"], ["a.mp4", caption, "y"], ["b.mp4", "after", "z"]])
    assert [row["caption"] for row in rows(path)] == [caption.strip(), "after"]


@given(st.lists(st.tuples(*[st.text('ab ,"\n\t', max_size=8)] * 2), max_size=6))
def test_what_is_written_with_quotes_is_read_or_refused(cells: list[tuple[str, str]]) -> None:
    """Nothing that a writer of CSV quotes comes out otherwise."""
    expected = [["video", "caption"], *([a, b] for a, b in cells if a or b)]
    for delimiter in ",\t":
        text = io.StringIO()
        csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows(expected)
        lines = io.StringIO(text.getvalue(), newline="")
        found = csv_records(lines, "m.csv") if delimiter == "," else tsv_records(lines)
        assert list(found) == expected


def test_quotes_in_tsv_that_quote_nothing_are_letters(tmp_path: Path) -> None:
    path = tmp_path / "m.tsv"
    path.write_text(
        'video\tcaption\na.mp4\t"hello" world\nb.mp4\t"12 inch\nc.mp4\tof 5"\nd.mp4\t"quoted"\ne.mp4\tz\nf.mp4\t"open\n'
    )
    captions = ['"hello" world', '"12 inch', 'of 5"', "quoted", "z", '"open']
    assert [row["caption"] for row in rows(path)] == captions
    assert [row["fault"] for row in rows(path)] == [None] * 6
