"""Makes a model's videos of all pairs: what is there and whole is kept, what is missing is made."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from base.device import find_device
from base.errors import Incomplete, InputError
from base.storage.folder import Folder
from evaluation.bench.dataset import Bench, Pair
from evaluation.bench.recipe import Options, Recipe, batches, image_hash, make_recipe
from evaluation.bench.tables import Row, write_tables
from evaluation.bench.video_facts import UnreadableVideoError, VideoFacts, read_facts, read_tags, read_video_file
from evaluation.bench.worker import ThisProcess, Workers, read_image_file
from media.picture import PictureError, decode_picture
from models.find import Candidate, find_candidates

_REPORTS = 20  # messages about the progress


@dataclass(frozen=True)
class BenchJob:
    """What to generate, where, and by how many processes."""

    model: str
    bench: Bench
    out: Path
    options: Options = Options()
    num: int | None = None
    """Only the first pairs."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    workers: int = 0
    """Ray actors, one on each GPU or core; 0: this process."""


@dataclass(frozen=True)
class BenchResult:
    """How many videos the folder has, and how many of them were made now."""

    out: str
    videos: int
    made: int


def generate(job: BenchJob, report: Callable[[str], None]) -> BenchResult:
    """Write a video of each pair that has none yet, and the tables. The same bytes for any number of workers.

    InputError if the folder has videos of another model or of other settings; they stay as they are.
    """
    (model,) = find_candidates([job.model])
    make_recipe(model, job.options, "cpu")  # mistakes show before Ray starts
    hashes = hash_images(job.bench.pairs)
    with _workers(job) as workers:
        recipe = make_recipe(model, job.options, workers.device)
        _explain(recipe, report)
        folder = VideoFolder(job.out, job.bench, recipe, hashes)
        there = folder.whole(report)
        wanted = {pair.name for pair in job.bench.pairs[: job.num]}
        missing = wanted - there.keys()
        todo = [batch for batch in batches(job.bench.pairs, recipe.batch) if missing & {pair.name for pair in batch}]
        report(f"{model.name}: {len(there)} videos are there, {len(missing)} are missing")
        done = 0
        with closing(workers.make(recipe, todo)) as made:
            for batch, videos in made:
                for pair, data in zip(batch, videos, strict=True):
                    if pair.name in missing:
                        folder.write(pair, data)
                        done += 1
                        _report_progress(model, done, len(missing), report)
    rows = folder.whole(report)
    write_tables(job.out, rows.values())
    if lost := sorted(wanted - rows.keys()):
        raise Incomplete(f"--out {job.out}: {lost[0]} was written and is not whole. Run the same command again.")
    return BenchResult(str(job.out), len(rows), done)


def hash_images(pairs: tuple[Pair, ...]) -> dict[Path, str]:
    """A hash of each image file. InputError if one is no picture, before anything is computed."""
    found = {}
    for image in dict.fromkeys(pair.image for pair in pairs):
        data = read_image_file(image)
        try:
            decode_picture(data)
        except PictureError as error:
            raise InputError(f"image {image}: {error}") from error
        found[image] = image_hash(data)
    return found


class VideoFolder:
    """The folder of a model's videos."""

    def __init__(self, out: Path, bench: Bench, recipe: Recipe, hashes: Mapping[Path, str]) -> None:
        self._folder, self._recipe, self._hashes = Folder(str(out)), recipe, hashes
        self._pairs = {pair.video(recipe.seed): pair for pair in bench.pairs}

    def whole(self, report: Callable[[str], None]) -> dict[str, Row]:
        """The videos that need not be made again, by the names of their pairs; damaged ones are reported.

        InputError if a video is none of these pairs, or was made by another model or with other settings.
        """
        found = {}
        for entry in self._folder.files(".mp4"):
            path = self._folder.path / entry.name
            pair = self._pairs.get(entry.name)
            if pair is None:
                raise InputError(
                    f"--out {self._folder.uri}: {entry.name} is no video of these pairs with seed {self._recipe.seed}. "
                    "Choose a new folder, or remove it."
                )
            try:
                facts = self._facts(path, pair)
            except UnreadableVideoError as error:
                report(f"{path} is damaged ({error}) and is made again")
                continue
            found[pair.name] = Row(pair, entry.name, self._recipe.seed, self._recipe.model.name, facts)
        return found

    def write(self, pair: Pair, data: bytes) -> None:
        """Write the video of a pair."""
        self._folder.write(pair.video(self._recipe.seed), data)

    def _facts(self, path: Path, pair: Pair) -> VideoFacts:
        data = read_video_file(path)
        tags = read_tags(data)
        expected = self._recipe.tags(pair.prompt, self._hashes[pair.image])
        other = next((name for name, value in expected.items() if tags.get(name, "") != value), None)
        if other is not None:
            raise InputError(
                f"{path} was made with another {other}: {tags.get(other) or 'none'}, not {expected[other] or 'none'}. "
                "Restore it, or choose a new folder for --out."
            )
        facts = read_facts(data)
        if not facts.has(self._recipe.making.form):
            raise UnreadableVideoError(f"it has {facts}")
        return facts


@contextmanager
def _workers(job: BenchJob) -> Iterator[Workers]:
    if job.workers:
        from evaluation.bench.on_ray import ray_workers  # only here: the rest works without Ray

        with ray_workers(job.workers, job.device) as workers:
            yield workers
    else:
        yield ThisProcess("cuda" if find_device(job.device).type == "cuda" else "cpu")


def _explain(recipe: Recipe, report: Callable[[str], None]) -> None:
    """Say how the model's videos come to their form, if that is not as they are."""
    facts, making = recipe.model.facts, recipe.making
    if facts.height != facts.width:
        report(f"{recipe.model.name}: its grid is {facts.height} x {facts.width}; it is asked for square videos")
    if making.fps != making.form.fps:
        report(
            f"{recipe.model.name}: it is asked for {making.fps:g} frames per second, the nearest that it knows; frames "
            "are repeated or skipped"
        )


def _report_progress(model: Candidate, done: int, of: int, report: Callable[[str], None]) -> None:
    if done == of or done * _REPORTS // of > (done - 1) * _REPORTS // of:
        report(f"{model.name}: {done} of {of} videos made")
