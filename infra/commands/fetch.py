"""``motif fetch``: public weights from the hub, as a folder that recipes take."""

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from base.errors import InputError, WeightsError
from base.weights import BASE_MODEL, Weights
from infra.commands.convert import write
from infra.options import parse, take_positional

_VIDEOCRAFTER2 = ("VideoCrafter/VideoCrafter2", "model.ckpt")
_FOLDERS = {"videocrafter2": Path(BASE_MODEL), "sam2": Path(BASE_MODEL).with_name("sam2")}
_MODELS = "|".join(_FOLDERS)


@dataclass(frozen=True)
class Options:
    """Download from the hub: VideoCrafter2's checkpoint, as a model folder; or SAM 2, for the recipe motif_sam2."""

    out: Path | None = None
    """The folder to write, which must be new; by default weights/MODEL."""


def main(args: list[str]) -> None:
    """Run the command."""
    kind, rest = take_positional(args, _MODELS, "motif fetch")
    options = parse(Options, rest, f"motif fetch {kind or _MODELS}")
    if kind not in _FOLDERS:
        raise InputError(f"motif fetch {kind}: unknown model; choose from {', '.join(_FOLDERS)}.")
    from models.folder import check_new  # torch, which --help does without

    out = options.out or _FOLDERS[kind]
    check_new(out)  # before gigabytes are downloaded
    if kind == "sam2":
        _fetch_sam2(out)
        return
    repository, name = _VIDEOCRAFTER2
    print(f"downloading {name} of {repository} ...", file=sys.stderr)
    write(_download(repository, name, out), out)


def _fetch_sam2(out: Path) -> None:
    """Copy the files that the recipe needs, and print the folder."""
    from models.folder import new_folder
    from pipeline.motion.sam import SAM2, find

    print(f"downloading {SAM2} ...", file=sys.stderr)
    found = find(Weights(SAM2))
    with new_folder(out) as folder:
        for file in found.files:
            shutil.copyfile(file, folder / file.name)
    print(f"use it with --features.heatmaps.masks.weights.source {out}", file=sys.stderr)
    print(out)


def _download(repository: str, name: str, out: Path) -> Path:
    import huggingface_hub as hub
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    from models.folder import disk_errors

    with disk_errors(Path(hub.constants.HF_HUB_CACHE)):
        try:
            return Path(hub.hf_hub_download(repository, name))
        except (HfHubHTTPError, LocalEntryNotFoundError) as error:
            raise WeightsError(
                f"{name} of {repository} is not on this machine and cannot be downloaded. On a machine with network "
                f"access run `hf download {repository} {name} --local-dir .`, copy {name} here and run "
                f"`motif convert videocrafter2 {name} {out}`."
            ) from error
