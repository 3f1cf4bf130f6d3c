"""What a job runs: the sources of motif as they are here, and a user's own recipe. No data."""

import hashlib
import importlib.util
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from base.errors import InputError
from base.storage.uri import is_remote

PACKAGES = ("base", "media", "diffusion", "models", "dataset", "pipeline", "training", "serving", "evaluation", "infra")
_ROOT = Path(__file__).parents[2]
_MOST_BYTES = 100 << 20  # of a package; more is data


def pack(folder: Path, args: Sequence[str]) -> list[str]:
    """Copy into a new ``folder`` what a command line needs; returns the command line as it runs there.

    That is motif, the package of a recipe given as ``package.module:function``, and the file of ``--config``.
    InputError if a package is not found or is too large, or the file is missing.
    """
    for name in PACKAGES:
        _copy_folder(_ROOT / name, folder)
    packed = list(args)
    for number, arg in enumerate(args):
        if number and args[number - 1] == "--config" and not is_remote(arg):
            packed[number] = _copy_file(Path(arg), folder)
    recipe = args[1] if len(args) > 1 and not args[1].startswith("-") else ""
    module, _, function = recipe.partition(":")
    if function and "/" not in recipe and module.split(".")[0] not in PACKAGES:
        _copy_package(module.split(".")[0], folder)
    return packed


def _copy_file(path: Path, folder: Path) -> str:
    """Returns its name there, which tells contents apart, as the name of a job is made from its command line."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"--config {path} cannot be read: {error.strerror}.") from error
    name = f"config-{hashlib.sha256(data).hexdigest()[:10]}.json"
    (folder / name).write_bytes(data)
    return name


def _copy_package(name: str, folder: Path) -> None:
    found = importlib.util.find_spec(name)
    if found is None:
        raise InputError(
            f"recipe '{name}': there is no package of this name. Install it, or add its folder to PYTHONPATH."
        )
    if found.submodule_search_locations is None and found.origin is not None:
        shutil.copy(found.origin, folder)
    for place in found.submodule_search_locations or ():  # a package without __init__.py may have several
        _copy_folder(Path(place), folder)


def _copy_folder(origin: Path, folder: Path) -> None:
    files = list(_sources(origin))
    size = sum(path.stat().st_size for path in files)
    if size > _MOST_BYTES:
        raise InputError(
            f"{origin} has {size >> 20} MiB, and is sent along with every job: at most {_MOST_BYTES >> 20}. Keep data "
            "and models in other folders."
        )
    for path in files:
        target = folder / origin.name / path.relative_to(origin)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)


def _sources(folder: Path) -> Iterator[Path]:
    """The files below a folder, except compiled and hidden ones, such as .env and .git."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or path.name == "__pycache__" or path.suffix == ".pyc":
            continue
        if path.is_dir():
            yield from _sources(path)
        elif path.is_file():
            yield path
