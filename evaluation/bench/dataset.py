"""The dataset: a folder of images and prompt.csv, read and held against what was published."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from base.errors import InputError
from evaluation.bench.names import Counts, scene_of, slug
from evaluation.bench.prompt_table import PICTURES, Row, read_prompt_table

_LONGEST = 200  # characters of a pair's name: files may have 255 bytes, with seed, suffix and a temporary ending
_NAMED = 3  # of many, a message has this many


@dataclass(frozen=True)
class Pair:
    """An image, a prompt, and what a video of them is called."""

    image_id: str
    prompt: str
    image: Path

    @property
    def slug(self) -> str:
        """The prompt as in the video's name."""
        return slug(self.prompt)

    @property
    def scene(self) -> str:
        """Pairs of one scene are not independent."""
        return scene_of(self.image_id)

    @property
    def name(self) -> str:
        """The name of its videos without seed and suffix."""
        return f"{self.image_id}_{self.slug}"

    def video(self, seed: int) -> str:
        """The published name of its video with a seed."""
        return f"{self.name}_{seed}.mp4"


@dataclass(frozen=True)
class Bench:
    """The pairs by name, and in which ways they are not those that were published."""

    pairs: tuple[Pair, ...]
    deviations: tuple[str, ...]

    @classmethod
    def read(cls, folder: Path) -> "Bench":
        """Of a folder; the order of prompt.csv does not matter. InputError if it cannot be used."""
        rows = read_prompt_table(folder)
        found: dict[str, Pair] = {}
        deviations = _without_image(rows)
        lines: dict[str, int] = {}
        for row in rows:
            if row.image is None:
                continue
            pair = _pair(row)
            key = pair.name.lower()
            if key in found and found[key].image != pair.image:
                raise InputError(
                    f"--data {folder}: {found[key].image} and {pair.image} would have videos of the same name. "
                    "Rename one of them, also in prompt.csv."
                )
            if key in found:
                deviations.append(f"lines {lines[key]} and {row.line} are the same pair, {pair.name}")
            found.setdefault(key, pair)
            lines.setdefault(key, row.line)
        pairs = tuple(sorted(found.values(), key=lambda pair: pair.name))
        if not pairs:
            raise InputError(f"--data {folder}: none of the images in prompt.csv is there. Copy the whole dataset.")
        return cls(pairs, (*_differences(count(pairs)), *deviations, *_unused(folder, pairs)))

    def check(self) -> None:
        """InputError if it deviates from what was published."""
        if self.deviations:
            raise InputError(
                f"--data is not TI2V-Bench as it was published: {shorten(self.deviations)}. Download it anew with "
                "`motif fetch ti2v-bench`, or accept this with --allow-deviations."
            )


def count(pairs: Sequence[Pair]) -> Counts:
    """How many pairs, images, prompts and scenes there are."""
    return Counts(
        pairs=len(pairs),
        images=len({pair.image for pair in pairs}),
        prompts=len({pair.slug for pair in pairs}),
        scenes=len({pair.scene for pair in pairs}),
    )


def shorten(texts: Iterable[str]) -> str:
    """The first few texts, and how many more there are."""
    some = list(texts)
    more = f"; and {len(some) - _NAMED} more" if len(some) > _NAMED else ""
    return "; ".join(some[:_NAMED]) + more


def _pair(row: Row) -> Pair:
    assert row.image is not None
    pair = Pair(row.image.stem, row.prompt, row.image)
    if not pair.slug:
        raise InputError(f"prompt.csv: the prompt in line {row.line}, {row.prompt}, has no letter. Correct it.")
    if len(pair.name.encode()) > _LONGEST:
        raise InputError(
            f"prompt.csv: line {row.line} makes a video's name of {len(pair.name.encode())} bytes, of which there may "
            f"be {_LONGEST}. Shorten the prompt: {row.prompt[:60]}..."
        )
    return pair


def _differences(found: Counts) -> list[str]:
    numbers, published = asdict(found), asdict(Counts())
    other = [name for name in numbers if numbers[name] != published[name]]
    return [f"{numbers[name]} {name} instead of {published[name]}" for name in other]


def _without_image(rows: Sequence[Row]) -> list[str]:
    return [f"line {row.line} names {row.said}, which is not there" for row in rows if row.image is None]


def _unused(folder: Path, pairs: Sequence[Pair]) -> list[str]:
    used = {pair.image for pair in pairs}
    there = sorted(path for path in folder.rglob("*") if path.suffix.lower() in PICTURES)
    return [f"{path} has no prompt" for path in there if path not in used]
