"""``motif sprites``: generated videos with known motion."""

from dataclasses import dataclass, fields
from pathlib import Path

from base.errors import InputError
from infra.options import parse
from pipeline.sprites.files import write_sprites
from pipeline.sprites.world import KINDS, SHARE, MotionKind, World


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
    """Kinds of motion in a clip; a kind given several times is drawn more often. ``pans`` and ``moves_and_pans`` have a
    panning camera."""
    fewest: int = 2
    """The fewest shapes in a scene."""
    most: int = 4
    """The most shapes in a scene."""
    share: float = SHARE
    """The share of a square frame that a shape covers, on average: as much moves where one shape does."""
    distractors: int = 0
    """How many of a scene's shapes share the colour or the shape of its first one."""
    clear: bool = False
    """What moves never touches another shape."""


def main(args: list[str]) -> None:
    """Run the command."""
    options = parse(Options, args, "motif sprites")
    if options.num < 1 or options.prompts_per_scene < 1:
        raise InputError(f"--num {options.num}, --prompts-per-scene {options.prompts_per_scene}: must be at least 1.")
    try:
        world = World(**{field.name: getattr(options, field.name) for field in fields(World)})
    except ValueError as error:
        raise InputError(f"{error}.") from error
    print(write_sprites(options.out, world, options.num, options.seed, options.prompts_per_scene))
