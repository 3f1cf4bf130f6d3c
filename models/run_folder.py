"""The layout of a training run's folder, as needed for finding models."""

import json
from typing import Any

from base.errors import InputError
from base.storage.folder import Folder
from base.stored_types import with_names

CONFIG = "config.json"
CHECKPOINTS = "checkpoints"
PROGRESS = "progress.json"
MODEL = "model"


def checkpoint_names(run: Folder) -> list[str]:
    """Complete checkpoints, oldest first: those with progress.json, which is written last."""
    folder = run / CHECKPOINTS
    return [name for name in folder.folders() if (folder / name).exists(PROGRESS)]


def read_description(run: Folder) -> dict[str, Any]:
    """A run's resolved ``config`` and its ``data``. InputError if the folder is not a run."""
    if not run.exists(CONFIG):
        raise InputError(f"{run.uri}: not a run, it has no {CONFIG}. Give the folder of `motif train --out`.")
    try:
        described = json.loads(run.read(CONFIG))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(
            f"{run.file(CONFIG)} is not readable JSON ({error}): restore it, or give another run."
        ) from error
    if not isinstance(described, dict) or not {"config", "data"} <= described.keys():
        raise InputError(f"{run.file(CONFIG)} was not written by `motif train`: give the folder of its --out.")
    return dict(with_names(described))
