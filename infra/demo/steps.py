"""The steps of a demo: videos, features and a page of them, training. Existing files are kept."""

from collections.abc import Callable
from dataclasses import replace

from base import ray_session
from base.storage.folder import Folder
from infra.demo.settings import Demo
from infra.toy import MODEL
from infra.toy.data import WORLD, clips
from infra.toy.training import toy
from pipeline.report.page import ReportOptions, write_report
from pipeline.run.job import Job
from pipeline.run.run import Run
from pipeline.sprites.files import write_sprites
from training.options import Hardware, Saves
from training.recipes import Train
from training.run.job import TrainJob
from training.run.launch import launch

Report = Callable[[str], None]
PROMPTS_PER_SCENE = 4


def write_videos(demo: Demo) -> None:
    """Generate the videos; the manifest is written last, so its presence means that all exist."""
    if not (demo.videos / "manifest.csv").is_file():
        write_sprites(demo.videos, WORLD, demo.num, demo.seed, PROMPTS_PER_SCENE)


def write_features(demo: Demo, report: Report) -> None:
    """Bring the feature dataset up to date."""
    run = Run(Job(clips(), str(demo.videos / "manifest.csv"), Folder(str(demo.dataset))), report)
    with ray_session.session():
        run.execute()


def write_inspection(demo: Demo) -> None:
    """Write the page of the dataset."""
    write_report(Folder(str(demo.dataset)), demo.inspected, ReportOptions())


def training(steps: int) -> Train:
    """The toy's training recipe, starting from its weights, with a lower learning rate and in float32."""
    recipe = toy()
    return replace(
        recipe,
        network=replace(recipe.network, start=str(MODEL)),
        optimiser=replace(recipe.optimiser, lr=2e-4, warmup=10, ema=0.98),
        steps=steps,
        hardware=Hardware(workers=0, micro_batch=recipe.batch, precision="float32"),
        saves=Saves(every=50, keep=1),
    )


def train(demo: Demo, report: Report) -> int:
    """Train, or continue training; returns the run's step."""
    return launch(TrainJob(training(demo.steps), (str(demo.dataset),), Folder(str(demo.run))), report).step
