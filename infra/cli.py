"""The ``motif`` command: finds and runs the subcommand, and reports errors in one sentence.

Exit status: 0 success; 1 a bug in motif; 2 invalid input; 3 too many clips failed; 4 storage error; 5 an incomplete
run; 6 a training step with a non-finite loss; 7 a server failed or cannot be reached; 130 interrupted. Finished work
is always kept.
"""

import atexit
import difflib
import importlib.metadata
import os
import sys
import time
from collections.abc import Callable

from base.errors import MotifError
from infra.guard import Guard
from infra.logs import choose_format

STARTED = time.perf_counter()  # before anything heavy is imported
COMMANDS = {
    "preprocess": "make a feature dataset from videos, or bring it up to date",
    "estimate": "what preprocessing and training take: hours, bytes and money",
    "train": "train a model on feature datasets, or continue a run",
    "validate": "measure runs on held-out clips, in moving regions and overall",
    "compare": "show training runs side by side: settings, losses, speed",
    "bench": "a model's videos of a public benchmark, TI2V-Bench, for metrics and studies",
    "report": "one HTML page of runs: curves, scores, samples, and the commands that made them",
    "evaluate": "score a model's videos: sprites, whose motion is known exactly",
    "sample": "an image and a sentence in, a video out",
    "serve": "answer requests for videos: an API and a page",
    "generate": "request a video from a server",
    "submit": "run a command as a job of a Ray cluster",
    "status": "who writes to a dataset or run, how far it is, what to do next; or the same of a server",
    "retry": "try failed clips of a dataset again",
    "calibrate": "compare normalisations of the motion heatmap on a dataset",
    "inspect": "write an HTML page that shows a dataset",
    "unlock": "release the lock of a dataset or run whose writer has ended elsewhere",
    "dataset": "stats, explain, verify, filter, recaption, merge, compact, diff or export a dataset",
    "metrics": "measure a model's videos: alignment, consistency, motion, FVD",
    "study": "compare two models by the votes of raters: create a study, collect votes on a page, score them",
    "sprites": "generate moving-sprites videos with captions and true flow",
    "study-sprites": "compare loss weightings on moving sprites: training, exact scores, a report",
    "demo": "the whole workflow on generated videos, in minutes",
    "fetch": "download from the hub: public weights as folders, or a benchmark's dataset",
    "convert": "write a model folder from another project's checkpoint",
    "export": "write an adapter's model as a whole, or as a LoRA file for other programs",
    "doctor": "check this machine and say what to fix",
}


JOIN_RAY = ("preprocess", "retry", "train", "demo", "study-sprites", "bench")


def main() -> None:
    """Entry point of the ``motif`` script."""
    # Threads of a network on a CPU spin while they wait for each other. Without a limit, anything beside them, such as
    # Ray's workers, makes both many times slower; with this one, nothing is lost on an idle machine.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    try:
        choose_format()
    except MotifError as error:
        sys.exit(_fail(str(error), error.exit_code))
    if sys.argv[1:2] and sys.argv[1] in JOIN_RAY and not {"-h", "--help"} & set(sys.argv[2:]):
        guard = Guard()
        atexit.register(guard.ends)
    try:
        status = run(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of our output has closed it, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 0
    sys.exit(status)


def run(args: list[str]) -> int:
    """Run a command line and return its exit status."""
    if not args or args[0] in ("-h", "--help", "help"):
        print(_usage())
        return 0 if args else 2
    if args[0] in ("-V", "--version"):
        print(f"motif {importlib.metadata.version('motif')}")
        return 0
    name, rest = args[0], args[1:]
    if name not in COMMANDS:
        close = difflib.get_close_matches(name, COMMANDS, 1)
        return _fail(f"unknown command '{name}'." + (f" Did you mean {close[0]}?" if close else " See motif --help."))
    command: Callable[[list[str]], int | None] = importlib.import_module(module_of(name)).main
    try:
        return command(rest) or 0
    except MotifError as error:
        return _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        return _fail("interrupted; saved work is kept, run the same command again to continue.", 130)


def module_of(name: str) -> str:
    """The module of a command."""
    return f"infra.commands.{name.replace('-', '_')}"


def _fail(message: str, status: int = 2) -> int:
    print(f"motif: {message}", file=sys.stderr)
    return status


def _usage() -> str:
    lines = ["usage: motif COMMAND [OPTIONS]", ""]
    lines += [f"  {name:<14} {text}" for name, text in COMMANDS.items()]
    return "\n".join([*lines, "", "Run motif COMMAND --help for details."])
