"""``motif sample``: an image and a sentence in, or a sentence alone, a video out."""

import json
import time

from base.errors import InputError
from infra.options import parse, take_positional
from infra.sampling.options import Options, check


def main(args: list[str]) -> None:
    """Run the command."""
    place, options = read(args)
    from infra.sampling.plan import plan
    from infra.sampling.run import SamplingRun  # torch and diffusers, which --help does without
    from media.grid import arrange
    from models.find import find_candidates

    (model,) = find_candidates([place])
    target, videos = plan(options, model)
    most = model.facts.video_frames
    if options.frames is not None and not 1 <= options.frames <= most:
        raise InputError(f"--frames {options.frames}: {model.name} makes videos of 1 to {most} frames.")
    started = time.perf_counter()
    run = SamplingRun(options, model, target)
    rows = arrange([video.image or video.prompt for video in videos]) if options.grid else []
    run.check_grid(rows)
    run.write(videos)
    run.write_grid(rows)
    listed = [{"file": video.name, "prompt": video.prompt, "seed": video.seed} for video in videos]
    summary = {"model": place, "out": target.uri, "videos": listed} | ({"grid": options.grid} if options.grid else {})
    print(json.dumps(summary | {"seconds": round(time.perf_counter() - started, 2)}))


def read(args: list[str]) -> tuple[str, Options]:
    """The model and the options of a command line; InputError if they are wrong."""
    place, rest = take_positional(args, "MODEL", "motif sample")
    options = parse(Options, rest, f"motif sample {place or 'MODEL'}")
    check(options)
    return place, options
