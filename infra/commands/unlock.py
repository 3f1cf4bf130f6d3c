"""``motif unlock``: release the lock of a run that ended without releasing it."""

import dataclasses

from base.storage.folder import Folder
from dataset.lock import WriteLock
from infra.options import parse, report, take_positional


@dataclasses.dataclass(frozen=True)
class Options:
    """Release the lock of a dataset, or of a training run's folder, whose writer has ended on another machine.

    The lock is watched first: a writer seen to be alive keeps it. Any other live writer stops at its next write.
    """


def main(args: list[str]) -> None:
    """Run the command."""
    place, rest = take_positional(args, "FOLDER", "motif unlock")
    parse(Options, rest, "motif unlock FOLDER")
    if not place:
        return
    holder = WriteLock(Folder(place), "folder", report).release_other()
    report(f"{place}: no run holds a lock there" if holder is None else f"{place}: released; {holder} held the lock")
