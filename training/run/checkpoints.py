"""Checkpoints of a run: everything the next step depends on, written atomically.

RUN/checkpoints/step-00001000/
model/                  model folder of the network to use (the moving average, if there is one)
training.safetensors    what is trained: weights, moments of AdamW, step counts
progress.json           step and cursor; written last, so a folder without it is incomplete
"""

import contextlib
import json
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from base.errors import Incomplete, StorageError
from base.storage.folder import Folder
from dataset.lock import Fence
from models.adapters.attach import same_on_meta
from models.card import ModelCard
from models.folder import disk_errors, write_model
from models.run_folder import CHECKPOINTS, MODEL, PROGRESS, checkpoint_names
from models.video_model import VideoModel, unwrap
from training.loop.parallel import World
from training.loop.train_loop import Progress
from training.loop.train_step import TrainState

_TRAINING = "training.safetensors"


class Checkpoints:
    """The checkpoints of a run's folder; the ``keep`` newest are kept."""

    def __init__(self, run: Folder, keep: int, fence: Fence | None = None) -> None:
        self.run = run
        self.folder = run / CHECKPOINTS
        self.keep = keep
        self.fence = fence

    def names(self) -> list[str]:
        """Complete checkpoints, oldest first."""
        return checkpoint_names(self.run)

    def latest(self) -> Progress | None:
        """The progress of the newest checkpoint, or None."""
        names = self.names()
        if not names:
            return None
        saved = json.loads((self.folder / names[-1]).read(PROGRESS))
        return Progress(saved["step"], tuple(saved["cursor"]), saved["epoch"])

    def save(self, progress: Progress, state: TrainState, card: ModelCard, world: World) -> None:
        """Write a checkpoint. All workers call it; the first one writes. StorageError on all of them if that fails,
        Incomplete if the run's lock is lost.
        """
        card = replace(card, facts=replace(card.facts, step=progress.step))
        from training.loop.state import whole_state  # takes seconds to import, and reading progress does not need it

        whole = whole_state(state)
        error: StorageError | Incomplete | None = None
        if world.first:
            try:
                self._write(progress, whole, unwrap(state.network), card)
            except (StorageError, Incomplete) as failed:
                error = failed
        error = world.share(error)
        if error is not None:
            raise error

    def _write(self, progress: Progress, state: dict[str, Tensor], network: VideoModel, card: ModelCard) -> None:
        if self.fence is not None:
            self.fence.check()
        used = "ema." if any(name.startswith("ema.") for name in state) else "network."
        weights = {name.removeprefix(used): value for name, value in state.items() if name.startswith(used)}
        place = self.folder / f"step-{progress.step:08}"
        try:
            with disk_errors(place.uri), _scratch(self.folder) as scratch:
                save_file(state, scratch / _TRAINING)
                write_model(scratch / MODEL, _holding(network, weights), card)
                place.delete_all()
                for path in sorted(path for path in scratch.rglob("*") if path.is_file()):
                    inside = path.relative_to(scratch).parent.as_posix()
                    (place if inside == "." else place / inside).put(path)
            place.write(PROGRESS, json.dumps(asdict(progress)).encode())
        except StorageError:
            with contextlib.suppress(StorageError):  # the first error says why
                place.delete_all()
            raise
        for name in self.names()[: -self.keep]:
            (self.folder / name).delete_all()

    def restore(self, progress: Progress, state: TrainState) -> None:
        """Load the checkpoint of that step, for any number of workers."""
        from training.loop.state import load_state

        place = self.folder / f"step-{progress.step:08}"
        with _local(place, _TRAINING) as path:
            try:
                with safe_open(path, framework="pt") as file:
                    saved = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
            except (SafetensorError, OSError) as error:
                raise StorageError(
                    f"{place.uri}: {_TRAINING} cannot be read ({error}). Delete this checkpoint's folder to resume "
                    "from the one before it."
                ) from error
        load_state(state, saved)


def _holding(network: VideoModel, weights: dict[str, Tensor]) -> VideoModel:
    """A network of the same architecture that holds these tensors, without a copy; with an adapter, no others."""
    copy = same_on_meta(network)
    copy.load_state_dict(weights, assign=True, strict=network.adapter is None)
    return copy


@contextlib.contextmanager
def _scratch(folder: Folder) -> Iterator[Path]:
    """A temporary folder, on the same disk as a local target."""
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
