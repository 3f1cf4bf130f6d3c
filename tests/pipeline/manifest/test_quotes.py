"""A quote that nobody closed takes no rows in silence."""

import csv
import io
from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from base.errors import InputError
from pipeline.manifest.quotes import CsvRecords, tsv_records
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
        ('b.mp4,"unclosed dog\nc.mp4,a screen of 12"\ne.mp4,fish\n', 3, "rows after it, up to line 4"),
        ('b.mp4,"unclosed dog\ntext\nhttps://c,a screen of 12"\n', 3, "rows after it, up to line 5"),
        ('12345,"unclosed dog\n678901,bird\n23456,12"\n', 3, "rows after it, up to line 5"),
        ('b.mp4,"unclosed dog\nc.mp4,\nd.mp4,12"\n', 3, "rows after it, up to line 5"),
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


WELL_FORMED = [
    ("id,caption", '12345,"first line\n2019, a man walks"', "first line\n2019, a man walks"),
    ("video,facts", 'a.mp4,"[\n1000,\n2000,\n3000\n]"', "[\n1000,\n2000,\n3000\n]"),
    ("id,facts", '12345,"[\n1000,\n2000,\n3000\n]"', "[\n1000,\n2000,\n3000\n]"),
    ("video,caption", 'a.mp4,"continues in\nb.mp4, which"', "continues in\nb.mp4, which"),
    ("video,caption", 'a.mp4,"x\nb.mp4,one, two, 12"', "x\nb.mp4,one, two, 12"),
    ("video,caption", 'a.mp4,"cast:\nb.mp4\nc.mp4\nd.mp4"', "cast:\nb.mp4\nc.mp4\nd.mp4"),
    ("video,caption", 'a.mp4,"one\ntwo" ', "one\ntwo "),
    ("caption,video", '"one\ntwo" ,a.mp4', "one\ntwo "),
]


@pytest.mark.parametrize(("head", "row", "value"), WELL_FORMED)
@pytest.mark.parametrize("end", ["", "\n", "\r\nz.mp4,after\r\n"])
def test_a_value_of_several_lines_is_no_rows(head: str, row: str, value: str, end: str) -> None:
    found = list(CsvRecords(io.StringIO(f"{head}\n{row}{end}", newline=""), "m.csv"))
    assert value in found[1]
    assert found[2:] == ([["z.mp4", "after"]] if len(end) > 2 else [])


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
        found = iter(CsvRecords(lines, "m.csv")) if delimiter == "," else tsv_records(lines, "m.tsv")
        assert list(found) == expected


def records_of(block: pa.Table | list[list[str]]) -> Iterable[list[str]]:
    if isinstance(block, list):
        return block
    return [list(row) for row in zip(*(column.to_pylist() for column in block.columns), strict=True)]


# Few characters, so that quotes, line ends and blanks meet in every way; or any lines of two fields.
CSV = st.one_of(
    st.text('ab1 ,"\n\r./mp4\ufeff\0', max_size=60),
    st.lists(st.text('a ,"\u00e9\0', max_size=9).map(lambda row: f"{row},{row}\n"), max_size=8).map("".join),
)


@given(CSV, st.integers(1, 5))
def test_blocks_hold_the_records_that_are_read_one_by_one(text: str, size: int) -> None:
    """Or the file is refused with the same message."""

    def outcome(records: Callable[[CsvRecords], Iterable[list[str]]]) -> list[list[str]] | str:
        try:
            return list(records(CsvRecords(io.StringIO(text, newline=""), "m.csv")))
        except InputError as error:
            return str(error)

    assert outcome(lambda csv: chain.from_iterable(map(records_of, csv.blocks(size)))) == outcome(iter)


def test_quotes_in_tsv_that_quote_nothing_are_letters(tmp_path: Path) -> None:
    path = tmp_path / "m.tsv"
    path.write_text(
        'video\tcaption\na.mp4\t"hello" world\n'
        'b.mp4\t"12 inch\nc.mp4\tof 5" x\nd.mp4\t"quoted"\ne.mp4\tz\nf.mp4\t"open\n'
    )
    captions = ['"hello" world', '"12 inch', 'of 5" x', "quoted", "z", '"open']
    assert [row["caption"] for row in rows(path)] == captions
    assert [row["fault"] for row in rows(path)] == [None] * 6


@pytest.mark.parametrize(
    ("row", "value"),
    [
        ('a.mp4\t"' + "\n".join(map(str, range(200))) + '"', "\n".join(map(str, range(200)))),
        ('a.mp4\t"see\nhttps://x.org/b and more"', "see\nhttps://x.org/b and more"),
        ('a.mp4\t"one\ntwo" ', "one\ntwo "),
        ('a.mp4\t"one, ""two"" \nthree"', 'one, "two" \nthree'),
    ],
)
def test_a_quoted_value_of_many_lines_is_read_in_tsv(row: str, value: str) -> None:
    lines = io.StringIO(f"video\tcaption\n{row}\nz.mp4\tafter\n", newline="")
    assert list(tsv_records(lines, "m.tsv"))[1:] == [[row[:5], value], ["z.mp4", "after"]]


@pytest.mark.parametrize(
    ("body", "upto"),
    [
        ('12345\t"first line\n2019\ta man walks"\n', 4),
        ('a.mp4\t"first line\nhttps://x.org/b\tmore"\n', 4),
        ('a.mp4\t"12 inch\nb.mp4\tof 5"\n', 4),
        ('a.mp4\t"\nb.mp4\t"\n', 4),
        ('a.mp4\t"open\n' + "b.mp4\tdog\n" * 100 + 'c.mp4\tof 5"\n', 104),
    ],
)
def test_a_quoted_value_that_looks_like_rows_is_refused_in_tsv(tmp_path: Path, body: str, upto: int) -> None:
    path = tmp_path / "m.tsv"
    path.write_text(f"video\tcaption\nz.mp4\tcat\n{body}")
    with pytest.raises(InputError, match=rf"m.tsv': the row in line 3 has a quote .* up to line {upto}\. .*JSON lines"):
        rows(path, video="video")


class Counted:
    """Lines, of which it is known how often csv was given one."""

    def __init__(self, lines: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self.lines, self.parsed = lines, 0
        reader = csv.reader

        def counting(lines: Iterable[str], **options: object) -> object:
            return reader(map(self.count, lines), **options)

        monkeypatch.setattr(csv, "reader", counting)

    def count(self, line: str) -> str:
        self.parsed += 1
        return line


@pytest.mark.parametrize("row", ['v.mp4\t"a" caption', 'v.mp4\t"', 'v.mp4\t" a', 'v.mp4"\t"open', 'v.mp4\t""'])
@pytest.mark.parametrize("tail", ["", "v.mp4\tno quote\n" * 1000])
def test_a_line_of_tsv_is_parsed_a_few_times(row: str, tail: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where quotes are letters, none makes the rest of the file be read again for each row."""
    rows = ["v.mp4\tone\n", *[f"{row}\n"] * 2000]
    if row.endswith('\t"'):  # two of them are a quoted value
        rows = ["v.mp4\tone\n", *[f"{row}\n", 'v.mp4\t"b" c\n'] * 1000]
    counted = Counted([*rows, *tail.splitlines(keepends=True)], monkeypatch)
    found = list(tsv_records(counted.lines, "m.tsv"))
    assert len(found) == len(counted.lines)
    assert counted.parsed <= 4 * len(counted.lines)
