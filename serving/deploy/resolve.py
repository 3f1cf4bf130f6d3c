"""From what a user names to what a server needs to know before it starts. It takes torch, and seconds to import."""

import math
import os
import re
from collections.abc import Sequence
from dataclasses import replace

from base.device import find_device
from base.errors import InputError
from diffusion.options import SamplingChanges
from models.find import find_candidates
from serving.deploy.config import Config, Place, Replicas
from serving.generate.describe import describe
from serving.generate.models import ServedModel
from serving.settings import Compute, Settings


def resolve(
    places: Sequence[str], settings: Settings, compute: Compute, replicas: Replicas, sampling: SamplingChanges
) -> tuple[Config, list[ServedModel]]:
    """The config that serves ``places`` (MODEL or NAME=MODEL), and these models.

    InputError or WeightsError if one of them cannot be served so.
    """
    try:
        models = tuple(map(_place, places))
        config = Config(models, settings, compute, _replicas(replicas, compute), sampling)
    except ValueError as error:
        raise InputError(f"{error}.") from error
    return config, describe_all(config)


def describe_all(config: Config) -> list[ServedModel]:
    """The models of a config, in its order; InputError or WeightsError if one cannot be served so."""
    return [describe(place.name, place.uri, config.sampling) for place in config.models]


def _place(given: str) -> Place:
    """The model folder that is meant; it is named after its run or folder unless the user gives a name."""
    name, equals, uri = given.partition("=")
    if not equals or {"/", ":"} & set(name):  # a path such as runs/lr=0.1
        name, uri = "", given
    (found,) = find_candidates([uri])
    folder = found.folder
    usual = re.sub(r"[^A-Za-z0-9._-]+", "-", found.name).strip("-.")[:64] or "model"
    return Place(name or usual, folder.uri if folder.remote else str(folder.path))


def _replicas(size: Replicas, compute: Compute) -> Replicas:
    """By default a worker takes one GPU or, on a machine without, an equal share of the cores."""
    on_gpu = find_device(compute.device).type == "cuda"
    if on_gpu and not size.gpus:
        size = replace(size, gpus=1.0)
    if not size.cpus:
        share = (
            max(1, math.floor(100 * (os.cpu_count() or 1) / size.most_workers)) / 100
        )  # rounded down, so that all fit
        size = replace(size, cpus=1.0 if on_gpu else share)
    return size
