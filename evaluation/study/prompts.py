"""The prompts of a study: a CSV file with columns name and prompt and, optionally, image and scene."""

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from base.errors import InputError

_REQUIRED, _OPTIONAL = ("name", "prompt"), ("image", "scene")


@dataclass(frozen=True)
class Prompt:
    """What raters read above a pair of videos, and the picture that they see."""

    text: str
    image: Path | None
    scene: str


def read_prompts(path: Path, names: Iterable[str]) -> dict[str, Prompt]:
    """The prompts of the videos with these names. Paths of images are relative to the file.

    A scene is by default the image, or the pair itself if it has none. InputError if columns are missing or unknown, a
    name has no prompt or two, or an image is not there.
    """
    rows = read_table(path, "--prompts", _REQUIRED, _OPTIONAL)
    found: dict[str, Prompt] = {}
    for number, row in rows:
        name, text, image = (row.get(column, "").strip() for column in ("name", "prompt", "image"))
        if not name or not text:
            raise InputError(f"--prompts {path}: line {number} has no {'prompt' if name else 'name'}. Fill it in.")
        if name in found:
            raise InputError(f"--prompts {path}: line {number} has the name {name} a second time. Remove one of them.")
        picture = path.parent / image if image else None
        if picture is not None and not picture.is_file():
            raise InputError(f"--prompts {path}: line {number}: there is no image {picture}.")
        found[name] = Prompt(text, picture, row.get("scene", "").strip() or image or name)
    if missing := [name for name in names if name not in found]:
        raise InputError(
            f"--prompts {path}: there is no prompt for {missing[0]}.mp4"
            + (f" and {len(missing) - 1} more" if len(missing) > 1 else "")
            + ". Add a line for each video."
        )
    return found


def read_table(
    path: Path, title: str, required: tuple[str, ...], optional: tuple[str, ...]
) -> list[tuple[int, dict[str, str]]]:
    """The rows of a CSV file with these columns, and the line on which each ends; empty lines are left out.

    InputError if it has other columns, or a line of another length.
    """
    try:
        reader = csv.reader(io.StringIO(path.read_text(encoding="utf-8-sig")), strict=True)
        lines = [(reader.line_num, line) for line in reader if line]
    except OSError as error:
        raise InputError(f"{title} {path} cannot be read: {error.strerror}.") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{title} {path} is not a CSV file in UTF-8: {error}.") from error
    header = [name.strip() for name in lines[0][1]] if lines else []
    known = {*required, *optional}
    if not {*required} <= {*header} <= known or len({*header}) < len(header):
        also = f" and, optionally, {', '.join(optional)}" if optional else ""
        raise InputError(
            f"{title} {path} has the columns {', '.join(header) or '(none)'}: it must have {', '.join(required)}{also}."
        )
    for number, line in lines[1:]:
        if len(line) != len(header):
            raise InputError(f"{title} {path}: line {number} has {len(line)} fields instead of {len(header)}.")
    return [(number, dict(zip(header, line, strict=True))) for number, line in lines[1:]]
