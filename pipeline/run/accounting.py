"""Reports of a run: the plan before it, the account after it, and its record in the dataset."""

import importlib.metadata
import platform
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from pipeline.planning.artifacts import Target
from pipeline.planning.plan import Plan

_VERSIONS = (
    "motif",
    "ray",
    "torch",
    "torchvision",
    "av",
    "decord",
    "opencv-python-headless",
    "pyarrow",
    "numpy",
)


def plan_lines(plan: Plan, targets: tuple[Target, ...], lacking: Mapping[str, int]) -> list[str]:
    """The plan as text: reused and computed clips, with reasons. ``lacking``: clips without an artifact."""
    found = f"{plan.rows:,} rows"
    if plan.beyond_limit:
        found += f", {plan.beyond_limit:,} clips beyond --limit"
    lines = [_line("manifest", found)]
    if plan.unprobed:
        lines.append(_line("sources", f"probe {len(plan.sources_to_probe):,} (new or changed)"))
    clips = [f"reuse {plan.reused:,}", f"compute {plan.to_compute:,}"]
    if plan.unprobed:
        clips.append(f"{plan.unprobed:,} more depend on the probe")
    if plan.failed_before:
        clips.append(f"{plan.failed_before:,} failed earlier (motif retry)")
    if plan.filtered_before:
        clips.append(f"{plan.filtered_before:,} filtered earlier")
    lines.append(_line("clips", ", ".join(clips)))
    for (outcome, kind), count in sorted(plan.rejected.items()):
        lines.append(_line("", f"{outcome} {count:,}: {kind}"))
    if plan.recaptioned:
        lines.append(
            _line(
                "",
                f"{plan.recaptioned:,} have a changed caption in the manifest (motif dataset recaption)",
            )
        )
    for target in targets:
        lines.append(_line(target.folder, _target_text(plan, target, lacking)))
    return lines


def _target_text(plan: Plan, target: Target, lacking: Mapping[str, int]) -> str:
    if target.artifact.kind == "text":
        text = "new captions only"
    else:
        missing = lacking.get(target.folder, 0)
        text = f"reuse {plan.reused - min(plan.reused, missing):,}, compute {plan.to_compute + missing:,}"
        text += f" and up to {plan.unprobed:,} more" if plan.unprobed else ""
    if target.reasons:
        text += f"; beside '{target.nearest}', because {'; '.join(target.reasons)}"
    return text


def _line(head: str, text: str) -> str:
    return f"{head:<18} {text}"


@dataclass
class Account:
    """The outcome of every planned slot of a run. ``failures``: "stage: class" -> clips."""

    run: str
    planned: int = 0
    reused: int = 0
    written: int = 0
    filtered: int = 0
    failed: int = 0
    artifacts_added: int = 0
    """Clips of earlier runs that got a missing artifact."""
    captions: int = 0
    seconds: float = 0.0
    stage_seconds: dict[str, float] = field(default_factory=dict)
    failures: dict[str, int] = field(default_factory=dict)
    complete: bool = False

    def lines(self) -> list[str]:
        """The account as text."""
        balance = (
            f"{self.planned:,} planned = {self.written:,} written + {self.filtered:,} filtered + {self.failed:,} failed"
        )
        lines = [_line("clips", balance)]
        lines += [_line("", f"failed {count:,}: {why}") for why, count in list(self.failures.items())[:10]]
        if self.artifacts_added:
            lines.append(_line("artifacts", f"added to {self.artifacts_added:,} clips"))
        if self.captions:
            lines.append(_line("text", f"{self.captions:,} captions"))
        rate = f" ({self.written / self.seconds:.1f} clips/s)" if self.written and self.seconds else ""
        lines.append(_line("time", f"{self.seconds:.1f} s{rate}"))
        return lines

    def record(self, more: Mapping[str, Any]) -> dict[str, Any]:
        """The run record: the account, versions, and ``more`` about the job."""
        return asdict(self) | {"versions": versions(), **more}


def versions() -> dict[str, str]:
    """Versions of software that can change values."""
    found = {"python": platform.python_version()}
    for name in _VERSIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found
