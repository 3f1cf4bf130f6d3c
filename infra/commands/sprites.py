"""``motif sprites``: generated videos with known motion."""

from dataclasses import dataclass
from pathlib import Path

from base.errors import InputError
from infra.options import parse
from pipeline.sprites.files import write_sprites
from pipeline.sprites.world import KINDS, MotionKind, World


@dataclass(frozen=True)
class Options:
    """Generate moving-sprites clips: H.264 videos, captions, a manifest, and the true flow of each clip."""

    out: Path
    """Folder to write to."""
    num: int = 24
    """Number of clips."""
    seed: int = 0
    """The world's seed; the same seed gives the same bytes."""
    height: int = 256
    width: int = 256
    frames: int = 17
    prompts_per_scene: int = 2
    """Clips that share their first frame and differ in caption and motion."""
    kinds: tuple[MotionKind, ...] = KINDS
    """Kinds of motion in a clip; a kind given several times is drawn more often."""


def main(args: list[str]) -> None:
    """Run the command."""
    options = parse(Options, args, "motif sprites")
    if options.num < 1 or options.prompts_per_scene < 1:
        raise InputError(f"--num {options.num}, --prompts-per-scene {options.prompts_per_scene}: must be at least 1.")
    try:
        world = World(options.height, options.width, options.frames, kinds=options.kinds)
    except ValueError as error:
        raise InputError(f"{error}.") from error
    print(write_sprites(options.out, world, options.num, options.seed, options.prompts_per_scene))
