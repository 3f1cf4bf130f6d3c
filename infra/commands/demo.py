"""``motif demo``: the whole workflow on generated videos: sprites, preprocess, inspect, train, sample, a page."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from base.errors import InputError
from base.storage.folder import Folder
from infra.options import parse, plural, report
from infra.toy import MODEL


@dataclass(frozen=True)
class Options:
    """Generate videos, make a feature dataset, train the toy model further on it, sample, and show it all on a page.

    A second run only does what is missing.
    """

    out: Path = Path("demo")
    """Folder for all files."""
    num: int = 64
    """How many videos."""
    seed: int = 0
    """The seed of the videos, and of the pictures to sample from."""
    steps: int = 100
    """Training steps from the toy model that comes with motif; a larger number continues the run."""


def main(args: list[str]) -> None:
    """Run the command."""
    options = parse(Options, args, "motif demo")
    for name, least in (("num", 1), ("steps", 1), ("seed", 0)):
        if getattr(options, name) < least:
            raise InputError(f"--{name} {getattr(options, name)}: must be at least {least}.")
    from infra.demo import steps
    from infra.demo.page import Made, count_right, write_page
    from infra.demo.samples import Plan, write_samples
    from infra.demo.settings import Demo  # torch, which --help does without

    demo = Demo(options.out, options.num, options.seed, options.steps)
    demo.claim()
    clock = Clock()
    with clock.phase("sprites", f"{plural(demo.num, 'video')} of moving sprites in {demo.videos}"):
        steps.write_videos(demo)
    with clock.phase("preprocess", f"their features in {demo.dataset}"):
        steps.write_features(demo, report)
    with clock.phase("inspect", f"a page of them, {demo.inspected}"):
        steps.write_inspection(demo)
    with clock.phase("train", f"training the toy model further, to step {demo.steps}, in {demo.run}"):
        step = steps.train(demo, report)
    with clock.phase("sample", f"videos of held-out pictures in {demo.samples}"):
        plan = Plan(demo.seed)
        toy = write_samples(str(MODEL), Folder(str(demo.samples / "toy")), plan, report)
        run = write_samples(str(demo.run), Folder(str(demo.samples / "run")), plan, report)
    with clock.phase("page", f"everything on a page, {demo.page}"):
        write_page(demo, Made(toy, run))
    right, of = count_right(run)
    report(
        f"\nLook at    {demo.page}    in a browser: {right} of {of} videos move as prompted.\n"
        f"Run        motif serve {demo.run}\n"
        f"Your own   motif preprocess laptop --manifest FOLDER_OF_VIDEOS --out DATASET\n"
    )
    places = {"page": demo.page, "inspect": demo.inspected, "dataset": demo.dataset, "run": demo.run}
    paths = {name: str(path) for name, path in places.items()}
    print(json.dumps({**paths, "step": step, "right": right, "videos": of, "seconds": clock.seconds}))


class Clock:
    """Reports the start of each phase and records its seconds."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str, title: str) -> Iterator[None]:
        """A phase of the demo."""
        report(f"{len(self.seconds) + 1}. {title}")
        started = time.perf_counter()
        yield
        self.seconds[name] = round(time.perf_counter() - started, 1)
