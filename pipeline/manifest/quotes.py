"""Records of CSV and TSV files, without rows that a quote nobody closed would take in silence.

A quoted field may hold line breaks, so one quote too many joins all rows up to the next quote. Such a CSV file is
refused. TSV files are often written without any quoting; there a quote that closes nowhere is a letter as others are.
"""

import csv
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence

from base.errors import InputError
from pipeline.manifest.samples import is_video

_END = "\x1cend of the manifest\x1c"
# A caption of more lines is looked upon as rows, so that one quote does not make a whole file be read ahead.
_MOST_LINES = 50
_PLACE = re.compile(r"[a-z0-9]+://\S+|\d{4,}", re.IGNORECASE)


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
        if len(held) > 1 and not _is_one(held, ",", columns or len(row)):
            raise _refusal(
                source,
                first,
                f"has a quote that is still open in the rows after it, up to line {first + len(held) - 1}",
            )
        first += len(held)
        held.clear()
        columns = columns or len(row)
        yield row


def tsv_records(lines: Iterable[str]) -> Iterator[list[str]]:
    """The records of a TSV file. What is quoted as in CSV is read so, every other quote is a letter."""
    rest = iter(lines)
    ahead: list[str] = []
    columns = 0
    while line := ahead.pop(0) if ahead else next(rest, ""):
        row = line.rstrip("\r\n").split("\t") if line.strip("\r\n") else []
        if any(field.startswith('"') for field in row):
            more = [line, *ahead]
            row = _strict([line], "\t") or _several(more, rest, columns) or row
            ahead = more[1:]
        columns = columns or len(row)
        yield row


def _several(held: list[str], rest: Iterator[str], columns: int) -> list[str] | None:
    """The record of the first lines held, of which more are read as needed, and those of it removed but one."""
    for count in range(2, _MOST_LINES + 1):
        if len(held) < count:
            held += itertools.islice(rest, 1)
        if len(held) < count:
            return None
        if '"' in held[count - 1] and (row := _strict(held[:count], "\t")) is not None:
            if len(row) != columns or not _is_one(held[:count], "\t", columns):
                return None
            del held[1:count]
            return row
    return None


def _strict(lines: Sequence[str], delimiter: str) -> list[str] | None:
    """The one record that lines are by all the rules; None where they are none, or a quote is open at the end."""
    try:
        rows = list(csv.reader(lines, delimiter=delimiter, strict=True))
    except csv.Error:
        return None
    return rows[0] if len(rows) == 1 else None


def _is_one(lines: Sequence[str], delimiter: str, columns: int) -> bool:
    """Whether several lines are one record, and not several rows with an odd quote among them.

    They are not where a quote closes within a word, nor where a later line, too, names a video in the same column.
    """
    if _strict(lines, delimiter) is None:
        return False
    rows = [[field.strip().strip('"') for field in line.split(delimiter)] for line in lines]
    whole = [row for row in rows if len(row) >= columns]
    return not any(
        _alike(one[column], other[column])
        for one, other in itertools.pairwise(whole)
        for column in range(columns if columns > 1 else 0)
    )


def _alike(one: str, other: str) -> bool:
    """Whether two values name a video, by its file, address or number."""
    return (is_video(one) and is_video(other)) or bool(_PLACE.fullmatch(one) and _PLACE.fullmatch(other))


def _refusal(source: str, line: int, what: str) -> InputError:
    return InputError(
        f"manifest '{source}': the row in line {line:,} {what}. A quote before a value needs one after it: "
        'close it, and write a quote inside a value as two ("").'
    )
