"""``motif fetch``: from the hub, public weights as folders that recipes take, or the dataset of a benchmark."""

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from base.errors import InputError, WeightsError
from base.weights import BASE_MODEL, Weights
from infra.commands.convert import write
from infra.options import parse, report, take_positional

_REPOSITORY, _CHECKPOINT = "VideoCrafter/VideoCrafter2", "model.ckpt"
_DATASET = "wang-sj16/TI2V-Bench"


@dataclass(frozen=True)
class Options:
    """Download VideoCrafter2's checkpoint from the hub and write a model folder from it."""

    out: Path = Path(BASE_MODEL)
    """The folder to write, which must be new."""


@dataclass(frozen=True)
class _MasksOptions:
    """Download SAM 2 from the hub, for the recipe motif_sam2."""

    out: Path = Path(BASE_MODEL).with_name("sam2")
    """The folder to write, which must be new."""


@dataclass(frozen=True)
class _DatasetOptions:
    """Download TI2V-Bench's images and prompts from the hub, for `motif bench ti2v`."""

    out: Path = Path("data/ti2v-bench")
    """The folder to write, which must be new."""


def main(args: list[str]) -> None:
    """Run the command."""
    kind, rest = take_positional(args, "|".join(_KINDS), "motif fetch")
    if not kind:
        lines = [f"  {name:<14} {command.__doc__}" for name, command in _KINDS.items()]
        print("\n".join(["usage: motif fetch NAME [OPTIONS]", "", *lines]))
        return
    if kind not in _KINDS:
        raise InputError(f"motif fetch {kind}: unknown model or dataset; choose from {', '.join(_KINDS)}.")
    _KINDS[kind](rest)


def _fetch_model(args: list[str]) -> None:
    """the base model of the paper, as a model folder"""  # noqa: D403
    options = parse(Options, args, "motif fetch videocrafter2")
    from models.folder import check_new  # torch, which --help does without

    check_new(options.out)  # before gigabytes are downloaded
    print(f"downloading {_CHECKPOINT} of {_REPOSITORY} ...", file=sys.stderr)
    write(_download(_REPOSITORY, _CHECKPOINT, options.out), options.out)


def _fetch_masks(args: list[str]) -> None:
    """SAM 2, for the recipe motif_sam2"""
    options = parse(_MasksOptions, args, "motif fetch sam2")
    from models.folder import check_new, new_folder
    from pipeline.motion.sam import SAM2, find

    check_new(options.out)
    print(f"downloading {SAM2} ...", file=sys.stderr)
    found = find(Weights(SAM2))
    with new_folder(options.out) as folder:
        for file in found.files:
            shutil.copyfile(file, folder / file.name)
    print(f"use it with --features.heatmaps.masks.weights.source {options.out}", file=sys.stderr)
    print(options.out)


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


def _fetch_dataset(args: list[str]) -> None:
    """TI2V-Bench, 320 pairs of an image and a prompt"""
    options = parse(_DatasetOptions, args, "motif fetch ti2v-bench")
    from evaluation.bench.dataset import Bench
    from models.folder import check_new, new_folder

    check_new(options.out)
    report(f"downloading {_DATASET} ...")
    downloaded = _download_dataset(options.out)
    with new_folder(options.out) as temporary:
        shutil.copytree(downloaded, temporary, dirs_exist_ok=True)
    bench = Bench.read(options.out)
    for deviation in bench.deviations:
        report(f"this deviates from TI2V-Bench as it was published: {deviation}")
    report(f"{len(bench.pairs)} pairs")
    print(options.out)


def _download_dataset(out: Path) -> Path:
    """The dataset in the hub's cache, where an interrupted download continues."""
    import huggingface_hub as hub
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    from models.folder import disk_errors

    with disk_errors(Path(hub.constants.HF_HUB_CACHE)):
        try:
            return Path(hub.snapshot_download(_DATASET, repo_type="dataset"))
        except (HfHubHTTPError, LocalEntryNotFoundError) as error:
            raise InputError(
                f"{_DATASET} is not on this machine and cannot be downloaded. On a machine with network access run "
                f"`hf download {_DATASET} --repo-type dataset --local-dir ti2v-bench`, copy this folder here and give "
                f"it as --data; or try the benchmark on generated pictures: `motif bench ti2v --stand-in {out}`."
            ) from error


_KINDS: dict[str, Callable[[list[str]], None]] = {
    "videocrafter2": _fetch_model,
    "sam2": _fetch_masks,
    "ti2v-bench": _fetch_dataset,
}
