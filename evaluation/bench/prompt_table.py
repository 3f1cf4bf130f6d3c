"""Reads prompt.csv, whose headers are not documented: the columns are found by their values."""

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from base.errors import InputError

FILE = "prompt.csv"
PICTURES = (".png", ".jpg", ".jpeg", ".webp")
_DELIMITERS = ",;\t|"
_NO_PATH = re.compile(r"[;|\t\n]")  # of several fields, read with a wrong delimiter
_IMAGE_TITLES = ("image", "image_path", "image path", "img", "img_path", "path", "file", "file_name", "filename")
_PROMPT_TITLES = ("prompt", "prompts", "text", "caption", "text_prompt", "text prompt")


@dataclass(frozen=True)
class Row:
    """A line of the table. ``image`` is None if the file that ``said`` names is not there."""

    line: int
    said: str
    image: Path | None
    prompt: str


@dataclass(frozen=True)
class _Table:
    """All lines as they stand, with their numbers, and which column says the images of how many lines."""

    lines: Sequence[tuple[int, Sequence[str]]]
    columns: Mapping[int, int]

    @property
    def plausible(self) -> tuple[int, int, int]:
        """The larger, the more likely this is the right delimiter: images, lines of one length, columns."""
        widths = [len(line) for _, line in self.lines]
        return (
            max(self.columns.values(), default=0),
            sum(width == widths[0] for width in widths),
            max(widths, default=0),
        )


def read_prompt_table(folder: Path) -> list[Row]:
    """The rows of a dataset's prompt.csv, in the folder or in one of its folders.

    Any delimiter of ``, ; tab |``, with or without a byte order mark, a line of headers, further columns. Images are
    found by the end of the path that the table says, whatever folder it begins with, Windows' separators included.
    InputError if the table is missing or unreadable, or it does not show which columns have the images and prompts.
    """
    path = _find(folder)
    pictures = _index(folder, path.parent)
    if not pictures:
        raise InputError(f"--data {folder}: there are no pictures beside {path}. Copy the whole dataset.")
    table = _parse(path, pictures)
    image = _image_column(table, path, pictures)
    first, *rest = table.lines
    titled = not first[1][image].strip().lower().endswith(PICTURES)
    titles = first[1] if titled else []
    lines = rest if titled else table.lines
    prompt = _prompt_column(lines, image, titles, path)
    rows = [
        Row(number, line[image].strip(), find_picture(line[image], pictures), " ".join(line[prompt].split()))
        for number, line in lines
    ]
    if lacking := next((row for row in rows if not row.prompt or not row.said), None):
        raise InputError(f"{path}: line {lacking.line} has no {'image' if lacking.prompt else 'prompt'}. Fill it in.")
    return rows


def find_picture(said: str, pictures: Mapping[str, Path]) -> Path | None:
    """The picture whose path ends as a table says it; None if there is none.

    ``pictures`` are by their relative path in lower case, with ``/``.
    """
    if _NO_PATH.search(said.strip()):
        return None
    parts = [part for part in re.split(r"[\\/]+", said.strip().strip("'\"").lower()) if part not in ("", ".")]
    ends = ("/".join(parts[first:]) for first in range(len(parts)))
    return next((pictures[end] for end in ends if end in pictures), None)


def _find(folder: Path) -> Path:
    if not folder.is_dir():
        raise InputError(
            f"--data {folder}: there is no such folder. Download the dataset with `motif fetch ti2v-bench`, or "
            f"write one of the same shape with `motif bench ti2v --stand-in {folder}`."
        )
    found = sorted(path for kind in ("*.csv", "*/*.csv") for path in folder.glob(kind) if path.name.lower() == FILE)
    if len(found) != 1:
        there = f"both {found[0]} and {found[1]}" if found else f"no {FILE}"
        raise InputError(f"--data {folder} has {there}. Give the folder of TI2V-Bench, with its images and one {FILE}.")
    return found[0]


