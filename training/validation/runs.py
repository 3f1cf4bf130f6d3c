"""Checks that models can be validated together: same task, matching data, and clips that none was trained on."""

from collections.abc import Callable, Sequence

from base.config import to_json
from base.errors import InputError, StorageError
from models.card import ModelFacts
from models.find import Candidate, find_candidates
from training.data.source import open_view
from training.network import check_facts
from training.validation.measure import HeldOut


def find_comparable(uris: Sequence[str]) -> list[Candidate]:
    """The models in folders; InputError if one has none, or if their processes differ."""
    found = find_candidates(uris)
    for candidate, uri in zip(found[1:], uris[1:], strict=True):
        _check_same_task((uris[0], found[0].facts), (uri, candidate.facts))
    return found


def _check_same_task(first: tuple[str, ModelFacts], other: tuple[str, ModelFacts]) -> None:
    (uri, facts), (other_uri, others) = first, other
    ours, theirs = to_json(facts.schedule), to_json(others.schedule)
    # The kind first: if it differs, other fields do not matter.
    for field in sorted(ours.keys() | theirs.keys(), key=lambda name: (name != "type", name)):
        one, two = ours.get(field), theirs.get(field)
        if one != two:
            raise InputError(
                f"schedule.{field}: {uri} has {one}, {other_uri} has {two}, so their errors at a timestep "
                "cannot be compared. Validate them one by one."
            )


def check_fit(candidates: Sequence[Candidate], clips: HeldOut, timesteps: Sequence[int]) -> None:
    """InputError if a model does not match the features, or its schedule has too few steps."""
    for candidate in candidates:
        check_facts(candidate.name, candidate.weights(), clips.source.facts)
        steps = candidate.facts.schedule.steps
        if timesteps[-1] >= steps:
            raise InputError(
                f"--timesteps {timesteps[-1]}: the schedule of {candidate.name} has {steps} steps, 0 to {steps - 1}."
            )


def check_held_out(candidates: Sequence[Candidate], clips: HeldOut, report: Callable[[str], None]) -> None:
    """InputError if a run was trained on held-out clips; reports when that is unknown.

    Clips are identified by content, so copies of a dataset are detected.
    """
    held = set(clips.clip_ids)
    for candidate in candidates:
        if not candidate.trained_on:
            report(f"{candidate.name} is not in a run's folder: whether it was trained on these clips is unknown.")
        for uri in candidate.trained_on:
            shared = len(held & _clips_of(uri, candidate.name, report))
            if shared:
                raise InputError(
                    f"--data {clips.source.uri}: {candidate.name} was trained on {shared} of its {len(held)} clips, in "
                    f"{uri}. Hold out others (`motif dataset filter` makes a view), or measure anyway with "
                    "--allow-training-data."
                )


def _clips_of(uri: str, name: str, report: Callable[[str], None]) -> set[str]:
    try:
        return set(open_view(uri).clips().column("clip_id").to_pylist())
    except (InputError, StorageError) as error:
        report(f"{name} was trained on {uri}, so whether it saw these clips is unknown: {error}")
        return set()
