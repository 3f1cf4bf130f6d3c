"""Records of CSV and TSV files; detects unclosed quotes, which would silently swallow rows.

A quoted field may hold line breaks, so a stray quote joins all rows up to the next quote. Such a file is refused.
TSV files are often written without quoting; there an unclosed quote is an ordinary character.
"""

import csv
import itertools
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence

import pyarrow as pa
import pyarrow.csv as arrow_csv

from base.errors import InputError
from pipeline.manifest.samples import is_video

_END = "\x1cend of the manifest\x1c"
_ADDRESS = re.compile(r"[a-z0-9]+://\S+", re.IGNORECASE)
_NUMBER = re.compile(r"\d{4,}")
# Some writers leave blanks between a closing quote and the end of the field.
_BLANKS = {",": re.compile(r'"[ \t]+(?=[,\r\n]|$)'), "\t": re.compile(r'" +(?=[\t\r\n]|$)')}


class CsvRecords:
    """The records of a CSV file, block by block, or one by one.

    InputError if a quote is unclosed, or seems to span further rows.
    """

    def __init__(self, lines: Iterable[str], source: str) -> None:
        self._lines = iter(lines)
        self._source = source
        self._first, self._columns = 1, 0
        """The line of the next record, and the number of columns."""

    def blocks(self, size: int) -> Iterator[pa.Table | list[list[str]]]:
        """The next records, of about ``size`` lines each time.

        A table of strings, a column for each field, where each line is one record of as many fields as the first one.
        """
        while lines := list(itertools.islice(self._lines, size)):
            table = _one_each(lines, self._columns)
            if table is None:
                yield list(self._of(lines))
            else:
                self._first += len(lines)
                self._columns = table.num_columns
                yield table

    def _of(self, lines: Sequence[str]) -> Iterator[list[str]]:
        """The records that begin in these lines; the last one may end in a later line."""
        end, rest = self._first + len(lines), self._lines
        self._lines = itertools.chain(lines, rest)
        for record in self:
            yield record
            if self._first >= end:
                break
        self._lines = rest

    def __iter__(self) -> Iterator[list[str]]:
        """The next records, one by one; not a line more is read than they have."""
        held: list[str] = []

        def fed() -> Iterator[str]:
            for line in itertools.chain(self._lines, (_END,)):
                held.append(line)
                yield line

        reader = csv.reader(fed())
        while True:
            try:
                row = next(reader)
            except csv.Error as error:
                raise _refusal(self._source, self._first, f"cannot be read ({error})") from error
            if held == [_END]:
                return
            if held[-1] is _END:
                raise _refusal(self._source, self._first, "has a quote that is still open at the end of the file")
            columns = self._columns or len(row)
            if len(held) > 1 and (_closed(held, ",") != (True, len(held)) or _took_rows(held, ",", columns)):
                raise _took(self._source, self._first, len(held))
            self._first += len(held)
            self._columns = columns
            held.clear()
            yield row


def _one_each(lines: Sequence[str], columns: int) -> pa.Table | None:
    """The records of lines; None unless each is one line of that many fields (0: as many as the first one has).

    Pyarrow reads lines as csv does, except for what is sorted out here: it skips blank lines and a mark of the byte
    order, and reads longer fields.
    """
    if lines[0].startswith("\ufeff") or max(map(len, lines)) > csv.field_size_limit():
        return None
    data = "".join([*lines, "\n"]).encode()  # so that a quote that is open at the end has a line end in its field
    try:
        names = [str(number) for number in range(columns or len(next(csv.reader(lines[:1]))))]
        table = arrow_csv.read_csv(
            pa.BufferReader(data),
            arrow_csv.ReadOptions(use_threads=False, block_size=len(data) + 1, column_names=names),
            arrow_csv.ParseOptions(newlines_in_values=True),
            arrow_csv.ConvertOptions(check_utf8=False, column_types=dict.fromkeys(names, pa.string())),
        )
    except (pa.ArrowInvalid, csv.Error, OverflowError):
        return None
    # As many records as lines: each is one line, unless the last one's quote is open.
    is_whole = table.num_rows == len(lines) and not any("\n" in field or "\r" in field for field in _last(table))
    return table if is_whole else None


