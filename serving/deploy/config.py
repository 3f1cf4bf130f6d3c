"""The configuration of a server, from the options of ``motif serve`` or from a cluster's config file."""

import difflib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from base.errors import InputError
from diffusion.options import SamplingChanges
from serving.settings import Compute, Settings, read_keys

_NAME = r"[A-Za-z0-9._-]{1,64}"  # part of paths and headers


@dataclass(frozen=True)
class Place:
    """A model folder and its name in the API."""

    name: str
    uri: str

    def __post_init__(self) -> None:
        """Check the name."""
        if not re.fullmatch(_NAME, self.name) or self.name in (".", ".."):
            raise ValueError(
                f"model name '{self.name[:80]}': use 1 to 64 letters (A-Z, a-z), digits and . _ -; give "
                f"another as NAME={self.uri}"
            )


@dataclass(frozen=True)
class Replicas:
    """How many processes run, and their resources."""

    api: int = 1
    """Processes that answer requests."""
    workers: int = 1
    """Processes that generate videos, at least."""
    max_workers: int = 0
    """Upper limit of autoscaling, 0 for ``workers``; on several nodes Ray places workers where there is room."""
    gpus: float = 0.0
    """GPUs of a worker; for 0, `motif serve` takes one where there is a GPU."""
    cpus: float = 1.0
    """CPU cores of a worker; without a GPU, also its number of threads. For 0, `motif serve` divides the machine's."""
    drain_seconds: float = 60.0
    """How long a process that shuts down may take to finish its current videos."""

    def __post_init__(self) -> None:
        """Check the counts."""
        if self.api < 1 or self.workers < 1:
            raise ValueError(f"api {self.api}, workers {self.workers}: must be at least 1")
        if 0 < self.max_workers < self.workers or self.max_workers < 0:
            raise ValueError(f"max_workers {self.max_workers}: must be 0 or at least workers, {self.workers}")

    @property
    def most_workers(self) -> int:
        """``max_workers``, with its default filled in."""
        return self.max_workers or self.workers


@dataclass(frozen=True)
class Config:
    """Everything about a server except its address."""

    models: tuple[Place, ...]
    settings: Settings = Settings()
    compute: Compute = Compute()
    replicas: Replicas = Replicas()
    sampling: SamplingChanges = SamplingChanges()
    """Defaults for requests that set no sampling options, in place of the model's own."""
    keys: str = ""
    """A file of bearer keys, one per line, on the nodes of a cluster, where ``build`` reads it."""

    def __post_init__(self) -> None:
        """Check that there are models and that their names are unique."""
        names = [model.name for model in self.models]
        if not names:
            raise ValueError("models: give at least one")
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"models: the name '{name}' is used twice; give one model another name as NAME=MODEL")

    def with_keys(self) -> "Config":
        """The same with the keys of the file ``keys``, as hashes; InputError if it cannot be used."""
        if not self.keys:
            return self
        hashes = (*self.settings.key_hashes, *read_keys(Path(self.keys)))
        return replace(self, keys="", settings=replace(self.settings, key_hashes=hashes))

    def to_dict(self) -> dict[str, Any]:
        """As plain dicts and values."""
        return asdict(self)


def read_config(data: Mapping[str, Any]) -> Config:
    """A config from plain data; InputError names the first invalid field."""
    _check_names(Config, data, "")
    try:
        return TypeAdapter(Config).validate_python(dict(data))
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        name = ".".join(str(part) for part in first["loc"])
        raise InputError(
            f"server config, {name or 'as a whole'}: {first['msg'].removeprefix('Value error, ')}."
        ) from None


def _check_names(kind: type, data: Mapping[str, Any], place: str) -> None:
    """Refuse unknown fields, which pydantic ignores in dataclasses."""
    known = {found.name: found.type for found in fields(kind)}
    for name, value in data.items():
        if name not in known:
            close = difflib.get_close_matches(name, known, 1)
            hint = f"Did you mean '{close[0]}'?" if close else f"There are {', '.join(known)}."
            raise InputError(f"server config: there is no field '{place}{name}'. {hint}")
        inner = known[name]
        if isinstance(inner, type) and is_dataclass(inner) and isinstance(value, Mapping):
            _check_names(inner, value, f"{place}{name}.")
