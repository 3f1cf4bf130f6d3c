"""Accepts the videos of another model: which pairs they are, which are missing, and copies of them in one folder."""

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from base.errors import InputError
from base.storage.folder import Folder
from evaluation.bench.dataset import Bench, Pair
from evaluation.bench.form import Form
from evaluation.bench.names import split_video_name
from evaluation.bench.tables import Row, write_tables
from evaluation.bench.video_facts import UnreadableVideoError, read_facts, read_video_file


@dataclass
class Findings:
    """What a folder has: files by the pair that they are, and what is wrong, in words."""

    accepted: dict[str, Row] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    other_form: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether each pair has its video; files that are none of the pairs do not matter."""
        return not (self.missing or self.doubled or self.unreadable or self.other_form)


def accept(videos: Path, bench: Bench, form: Form, seed: int, out: Path) -> Findings:
    """Copy the videos of all pairs to ``out``, named with ``seed`` whatever theirs is, and write the tables.

    So two models' folders have the same names. InputError if there is no video that can be accepted, or ``out`` has
    other ones; nothing is written then.
    """
    if out.resolve() == videos.resolve():
        raise InputError(f"--out {out}: these are the given videos themselves. Choose a new folder for their copies.")
    found = find_videos(videos, bench, form, seed)
    if not found.accepted:
        reasons = [*found.doubled, *found.unreadable, *found.other_form, *found.unknown]
        raise InputError(
            f"--videos {videos}: no video can be accepted{f' ({reasons[0]})' if reasons else ''}. They are named "
            f"IMAGE_PROMPT_SEED.mp4, such as {bench.pairs[0].video(seed)}, and have {form}."
        )
    folder = Folder(str(out))
    there = {entry.name for entry in folder.files(".mp4")}
    new = {row.file: row for row in found.accepted.values()}
    for name in sorted(there):
        if name not in new or read_video_file(out / name) != read_video_file(videos / new[name].source):
            raise InputError(f"--out {out}: {name} is not from {videos}. Choose a new folder, or remove it.")
    for name, row in new.items():
        if name not in there:
            folder.write(name, read_video_file(videos / row.source))
    write_tables(out, new.values())
    return found


def find_videos(videos: Path, bench: Bench, form: Form, seed: int) -> Findings:
    """The pairs' videos in a folder, each decoded to its end. InputError if there is no such folder."""
    if not videos.is_dir():
        raise InputError(f"--videos {videos}: there is no such folder. Give a folder of mp4 files.")
    found, pairs = Findings(), {pair.name.lower(): pair for pair in bench.pairs}
    files: dict[str, list[tuple[int, Path]]] = defaultdict(list)
    for path in sorted(path for path in videos.iterdir() if path.suffix.lower() == ".mp4" and path.is_file()):
        name = split_video_name(path.name)
        if name is None or name[0] not in pairs:
            found.unknown.append(f"{path.name} is the name of no pair")
        else:
            files[name[0]].append((name[1], path))
    for key, pair in pairs.items():
        _examine(pair, files[key], form, seed, videos.resolve().name, found)
    return found


def _examine(pair: Pair, files: list[tuple[int, Path]], form: Form, seed: int, model: str, found: Findings) -> None:
    if not files:
        found.missing.append(pair.name)
    elif len(files) > 1:
        found.doubled.append(f"{pair.name} has {' and '.join(path.name for _, path in files)}")
    else:
        ((own_seed, path),) = files
        try:
            facts = read_facts(read_video_file(path))
        except UnreadableVideoError as error:
            found.unreadable.append(f"{path.name} cannot be decoded ({error})")
            return
        if facts.has(form):
            found.accepted[pair.name] = Row(pair, pair.video(seed), own_seed, model, facts, path.name)
        else:
            found.other_form.append(f"{path.name} has {facts}, not {form}")
