"""What a job runs: the sources of motif as they are here, and a user's own recipe. No data."""

import hashlib
import importlib.util
import shutil
from collections.abc import Sequence
from pathlib import Path

from base.errors import InputError

PACKAGES = ("base", "media", "diffusion", "models", "dataset", "pipeline", "training", "serving", "infra")
_ROOT = Path(__file__).parents[2]
_LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")
_MOST_BYTES = 100 << 20  # of a user's own package; more is data


def pack(folder: Path, args: Sequence[str]) -> list[str]:
    """Copy into a new ``folder`` what a command line needs; returns the command line as it runs there.

    That is motif, the package of a recipe given as ``package.module:function``, and the file of ``--config``.
    InputError if the package is not found or is too large, or the file is missing.
    """
    for name in PACKAGES:
        shutil.copytree(_ROOT / name, folder / name, ignore=_LEFT_OUT)
    packed = list(args)
    for number, arg in enumerate(args):
        if number and args[number - 1] == "--config":
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
    if found is None or found.origin is None:
        raise InputError(
            f"recipe '{name}': there is no package of this name. Install it, or add its folder to PYTHONPATH."
        )
    origin = Path(found.origin)
    if origin.name != "__init__.py":
        shutil.copy(origin, folder / origin.name)
        return
    size = sum(path.stat().st_size for path in origin.parent.rglob("*") if path.is_file())
    if size > _MOST_BYTES:
        raise InputError(f"recipe '{name}': {origin.parent} has {size >> 20} MiB. Keep data out of the package.")
    shutil.copytree(origin.parent, folder / name, ignore=_LEFT_OUT)
