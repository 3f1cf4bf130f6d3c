"""Write: writes part files from a part's clips and features; returns one status row per clip."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from base.storage.folder import Folder
from dataset.ledger import FAILED, FILTERED, probe_outcome
from dataset.lock import Fence
from dataset.parts.footers import REJECTS as REJECTS_KIND
from dataset.parts.footers import digest_ids
from dataset.parts.schema import Column
from dataset.parts.tables import CLIPS, FACTS, REJECTS, StoreOptions, write_part
from dataset.rejects import reject_part
from dataset.rules import Rule
from pipeline.stages.columns import FAILURE, Failure, read_failures

STATUS = pa.schema([("part", pa.string()), ("outcome", pa.string()), *FAILURE, ("seconds", pa.float64())])
WRITTEN = "written"


@dataclass(frozen=True)
class PartWriter:
    """Writes the parts of a run.

    ``artifacts`` maps a folder to its columns and part metadata (:attr:`Artifact.label`). With ``adds_to_clips`` the
    parts of clips exist already and only artifacts are written, aligned with them: a failed clip becomes a row of
    nulls.
    """

    dataset: Folder
    clips_label: Mapping[str, str]
    artifacts: Mapping[str, tuple[tuple[Column, ...], Mapping[str, str]]]
    store: StoreOptions
    rules: tuple[Rule, ...]
    run: str
    attempts: Mapping[str, int]
    adds_to_clips: bool = False
    fence: Fence | None = None
    """The run's lock, which is checked before writing."""

    def __call__(self, table: pa.Table) -> pa.Table:
        """Write one part: artifacts first, then rejects, and last the clips, which make it valid.

        If the clips exist already, artifacts come last, so that every row of nulls has a reject.
        """
        table = table.filter(table.column("slot").is_valid())
        table = table.take(pa.array(np.argsort(table.column("row").to_numpy())))  # they come in decoding order
        (name,) = set(table.column("part").to_pylist())
        failures = read_failures(table)
        outcomes = [WRITTEN if failure is None else self._outcome(failure) for failure in failures]
        scores: list[float | None] = [None] * table.num_rows
        if not self.adds_to_clips:
            self._filter(table, failures, outcomes, scores)
        kept = np.array([outcome == WRITTEN for outcome in outcomes])
        rejects = self._rejects(name, table, failures, outcomes, scores)
        if self.fence is not None:
            self.fence.check()
        if self.adds_to_clips:
            self._add(name, table, rejects)
            return self._status(name, outcomes, failures, table)
        if kept.any():
            self._write_artifacts(name, table.filter(pa.array(kept)))
        if rejects:
            self._write_rejects(name, rejects, needs=name if kept.any() else "")
        if kept.any():
            clips = table.filter(pa.array(kept)).select(CLIPS.names).cast(CLIPS)
            write_part(self.dataset / "clips", name, clips, FACTS, dict(self.clips_label) | _ids(clips))
        return self._status(name, outcomes, failures, table)

    def _outcome(self, failure: Failure) -> str:
        """Videos that the probe filters, but an earlier version's probe did not, are filtered now."""
        decoded = failure.stage == "decode" and not self.adds_to_clips
        return probe_outcome(failure.error_class) if decoded else FAILED

    def _filter(
        self,
        table: pa.Table,
        failures: list[Failure | None],
        outcomes: list[str],
        scores: list[float | None],
    ) -> None:
        """Apply the rules to computed scores; a filtered clip records its score and the rule."""
        for rule in self.rules:
            column = next(
                (f"{name}/{rule.column}" for name in self.artifacts if f"{name}/{rule.column}" in table.column_names),
                None,
            )
            if column is None:
                continue
            for row, value in enumerate(table.column(column).to_pylist()):
                if outcomes[row] == WRITTEN and not rule.holds(value):
                    outcomes[row], scores[row] = FILTERED, value
                    failures[row] = Failure("filter", str(rule), f"{rule.column} is {value:g}")

    def _write_artifacts(self, name: str, table: pa.Table) -> None:
        for folder, (columns, label) in self.artifacts.items():
            fields = [pa.field("clip_id", pa.string()), *(column.field() for column in columns)]
            arrays = [table.column("clip_id"), *(table.column(f"{folder}/{column.name}") for column in columns)]
            part = pa.table(arrays, schema=pa.schema(fields))
            failed = np.asarray(table.column("stage").is_valid())
            if failed.any():  # a row of nulls, including the id, matches no join
                part = part.take(pa.array(np.arange(part.num_rows), mask=failed))
            write_part(self.dataset / folder, name, part, self.store, dict(label) | _ids(table))

    def _add(self, name: str, table: pa.Table, rejects: list[dict[str, Any]]) -> None:
        """Write artifacts for existing clips, and the rejects of each."""
        for folder in self.artifacts:
            if rejects:
                of_this = [row | {"artifact": folder} for row in rejects]
                self._write_rejects(reject_part(name, folder), of_this, needs=name)
        self._write_artifacts(name, table)
        for folder in self.artifacts:
            if not rejects:  # left by an earlier attempt
                (self.dataset / "rejects").delete(reject_part(name, folder))

    def _rejects(
        self,
        name: str,
        table: pa.Table,
        failures: list[Failure | None],
        outcomes: list[str],
        scores: list[float | None],
    ) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        for row, clip in enumerate(table.select(["slot", "clip_id", "uri", "caption", "seconds"]).to_pylist()):
            failure = failures[row]
            if failure is not None:
                why = {"stage": failure.stage, "error_class": failure.error_class, "message": failure.message}
                tries = self.attempts.get(clip["slot"], 0) + 1
                where = {"artifact": "", "run": self.run, "part": name}
                rows.append(clip | why | where | {"outcome": outcomes[row], "score": scores[row], "attempts": tries})
        return rows

    def _write_rejects(self, name: str, rows: list[dict[str, Any]], needs: str) -> None:
        """Replace a part of the rejects; it only counts if the part of clips ``needs`` exists."""
        table = pa.Table.from_pylist(rows, schema=REJECTS)
        write_part(self.dataset / "rejects", name, table, FACTS, {"kind": REJECTS_KIND, "clips_part": needs})

    def _status(self, name: str, outcomes: list[str], failures: list[Failure | None], table: pa.Table) -> pa.Table:
        rows = [
            {
                "part": name,
                "outcome": outcome,
                "stage": failure and failure.stage,
                "error_class": failure and failure.error_class,
                "message": failure and failure.message,
            }
            for outcome, failure in zip(outcomes, failures, strict=True)
        ]
        status = pa.Table.from_pylist(rows, schema=pa.schema([f for f in STATUS if f.name != "seconds"]))
        return status.append_column("seconds", table.column("seconds"))


def _ids(clips: pa.Table) -> dict[str, str]:
    """The digest of a part's clip ids, including failed ones, for its metadata."""
    return {"ids": digest_ids(clips.column("clip_id").to_pylist())}
