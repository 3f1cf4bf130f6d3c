"""``motif fetch``: a public checkpoint from the hub, as a model folder."""

import sys
from dataclasses import dataclass
from pathlib import Path

from base.errors import InputError, WeightsError
from base.weights import BASE_MODEL
from infra.commands.convert import write
from infra.options import parse, take_positional

_REPOSITORIES = {"videocrafter2": ("VideoCrafter/VideoCrafter2", "model.ckpt")}


@dataclass(frozen=True)
class Options:
    """Download VideoCrafter2's checkpoint from the hub and write a model folder from it."""

    out: Path = Path(BASE_MODEL)
    """The folder to write, which must be new."""


def main(args: list[str]) -> None:
    """Run the command."""
    kind, rest = take_positional(args, "videocrafter2", "motif fetch")
    options = parse(Options, rest, f"motif fetch {kind or 'videocrafter2'}")
    if kind not in _REPOSITORIES:
        raise InputError(f"motif fetch {kind}: unknown model; choose from {', '.join(_REPOSITORIES)}.")
    from models.folder import check_new  # torch, which --help does without

    check_new(options.out)  # before gigabytes are downloaded
    repository, name = _REPOSITORIES[kind]
    print(f"downloading {name} of {repository} ...", file=sys.stderr)
    write(_download(repository, name, options.out), options.out)


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
