"""Records of CSV and TSV files, without rows that a quote nobody closed would take in silence.

A quoted field may hold line breaks, so one quote too many joins all rows up to the next quote. Such a file is refused.
TSV files are often written without any quoting; there a quote that closes nowhere is a letter as others are.
"""

import csv
import itertools
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence

from base.errors import InputError
from pipeline.manifest.samples import is_video

_END = "\x1cend of the manifest\x1c"
_ADDRESS = re.compile(r"[a-z0-9]+://\S+", re.IGNORECASE)
_NUMBER = re.compile(r"\d{4,}")
# Some writers leave blanks between a closing quote and what ends the field.
_BLANKS = {",": re.compile(r'"[ \t]+(?=[,\r\n]|$)'), "\t": re.compile(r'" +(?=[\t\r\n]|$)')}


def csv_records(lines: Iterable[str], source: str) -> Iterator[list[str]]:
    """The records of a CSV file; InputError at one whose quote is open at the end, or closes behind further rows."""
    held: list[str] = []

    def fed() -> Iterator[str]:
        for line in itertools.chain(lines, (_END,)):
            held.append(line)
            yield line

    reader, first, columns = csv.reader(fed()), 1, 0
    while True:
        try:
            row = next(reader)
        except csv.Error as error:
            raise _refusal(source, first, f"cannot be read ({error})") from error
        if held == [_END]:
            return
        if held[-1] is _END:
            raise _refusal(source, first, "has a quote that is still open at the end of the file")
        if len(held) > 1 and (_closed(held, ",") != (True, len(held)) or _took_rows(held, ",", columns or len(row))):
            raise _took(source, first, len(held))
        first += len(held)
        held.clear()
        columns = columns or len(row)
        yield row


def tsv_records(lines: Iterable[str], source: str) -> Iterator[list[str]]:
    """The records of a TSV file. What is quoted as in CSV is read so, every other quote is a letter.

    InputError where a quote closes as in CSV, but behind what looks like further rows: it could be read either way.
    """
    ahead, first, columns, hopeless = _Ahead(lines), 1, 0, 0
    for line in ahead.heads():
        row, count = line.rstrip("\r\n").split("\t") if line.strip("\r\n") else [], 1
        if any(field.startswith('"') for field in row):
            # A quote open at the end of this line meets the same end as one that was open there before.
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
    """Lines that can be looked at before they are dropped; each is read once."""

    def __init__(self, lines: Iterable[str]) -> None:
        self._rest = iter(lines)
        self._seen: deque[str] = deque()

    def heads(self) -> Iterator[str]:
        """The line that is now the first, until there is none."""
        while (line := next(self.peek(), None)) is not None:
            yield line

    def peek(self) -> Iterator[str]:
        """All lines from the first on, read as they are asked for; not to be used after a drop."""
        yield from self._seen
        for line in self._rest:
            self._seen.append(line)
            yield line

    def drop(self, count: int) -> None:
        for _ in range(count):
            self._seen.popleft()


def _closed(lines: Iterable[str], delimiter: str) -> tuple[bool, int]:
    """Whether lines begin with a record whose quotes close by all the rules, and how many were read to know it."""
    clean = (_BLANKS[delimiter].sub('"', line) for line in lines)
    reader = csv.reader(clean, delimiter=delimiter, strict=True)
    try:
        next(reader)
    except csv.Error:
        return False, reader.line_num
    return True, reader.line_num


def _took_rows(lines: Sequence[str], delimiter: str, columns: int) -> bool:
    """Whether a later line of a record looks like a row: it has as many fields, and names a video where the first does.

    Lines of a value are not compared with each other. A comma with a blank behind it is one of a sentence.
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
        # Numbers, one a line with a comma behind it, are a list.
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
        f"manifest '{source}': the row in line {line:,} {what}. A quote before a value needs one after it: "
        'close it, and write a quote inside a value as two (""). '
        "Where the value is meant to hold all these lines, write the manifest as JSON lines."
    )
