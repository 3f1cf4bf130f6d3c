"""Checkpoints of a run: all that the next step depends on, complete or absent.

RUN/checkpoints/step-00001000/
model/                  model folder of the network to use (the moving average, where there is one)
training.safetensors    weights, moments of AdamW, step counts
progress.json           step and cursor; written last, so a folder without it is no checkpoint
"""

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from base.errors import Incomplete, StorageError
from base.storage.folder import Folder
from dataset.lock import Fence
from models.folder import ModelCard, disk_errors, write_model
from training.loop.objective import bare
from training.loop.parallel import World
from training.loop.train_step import Trainee

if TYPE_CHECKING:  # diffusers takes many seconds to import
    from models.videocrafter2.unet import VideoUNet

_PROGRESS = "progress.json"
_TRAINING = "training.safetensors"


@dataclass(frozen=True)
class Progress:
    """Where a run stands: the next step to compute, and how many clips of each dataset were taken."""

    step: int = 0
    cursor: tuple[int, ...] = ()
    epoch: float = 0.0


class Checkpoints:
    """The checkpoints of a run's folder; the ``keep`` newest stay."""

    def __init__(self, run: Folder, keep: int, fence: Fence | None = None) -> None:
        self.folder = run / "checkpoints"
        self.keep = keep
        self.fence = fence

    def names(self) -> list[str]:
        """Complete checkpoints, oldest first."""
        return [name for name in self.folder.folders() if (self.folder / name).exists(_PROGRESS)]

    def latest(self) -> Progress | None:
        """Where the newest checkpoint stands."""
        names = self.names()
        if not names:
            return None
        told = json.loads((self.folder / names[-1]).read(_PROGRESS))
        return Progress(told["step"], tuple(told["cursor"]), told["epoch"])

    def save(self, progress: Progress, trainee: Trainee, card: ModelCard, world: World) -> None:
        """Write a checkpoint. All workers call it; the first one writes. StorageError on all of them if that fails,
        Incomplete where the run's lock is lost.
        """
        card = replace(card, facts=replace(card.facts, step=progress.step))
        from training.loop.state import training_state  # seconds to import: to see where a run stands does without

        state = training_state(trainee)
        error: StorageError | Incomplete | None = None
        if world.first:
            try:
                self._write(progress, state, bare(trainee.network).config, card)
            except (StorageError, Incomplete) as failed:
                error = failed
        error = world.share(error)
        if error is not None:
            raise error

    def _write(self, progress: Progress, state: dict[str, Tensor], config: Any, card: ModelCard) -> None:
        if self.fence is not None:
            self.fence.check()
        used = "ema." if any(name.startswith("ema.") for name in state) else "network."
        weights = {name.removeprefix(used): value for name, value in state.items() if name.startswith(used)}
        place = self.folder / f"step-{progress.step:08}"
        try:
            with disk_errors(place.uri), _scratch(self.folder) as scratch:
                save_file(state, scratch / _TRAINING)
                write_model(scratch / "model", _network(config, weights), card)
                place.delete_all()
                for path in sorted(path for path in scratch.rglob("*") if path.is_file()):
                    inside = path.relative_to(scratch).parent.as_posix()
                    (place if inside == "." else place / inside).put(path)
            place.write(_PROGRESS, json.dumps(asdict(progress)).encode())
        except StorageError:
            with contextlib.suppress(StorageError):  # the first one says why
                place.delete_all()
            raise
        for name in self.names()[: -self.keep]:
            (self.folder / name).delete_all()

    def restore(self, progress: Progress, trainee: Trainee) -> None:
        """Load the checkpoint of that step into a trainee of any world."""
        from training.loop.state import load_state

        place = self.folder / f"step-{progress.step:08}"
        with _local(place, _TRAINING) as path:
            try:
                with safe_open(path, framework="pt") as file:
                    state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
            except (SafetensorError, OSError) as error:
                raise StorageError(
                    f"{place.uri}: {_TRAINING} cannot be read ({error}). Delete this checkpoint's folder: the run then "
                    "goes on from the one before it."
                ) from error
        load_state(trainee, state)


def _network(config: Any, weights: dict[str, Tensor]) -> "VideoUNet":
    """A network that holds these very tensors."""
    from models.videocrafter2.unet import VideoUNet

    with torch.device("meta"):
        network: VideoUNet = VideoUNet.from_config(config)
    network.load_state_dict(weights, assign=True)
    return network


@contextlib.contextmanager
def _scratch(folder: Folder) -> Iterator[Path]:
    """A folder for files in the making, on the same disk where the target is local."""
    if not folder.remote:
        folder.path.mkdir(parents=True, exist_ok=True)
        for left in folder.path.glob(".saving-*"):  # by a run that was killed while it saved
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=".saving-", dir=None if folder.remote else folder.path) as name:
        yield Path(name)


@contextlib.contextmanager
def _local(place: Folder, name: str) -> Iterator[Path]:
    """A file on this machine."""
    if not place.remote:
        yield place.path / name
        return
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / name
        place.fetch(name, path)
        yield path
