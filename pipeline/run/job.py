"""The jobs of ``motif preprocess`` and ``motif retry``."""

from dataclasses import dataclass, field

from base.errors import InputError
from base.storage.folder import Folder
from dataset.ledger import FAILED
from dataset.rejects import read_rejects
from pipeline.manifest import ManifestColumns
from pipeline.recipes import Preprocess


@dataclass(frozen=True)
class Rejected:
    """Failures to retry: slots of clips, and by artifact the parts with failed clips."""

    slots: frozenset[str] = frozenset()
    parts: dict[str, set[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class RetryFilter:
    """Which failed clips to try again: those of a stage, of an error class, or all."""

    stage: str | None = None
    error: str | None = None

    def find(self, dataset: Folder) -> Rejected:
        """The matching failures of a dataset."""
        slots: set[str] = set()
        parts: dict[str, set[str]] = {}
        names = ["slot", "artifact", "part", "outcome", "stage", "error_class"]
        for row in read_rejects(dataset).select(names).to_pylist():
            stages = (None, row["stage"], row["stage"].split(":")[0])
            if row["outcome"] != FAILED or self.stage not in stages or self.error not in (None, row["error_class"]):
                continue
            if row["artifact"]:
                parts.setdefault(row["artifact"], set()).add(row["part"])
            else:
                slots.add(row["slot"])
        return Rejected(frozenset(slots), parts)


@dataclass(frozen=True)
class Job:
    """One run: the recipe, the manifest, the dataset, and which failures to try again."""

    recipe: Preprocess
    manifest: str
    dataset: Folder
    columns: ManifestColumns = ManifestColumns()
    limit: int | None = None
    retry: RetryFilter | None = None

    def __post_init__(self) -> None:
        """Check the limit."""
        if self.limit is not None and self.limit < 1:
            raise InputError(f"--limit {self.limit}: must be at least 1.")