def _index(folder: Path, beside: Path) -> dict[str, Path]:
    """The pictures of a folder by their path in it or beside the table, and by name alone where that is unique."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURES and path.is_file())
    names = Counter(path.name.lower() for path in paths)
    found = {path.name.lower(): path for path in paths if names[path.name.lower()] == 1}
    for root in (folder, beside):
        found |= {path.relative_to(root).as_posix().lower(): path for path in paths if path.is_relative_to(root)}
    return found


def _parse(path: Path, pictures: Mapping[str, Path]) -> _Table:
    """The table with the delimiter that shows the most images."""
    text, faults, best = _read(path), [], _Table((), {})
    for delimiter in _DELIMITERS:
        try:
            reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
            lines = [(reader.line_num, line) for line in reader if any(cell.strip() for cell in line)]
        except csv.Error as error:
            faults.append(str(error))
            continue
        found = _Table(lines, _count_images(lines, pictures))
        best = max(best, found, key=lambda table: table.plausible)
    if not best.columns:
        why = f"it is not a readable CSV file ({faults[0]})" if faults else "no column names images that are there"
        raise InputError(f"{path}: {why}. It needs a column with the images' paths and one with prompts.")
    return _Table(_even(best.lines, path), best.columns)


def _read(path: Path) -> str:
    try:
        data = path.read_bytes()
        utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        text = data.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 text. Save it as UTF-8.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    if "\0" in text:
        raise InputError(f"{path} has a zero byte and is not text. Save it as a CSV file in UTF-8.")
    return text


def _count_images(lines: Sequence[tuple[int, Sequence[str]]], pictures: Mapping[str, Path]) -> dict[int, int]:
    """Of each column that has any, how many images it names that are there."""
    width = max((len(line) for _, line in lines), default=0)
    counts = {
        column: sum(len(line) > column and find_picture(line[column], pictures) is not None for _, line in lines)
        for column in range(width)
    }
    return {column: count for column, count in counts.items() if count}


def _even(lines: Sequence[tuple[int, Sequence[str]]], path: Path) -> list[tuple[int, Sequence[str]]]:
    """Lines of the first one's length, from which empty cells at the end may be missing or added."""
    width = len(lines[0][1])
    for number, line in lines:
        if any(cell.strip() for cell in line[width:]):
            raise InputError(
                f"{path}: line {number} has {len(line)} fields instead of {width}. Put quotes around prompts that "
                "contain the delimiter."
            )
    return [(number, [*line[:width], *[""] * (width - len(line))]) for number, line in lines]


def _image_column(table: _Table, path: Path, pictures: Mapping[str, Path]) -> int:
    most = max(table.columns.values())
    best = [column for column, count in table.columns.items() if count == most]
    seen = {tuple(find_picture(line[column], pictures) for _, line in table.lines) for column in best}
    if len(seen) > 1:
        named = _titled(table.lines[0][1], best, _IMAGE_TITLES)
        if named is None:
            raise InputError(f"{path}: {_columns(best)} all name images. Call the one to use `image`.")
        return named
    return best[0]


def _prompt_column(lines: Sequence[tuple[int, Sequence[str]]], image: int, titles: Sequence[str], path: Path) -> int:
    """The column called so, or else the one with the most different sentences."""
    others = [column for column in range(len(lines[0][1]) if lines else 0) if column != image]
    named = _titled(titles, others, _PROMPT_TITLES)
    if named is not None:
        return named
    sentences = {column: _sentences([line[column] for _, line in lines]) for column in others}
    most = max(sentences.values(), default=0)
    best = [column for column in others if sentences[column] == most]
    if not most or len(best) > 1:
        found = f"{_columns(best)} may all be the prompts" if most else "no column has sentences"
        raise InputError(f"{path}: {found}. Call the column with the prompts `prompt`.")
    return best[0]


def _sentences(cells: Sequence[str]) -> int:
    """How many different texts of several words a column has; 0 if most of it is something else."""
    texts = [cell for cell in cells if len(cell.split()) > 1]
    return len({*texts}) if 2 * len(texts) > len(cells) else 0


def _titled(titles: Sequence[str], columns: Sequence[int], wanted: Sequence[str]) -> int | None:
    """The column with the first of the wanted titles that there is."""
    by_title = {titles[column].strip().lower(): column for column in reversed(columns) if column < len(titles)}
    return next((by_title[title] for title in wanted if title in by_title), None)


def _columns(numbers: Sequence[int]) -> str:
    return f"columns {' and '.join(str(number + 1) for number in numbers)}"
