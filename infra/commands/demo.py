"""``motif demo``: the whole way so far, on generated videos: sprites, preprocess, inspect."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from diffusion.errors import InputError
from diffusion.storage import Folder
from infra.commands.preprocess import finish
from infra.options import parse, say
from pipeline.job import Job
from pipeline.recipes import sprites
from pipeline.report.page import ReportOptions, write_report
from pipeline.run import Run
from pipeline.sprites.files import write_sprites
from pipeline.sprites.world import World


@dataclass(frozen=True)
class Options:
    """Generate videos, make a feature dataset of them, and show it. Run again, it does only what is missing."""

    out: Path = Path("demo")
    """Folder for all of it."""
    num: int = 24
    """How many videos."""
    seed: int = 0
    """The seed of the videos."""


def main(args: list[str]) -> None:
    """Run the command."""
    options = parse(Options, args, "motif demo")
    if options.num < 1:
        raise InputError(f"--num {options.num}: at least 1.")
    videos, dataset = options.out / "sprites", options.out / "dataset"
    say(f"1. {options.num} videos of moving sprites in {videos}")
    if not _are_there(videos, options):
        write_sprites(videos, World(), options.num, options.seed)
    say(f"2. their features in {dataset}")
    finish(Run(Job(sprites(), str(videos / "manifest.csv"), Folder(str(dataset))), say), str(dataset))
    say(f"3. a page that shows them in {dataset}")
    page = dataset / "inspect.html"
    write_report(Folder(str(dataset)), page, ReportOptions())
    say(
        f"\nLook at    {page}    in a browser: clips, and over them the heatmaps that will weight the loss.\n"
        f"Run        motif dataset stats {dataset}\n"
        f"Your own   motif preprocess laptop --manifest FOLDER_OF_VIDEOS --out DATASET\n"
    )


def _are_there(videos: Path, options: Options) -> bool:
    """Whether an earlier demo has generated the same videos."""
    try:
        made = json.loads((videos / "world.json").read_text())
    except (OSError, json.JSONDecodeError):
        return False
    wanted = {"seed": options.seed, "num": options.num, "world": asdict(World())}
    return bool(made == json.loads(json.dumps(wanted)) and (videos / "manifest.csv").is_file())
