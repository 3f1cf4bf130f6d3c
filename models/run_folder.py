"""Where a training run leaves its models: its folder, as far as those must know it who look for a model."""

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
    """Complete checkpoints, oldest first: those with a progress, which is written last."""
    folder = run / CHECKPOINTS
    return [name for name in folder.folders() if (folder / name).exists(PROGRESS)]


def read_description(run: Folder) -> dict[str, Any]:
    """What a run wrote beside its output: its resolved ``config`` and its ``data``. InputError where it is no run."""
    if not run.exists(CONFIG):
        raise InputError(f"{run.uri}: there is no run, no {CONFIG}. Name the folder given to `motif train --out`.")
    try:
        described = json.loads(run.read(CONFIG))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise InputError(
            f"{run.file(CONFIG)} is not readable JSON ({error}): restore it, or name another run."
        ) from error
    if not isinstance(described, dict) or not {"config", "data"} <= described.keys():
        raise InputError(f"{run.file(CONFIG)} is not what `motif train` writes: name the folder given to its --out.")
    return dict(with_names(described))
