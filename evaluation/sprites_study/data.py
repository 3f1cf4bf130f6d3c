"""The videos and features of a study; what is there already is kept."""

from collections.abc import Callable
from pathlib import Path

from base import ray_session
from base.storage.folder import Folder
from evaluation.sprites_study.study import HELD_OUT_SEED, TRAIN_SEED, Study
from pipeline.run.job import Job
from pipeline.run.run import Run
from pipeline.sprites.files import write_sprites

_MANIFEST = "manifest.csv"


def write_videos(study: Study, report: Callable[[str], None]) -> None:
    """Generate training videos and held-out pairs; a folder's manifest is written last."""
    size = study.size
    wanted: list[tuple[Path, int, int, int]] = [
        (study.sprites, size.clips, TRAIN_SEED, size.prompts),
        (study.pairs, size.images * size.held_out_prompts, HELD_OUT_SEED, size.held_out_prompts),
    ]
    for folder, num, seed, prompts in wanted:
        if not (folder / _MANIFEST).is_file():
            report(f"{num:,} videos of moving sprites in {folder}")
            write_sprites(folder, size.world, num, seed, prompts)


def write_features(study: Study, report: Callable[[str], None]) -> None:
    """Make both feature datasets, on Ray, unless they are complete."""
    for videos, dataset in ((study.sprites, study.data), (study.pairs, study.held_out)):
        done = dataset.with_suffix(".done")
        if done.is_file():
            continue
        report(f"features of {videos} in {dataset}")
        with ray_session.session():
            Run(Job(study.size.features, str(videos / _MANIFEST), Folder(str(dataset))), report).execute()
        done.touch()
