"""``motif doctor``: this machine and its software, with a remedy for whatever is wrong."""

import json
from dataclasses import asdict, dataclass

from rich.console import Console

from infra.doctor import examine
from infra.options import parse

_SIGNS = {"good": "[green]good [/green]", "note": "[yellow]note [/yellow]", "wrong": "[red]wrong[/red]"}


@dataclass(frozen=True)
class Options:
    """Check versions, GPUs, decoders, memory, disk, S3 and Ray, and say what to mend."""

    out: str = "."
    """Where datasets are to lie: its disk is checked."""
    s3: str | None = None
    """A bucket or folder, s3://..., to write, read and clear a small object in."""
    json: bool = False
    """Print the findings as JSON."""


def main(args: list[str]) -> int:
    """Run the command; status 2 where something must be mended."""
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
