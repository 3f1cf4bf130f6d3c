"""What a run does about damage: it says what is damaged, sets it aside, and lets the plan compute it again."""

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
    """The damage of a dataset at the start of a run, and where its files go."""

    def __init__(self, dataset: Folder, targets: Targets, run: str) -> None:
        self.dataset = dataset
        self.targets = targets
        self.run = run
        self.damage: Damage = {}

    def survey(self) -> None:
        """Find what is damaged now."""
        self.damage = find_damage(self.dataset, self.targets.catalog)

    def note(self, error: DamagedFile) -> None:
        """Add a part whose pages turned out to be broken when the plan read them; raises it where it is none."""
        folder, _, name = error.uri.removeprefix(f"{self.dataset.uri.rstrip('/')}/").partition("/")
        if folder not in ("clips", "sources", "rejects") or name in self.damage.get(folder, {}):
            raise error
        self.damage.setdefault(folder, {})[name] = error

    def lines(self) -> list[str]:
        """What is damaged and what becomes of it, for the plan."""
        found = []
        if self.targets.recovered:
            found.append(_line("dataset.json", "missing or broken: made again from what the parts say"))
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
        return _AGAIN.get(folder, "this recipe does not compute them; run the one that made them")

    def set_aside(self) -> None:
        """Move the damaged files, and a broken dataset.json, to where they are kept and do not count."""
        if self.targets.recovered and self.dataset.exists(FILE):
            set_aside(self.dataset, "", FILE, self.run)
        for folder, parts in self.damage.items():
            for name in parts:
                set_aside(self.dataset, folder, name, self.run)
        self.damage = {}

    def finish(self, report: Callable[[str], None]) -> list[str]:
        """After the passes: set aside what has no clips beside it; returns what of this run is damaged all the same."""
        for folder, name in find_orphans(self.dataset, self.targets.catalog):
            set_aside(self.dataset, folder, name, self.run)
        self.survey()
        ours = {target.folder for target in (*self.targets.clips, *self.targets.text)} | {"clips", "sources", "rejects"}
        wrong = [str(error) for folder in ours & self.damage.keys() for error in self.damage[folder].values()]
        for folder in self.damage.keys() - ours:  # left by a killed run whose failures were others
            report(
                _line(folder, f"{len(self.damage[folder]):,} parts do not fit their clips: {self._consequence(folder)}")
            )
            for name in self.damage[folder]:
                set_aside(self.dataset, folder, name, self.run)
        return wrong


def _line(head: str, text: str) -> str:
    return f"{head:<18} {text}"