def _last(table: pa.Table) -> list[str]:
    return [column[-1].as_py() for column in table.columns]


def tsv_records(lines: Iterable[str], source: str) -> Iterator[list[str]]:
    """The records of a TSV file. Fields quoted as in CSV are unquoted, any other quote is an ordinary character.

    InputError if a quoted field seems to span further rows, which is ambiguous.
    """
    ahead, first, columns, hopeless = _Ahead(lines), 1, 0, 0
    for line in ahead.heads():
        row, count = line.rstrip("\r\n").split("\t") if line.strip("\r\n") else [], 1
        if any(field.startswith('"') for field in row):
            # A quote still open at the end of this line cannot be closed if an earlier one open there could not.
            closed, read = _closed(itertools.islice(ahead.peek(), 1 if first < hopeless or not columns else None), "\t")
            if not closed:
                hopeless = max(hopeless, first + read - 1)
            elif len(quoted := next(csv.reader(ahead.peek(), delimiter="\t"))) == columns or read == 1:
                if read > 1 and _took_rows(list(itertools.islice(ahead.peek(), read)), "\t", columns):
                    raise _took(source, first, read)
                row, count = quoted, read
        ahead.drop(count)
        first += count
        columns = columns or len(row)
        yield row


class _Ahead:
    """A line iterator with lookahead; each line is read once."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._rest = iter(lines)
        self._seen: deque[str] = deque()

    def heads(self) -> Iterator[str]:
        """The current first line, until there are none."""
        while (line := next(self.peek(), None)) is not None:
            yield line

    def peek(self) -> Iterator[str]:
        """All lines from the current first one, read lazily; invalid after :meth:`drop`."""
        yield from self._seen
        for line in self._rest:
            self._seen.append(line)
            yield line

    def drop(self, count: int) -> None:
        for _ in range(count):
            self._seen.popleft()


def _closed(lines: Iterable[str], delimiter: str) -> tuple[bool, int]:
    """Whether lines begin with a correctly quoted record, and how many lines were read to find out."""
    clean = (_BLANKS[delimiter].sub('"', line) for line in lines)
    reader = csv.reader(clean, delimiter=delimiter, strict=True)
    try:
        next(reader)
    except csv.Error:
        return False, reader.line_num
    return True, reader.line_num


def _took_rows(lines: Sequence[str], delimiter: str, columns: int) -> bool:
    """Whether a later line of a record looks like a row: as many fields, and a video in the same column.

    Lines with a comma followed by a blank are taken for prose.
    """
    *whole, opened = next(csv.reader(lines[:1], delimiter=delimiter))
    first = [*whole, *opened.split(delimiter)]
    column = next((at for test in (_is_named, _is_number) for at, value in enumerate(first) if test(value)), columns)
    if columns < 2 or column >= columns:
        return False
    by_number = not _is_named(first[column])
    for line in lines[1:]:
        row = [field.strip().strip('"') for field in line.split(delimiter)]
        if len(row) != columns or (delimiter == "," and ", " in line):
            continue
        # Lines with a number and a trailing comma are a list, not rows.
        if (_is_number(row[column]) and all(row)) if by_number else _is_named(row[column]):
            return True
    return False


def _is_named(value: str) -> bool:
    """Whether a value is a video's file or address."""
    return is_video(value.strip()) or bool(_ADDRESS.fullmatch(value.strip()))


def _is_number(value: str) -> bool:
    """Whether a value may be a video's number."""
    return bool(_NUMBER.fullmatch(value.strip()))


def _took(source: str, line: int, count: int) -> InputError:
    return _refusal(source, line, f"has a quote that is still open in the rows after it, up to line {line + count - 1}")


def _refusal(source: str, line: int, what: str) -> InputError:
    return InputError(
        f"manifest '{source}': the row in line {line:,} {what}. A quote before a value needs a closing one: "
        'close it, and write a quote inside a value as two (""). '
        "If the value really spans these lines, write the manifest as JSON lines."
    )
