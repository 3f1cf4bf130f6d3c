"""Makes a study from two folders of videos: pairs, sides, gold questions, and copies that hide the models' names."""

import shutil
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from base.errors import InputError, StorageError
from evaluation.study.prompts import Prompt, read_prompts
from evaluation.study.study import FORMAT, Gold, Pair, Rules, Study
from evaluation.study.videos import Videos, copy_without_metadata, match_videos


@dataclass(frozen=True)
class NewStudy:
    """What a study is made of."""

    a: Path
    b: Path
    prompts: Path
    out: Path
    raters: int = 5
    """Votes on each pair."""
    gold: int = 8
    """Gold questions."""
    seed: int = 0
    """Decides the sides, the order of the files and the gold questions."""
    rules: Rules = Rules()

    def __post_init__(self) -> None:
        for name, least in (("raters", 1), ("gold", 0), ("seed", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} {getattr(self, name)}: must be at least {least}")


def create_study(new: NewStudy) -> Study:
    """Write a study's folder, or nothing. The same videos, prompts and seed give the same study.

    InputError if videos, prompts or the number of gold questions do not fit together, or the folder is there already.
    """
    if new.out.exists():
        raise InputError(f"--out {new.out} exists already. Give a new folder: a study is never changed.")
    videos = match_videos(new.a, new.b)
    prompts = read_prompts(new.prompts, videos)
    generator = np.random.default_rng(new.seed)
    sides = balanced_sides(len(videos), new.raters, generator)
    files = _file_names(videos, generator)
    pictures = _image_names(prompts[name].image for name in videos)
    pairs = tuple(
        _pair(name, prompts[name], pictures, (files[found.a], files[found.b]), left)
        for (name, found), left in zip(videos.items(), sides, strict=True)
    )
    gold = choose_gold(pairs, videos, new.gold, generator)
    a, b = (new.a.name, new.b.name) if new.a.name != new.b.name else (str(new.a), str(new.b))
    study = Study(FORMAT, a, b, new.seed, new.rules, pairs, gold)
    _write(study, new.out, files, pictures)
    return study


def balanced_sides(pairs: int, raters: int, generator: np.random.Generator) -> list[str]:
    """For each pair, which model is on the left in each of its slots, such as "abbab".

    Within a pair, and over all pairs, each model is on the left as often as the other, or once more.
    """
    more = generator.permutation(np.arange(pairs) % 2)  # which model has the odd slot
    found = []
    for first in more:
        letters = ["ab"[(first + slot) % 2] for slot in range(raters)]
        found.append("".join(generator.permutation(letters)))
    return found


def choose_gold(
    pairs: tuple[Pair, ...], videos: Mapping[str, Videos], count: int, generator: np.random.Generator
) -> tuple[Gold, ...]:
    """Gold questions: the video of a pair beside one by the same model of another scene, in size and length alike.

    Its answer is known, since the other video shows something else than the image and the prompt. Both models and both
    sides get the same number of questions, or one more. InputError if there are too few pairs.
    """
    chosen: list[Gold] = []
    for at in generator.permutation(len(pairs)):
        if len(chosen) == count:
            break
        pair = pairs[at]
        others = [other for other in pairs if _does_not_fit(pair, other) and _alike(videos, pair, other)]
        if not others:
            continue
        other = others[generator.integers(len(others))]
        right_video, wrong_video = (pair.a, other.a) if len(chosen) % 2 else (pair.b, other.b)
        if len(chosen) // 2 % 2:
            chosen.append(Gold(pair.name, other.name, right_video, wrong_video, "left"))
        else:
            chosen.append(Gold(pair.name, other.name, wrong_video, right_video, "right"))
    if len(chosen) < count:
        raise InputError(
            f"--gold {count}: only {len(chosen)} pairs have another scene with videos of the same size, length "
            "and rate. Ask for fewer, or name the scenes in --prompts."
        )
    return tuple(chosen)


def _does_not_fit(pair: Pair, other: Pair) -> bool:
    same_image = pair.image == other.image != ""
    return pair.scene != other.scene and pair.prompt != other.prompt and not same_image


def _alike(videos: Mapping[str, Videos], pair: Pair, other: Pair) -> bool:
    return videos[pair.name].shape == videos[other.name].shape


def _file_names(videos: Mapping[str, Videos], generator: np.random.Generator) -> dict[Path, str]:
    """Names in random order, which tell neither the model nor the pair."""
    sources = [path for found in videos.values() for path in (found.a, found.b)]
    numbers = generator.permutation(len(sources))
    return {path: f"videos/{number + 1:05}.mp4" for path, number in zip(sources, numbers, strict=True)}


def _pair(name: str, prompt: Prompt, pictures: Mapping[Path, str], files: tuple[str, str], left: str) -> Pair:
    image = pictures[prompt.image] if prompt.image else ""
    return Pair(name, prompt.text, prompt.scene, image, *files, left)


def _image_names(images: Iterable[Path | None]) -> dict[Path, str]:
    found = dict.fromkeys(image for image in images if image is not None)
    return {image: f"images/{number:05}{image.suffix}" for number, image in enumerate(found, 1)}


def _write(study: Study, out: Path, videos: Mapping[Path, str], images: Mapping[Path, str]) -> None:
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}-") as place:
            folder = Path(place) / "study"
            for name in ("videos", "images"):
                (folder / name).mkdir(parents=True)
            for source, name in videos.items():
                copy_without_metadata(source, folder / name)
            for source, name in images.items():
                shutil.copyfile(source, folder / name)
            study.save(folder)
            folder.rename(out)
    except OSError as error:
        raise StorageError(f"--out {out} cannot be written: {error.strerror}.") from error
