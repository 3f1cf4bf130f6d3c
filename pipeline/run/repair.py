"""Repairs damage in a run: reports it, moves damaged files away, and lets the plan recompute them."""

from collections.abc import Callable

from base.errors import DamagedFile
from base.storage.folder import Folder
from dataset.catalog import FILE
from dataset.survey import DAMAGED, Damage, find_damage, find_orphans, set_aside
from pipeline.planning.artifacts import Targets

_AGAIN = {
    "clips": "their clips are planned again",
    "sources": "their videos are probed again",
    "rejects": "what they reject is tried again",
    "text": "their captions are encoded again",
}


class Repair:
    """The damage of a dataset at the start of a run."""

    def __init__(self, dataset: Folder, targets: Targets, run: str) -> None:
        self.dataset = dataset
        self.targets = targets
        self.run = run
        self.damage: Damage = {}

    def survey(self) -> None:
        """Find the current damage."""
        self.damage = find_damage(self.dataset, self.targets.catalog)

    def note(self, error: DamagedFile) -> None:
        """Add a part that the plan found broken on reading; raises the error again if it is not such a part."""
        folder, _, name = error.uri.removeprefix(f"{self.dataset.uri.rstrip('/')}/").partition("/")
        if folder not in ("clips", "sources", "rejects") or name in self.damage.get(folder, {}):
            raise error
        self.damage.setdefault(folder, {})[name] = error

    def lines(self) -> list[str]:
        """Lines about the damage and its consequences, for the plan."""
        found = []
        if self.targets.recovered:
            found.append(_line("dataset.json", "missing or broken: rebuilt from the parts"))
        for folder, parts in self.damage.items():
            first = next(iter(parts.items()))
            count = "1 part is" if len(parts) == 1 else f"{len(parts):,} parts are"
            why = f"{first[0]}: {first[1].what}"
            found.append(_line(folder, f"{count} damaged ({why}): {self._consequence(folder)}"))
        if self.damage:
            found.append(_line("", f"damaged files are kept in {self.dataset.file(DAMAGED)}"))
        return found

    def _consequence(self, folder: str) -> str:
        ours = {target.folder: target for target in (*self.targets.clips, *self.targets.text)}
        if folder in ours:
            return _AGAIN["text"] if ours[folder].artifact.kind == "text" else "they are computed again"
        return _AGAIN.get(folder, "this recipe does not compute them; run the recipe that made them")

    def set_aside(self) -> None:
        """Move damaged files and a broken dataset.json to the folder of damaged files."""
        if self.targets.recovered and self.dataset.exists(FILE):
            set_aside(self.dataset, "", FILE, self.run)
        for folder, parts in self.damage.items():
            for name in parts:
                set_aside(self.dataset, folder, name, self.run)
        self.damage = {}

    def finish(self, report: Callable[[str], None]) -> list[str]:
        """After the passes: move parts without clips away; returns messages about remaining damage of this run."""
        for folder, name in find_orphans(self.dataset, self.targets.catalog):
            set_aside(self.dataset, folder, name, self.run)
        self.survey()
        ours = {target.folder for target in (*self.targets.clips, *self.targets.text)} | {"clips", "sources", "rejects"}
        wrong = [str(error) for folder in ours & self.damage.keys() for error in self.damage[folder].values()]
        for folder in self.damage.keys() - ours:  # left by a killed run with other failures
            report(
                _line(folder, f"{len(self.damage[folder]):,} parts do not fit their clips: {self._consequence(folder)}")
            )
            for name in self.damage[folder]:
                set_aside(self.dataset, folder, name, self.run)
        return wrong


def _line(head: str, text: str) -> str:
    return f"{head:<18} {text}"
