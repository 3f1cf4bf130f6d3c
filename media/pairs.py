"""Pairs of an image and a prompt, or prompts alone, from a CSV file or from a folder with a text file for each."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

from base.errors import InputError

_PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".mp4")


@dataclass(frozen=True)
class Pair:
    """A picture file (or a video, for its first frame), if any, its prompt, and optionally its own seed."""

    image: Path | None
    prompt: str
    seed: int | None = None


def read_pairs(place: Path, *, images: bool = True) -> list[Pair]:
    """The pairs of a folder, sorted by name, or of a CSV file with columns image and prompt and, optionally, seed.

    In a folder, ``name.txt`` belongs to ``name.png``, .jpg, .jpeg, .webp or .mp4; paths in a CSV file are relative to
    it. Images are not opened. InputError if a file has no partner. Without ``images`` there may be prompts alone: text
    files without pictures, a CSV file without the column image.
    """
    return _in_folder(place, images) if place.is_dir() else _in_table(place, images)


def _in_folder(folder: Path, images: bool) -> list[Pair]:
    pictures: dict[str, Path] = {}
    texts: dict[str, Path] = {}
    for path in sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")):
        suffix = path.suffix.lower()
        if suffix in _PICTURES:
            if path.stem in pictures:
                raise InputError(
                    f"--pairs {folder}: {pictures[path.stem].name} and {path.name} share one text. Rename one of them, "
                    "and give it its own text."
                )
            pictures[path.stem] = path
        elif suffix == ".txt":
            texts[path.stem] = path
    if images and not pictures:
        raise InputError(
            f"--pairs {folder}: there is no picture. Put name.txt next to each name.png, .jpg, .webp or .mp4."
        )
    if not pictures and not texts:
        raise InputError(f"--pairs {folder}: there is no prompt. Put each into a file name.txt.")
    if pictures and (lonely := sorted(pictures.keys() ^ texts.keys())):
        name = lonely[0]
        wanted = f"{name}.txt with its prompt" if name in pictures else f"a picture named {name}"
        raise InputError(
            f"--pairs {folder}: {(pictures.get(name) or texts[name]).name} has no partner. Add {wanted}, or "
            "remove it from the folder."
        )
    return [Pair(pictures.get(stem), _read(path, folder).strip()) for stem, path in sorted(texts.items())]


def _in_table(path: Path, images: bool) -> list[Pair]:
    try:
        rows = list(csv.DictReader(io.StringIO(_read(path, path))))
    except csv.Error as error:
        raise InputError(f"--pairs {path} is not a readable CSV file: {error}.") from error
    columns = ("image", "prompt") if images else ("prompt",)
    if not rows or not {*columns} <= rows[0].keys():
        named = f"columns {' and '.join(columns)}" if images else "column prompt"
        raise InputError(f"--pairs {path}: it must have the {named}, and at least one row.")
    found = []
    for number, row in enumerate(rows, 1):
        if images and not row["image"]:
            raise InputError(f"--pairs {path}: row {number} has no image. Fill in its column image.")
        try:
            seed = int(row["seed"]) if row.get("seed") else None
        except ValueError as error:
            raise InputError(f"--pairs {path}: a seed is not a whole number ({error}).") from error
        image = path.parent / row["image"] if row.get("image") else None
        found.append(Pair(image, row["prompt"] or "", seed))
    return found


def _read(path: Path, named: Path) -> str:
    """A text file, with or without a byte order mark."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"--pairs {named}: {path.name} is not UTF-8 text. Save it as UTF-8.") from error
    except OSError as error:
        raise InputError(f"--pairs {named} cannot be read: {error}.") from error
