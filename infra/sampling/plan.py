"""The videos that ``motif sample`` makes, and where they go."""

from dataclasses import dataclass
from pathlib import Path

from base.errors import InputError
from base.storage.folder import Folder
from infra.sampling.options import FORMATS, NO_IMAGE, Options
from media.pairs import Pair, read_pairs
from media.picture import read_image
from models.find import Candidate
from models.misfits import superfluous_image, superfluous_level

_SEEDS = 2**63  # torch generators accept no larger ones


@dataclass(frozen=True)
class Video:
    """A video to write: its file name, image (None for a text-to-video model), prompt and seed."""

    name: str
    image: Path | None
    prompt: str
    seed: int


def plan(options: Options, model: Candidate) -> tuple[Folder, list[Video]]:
    """Where to write which videos; reads every image once, so that errors show before sampling.

    InputError if images are missing, or the model takes none; or if it takes no motion level.
    """
    if options.motion_level is not None and not model.takes_motion_level():
        raise InputError(superfluous_level(model.name))
    pairs = _pairs(options, model)
    first = [(pair, options.seed if pair.seed is None else pair.seed) for pair in pairs]
    for seed in {seed for _, seed in first}:
        if not 0 <= seed <= _SEEDS - options.num:
            raise InputError(f"seed {seed}: must be from 0 to {_SEEDS - options.num}.")
    for image in dict.fromkeys(pair.image for pair in pairs if pair.image):
        read_image(image)
    wanted = [(pair, seed + more) for pair, seed in first for more in range(options.num)]
    target, names = Folder(options.out), [f"{number:04}.mp4" for number in range(len(wanted))]
    if Path(options.out).suffix.lower() in FORMATS:
        if len(wanted) > 1:
            raise InputError(f"--out {options.out}: {len(wanted)} videos will be written; give a folder.")
        target, name = split(options.out)
        names = [name]
    elif not target.remote and target.path.is_file():
        raise InputError(f"--out {options.out}: this is a file. Give an .mp4 or .gif file, or a folder.")
    return target, [Video(n, pair.image, pair.prompt, seed) for n, (pair, seed) in zip(names, wanted, strict=True)]


def _pairs(options: Options, model: Candidate) -> list[Pair]:
    takes_image = model.takes_image()
    if options.pairs:
        pairs = read_pairs(options.pairs, images=takes_image)
    elif options.image or not takes_image:
        pairs = [Pair(options.image, options.prompt or "")]
    else:
        raise InputError(f"{NO_IMAGE}.")
    if not takes_image and any(pair.image for pair in pairs):
        raise InputError(superfluous_image(model.name))
    return pairs


def split(place: str) -> tuple[Folder, str]:
    """The folder and name of a file; InputError if the path is a folder."""
    folder, slash, name = place.rpartition("/")
    if not Folder(place).remote and Folder(place).path.is_dir():
        raise InputError(f"{place} is a folder: give the name of a file in it.")
    return Folder(folder or slash or "."), name
