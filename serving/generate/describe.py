"""The description of a model folder, read without loading its network."""

import contextlib
from dataclasses import replace
from typing import get_args

from base.errors import InputError, WeightsError
from base.storage.folder import Folder
from base.weights import Weights
from diffusion.options import Sampling, SamplingChanges, Spacing
from diffusion.process import Process
from models.card import checked_sampling
from models.encoders.registry import has_weights, read_cell
from models.folder import check_base, find_part, load_card, load_facts, network_files, takes_image
from serving.generate.models import ServedModel
from serving.video_api import MAX_GUIDANCE, MAX_STEPS


def describe(name: str, uri: str, changes: SamplingChanges | None = None) -> ServedModel:
    """Read a model folder's description; WeightsError if it is not a model folder or its network is missing.

    The folder's sampling options with ``changes`` are the defaults of requests; InputError if a request with these
    values would be refused.
    """
    folder = Folder(uri)
    place = Weights(uri) if folder.remote else folder.path
    facts = load_facts(place)
    for path in network_files(place):
        part, _, file = path.rpartition("/")
        if not (folder / part).exists(file):
            raise WeightsError(f"{uri}: {path} is missing. Pass a complete model folder.")
    if load_card(place).base is not None:
        check_base(place)
    cell = read_cell(facts.latents, find_part(place, "vae") if has_weights(facts.latents) else None)
    changes = changes or SamplingChanges()
    spacings = _spacings(facts.schedule)
    max_steps = min(MAX_STEPS, facts.schedule.steps)
    with contextlib.suppress(ValueError):  # the next line raises it with a better message
        _check_defaults(changes.of(facts.sampling), changes, uri, max_steps, spacings)
    defaults = checked_sampling(facts, changes, uri)
    return ServedModel(
        id=name,
        uri=uri,
        width=facts.width * cell,
        height=facts.height * cell,
        frames=facts.video_frames,
        fps=facts.fps,
        usual_fps=facts.usual_fps,
        step=facts.step,
        max_steps=max_steps,
        spacings=spacings,
        defaults=defaults,
        takes_eta=_takes_eta(facts.schedule, defaults),
        takes_image=takes_image(place),
        default_motion_level=facts.default_motion_level,
    )


def _check_defaults(
    defaults: Sampling, changes: SamplingChanges, uri: str, most_steps: int, spacings: tuple[str, ...]
) -> None:
    """InputError for defaults that would make every request without sampling options fail."""
    spaced = defaults.spacing is None or defaults.spacing in spacings
    rules = {
        "steps": (defaults.steps <= most_steps, f"must be at most {most_steps}"),
        "guidance": (defaults.guidance <= MAX_GUIDANCE, f"must be at most {MAX_GUIDANCE:g}"),
        "spacing": (spaced, f"must be {' or '.join(spacings)}"),
    }
    for name, (kept, rule) in rules.items():
        value = getattr(defaults, name)
        if not kept and getattr(changes, name) is not None:
            raise InputError(f"--{name} {value}: it {rule} for {uri}. Give another value, or omit it.")
        if not kept:
            raise InputError(f"{uri}: {name} {value} of its motif.json {rule}. Give another value with --{name}.")


def _takes_eta(process: Process, defaults: Sampling) -> bool:
    try:
        process.check(replace(defaults, eta=0.5))
    except (InputError, ValueError):
        return False
    return True


def _spacings(process: Process) -> tuple[str, ...]:
    """The step spacings that the process supports; a schedule that ends in pure noise does not support all of them."""
    found = []
    for spacing in get_args(Spacing):
        with contextlib.suppress(InputError):
            process.check(Sampling(steps=1, spacing=spacing))
            found.append(spacing)
    return tuple(found)
