"""``motif doctor``: this machine and its software, with a remedy for every problem."""

import json
from dataclasses import asdict, dataclass

from rich.console import Console

from infra.doctor import examine
from infra.options import parse

_SIGNS = {"good": "[green]good [/green]", "note": "[yellow]note [/yellow]", "wrong": "[red]wrong[/red]"}


@dataclass(frozen=True)
class Options:
    """Check versions, GPUs, decoders, memory, disk, S3 and Ray, and say what to fix."""

    out: str = "."
    """Where datasets will be written; its disk is checked."""
    s3: str | None = None
    """A bucket or folder, s3://..., in which a small object is written, read and deleted."""
    json: bool = False
    """Print the findings as JSON."""


def main(args: list[str]) -> int:
    """Run the command; status 2 if something must be fixed."""
    options = parse(Options, args, "motif doctor")
    console = Console(highlight=False)
    findings = []
    for finding in examine(options.out, options.s3):
        findings.append(finding)
        if not options.json:
            remedy = f"\n      -> {finding.remedy}" if finding.remedy else ""
            line = f"{_SIGNS[finding.state]} {finding.name:<24} {_plain(finding.found)}{_plain(remedy)}"
            console.print(line, soft_wrap=True)
    if options.json:
        print(json.dumps([asdict(finding) for finding in findings], indent=2))
    return 2 if any(finding.state == "wrong" for finding in findings) else 0


def _plain(text: str) -> str:
    return text.replace("[", "\\[")
