"""A server as one piece of data: what ``motif serve`` makes of its options, and what a cluster's config file holds."""

import difflib
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from base.errors import InputError
from diffusion.options import SamplingChanges
from serving.settings import Compute, Settings

_NAME = r"[A-Za-z0-9._-]{1,64}"  # it is a part of paths and of headers


@dataclass(frozen=True)
class Place:
    """A model folder, and what it is called."""

    name: str
    uri: str

    def __post_init__(self) -> None:
        """Refuse names that no path can have."""
        if not re.fullmatch(_NAME, self.name) or self.name in (".", ".."):
            raise ValueError(
                f"model name '{self.name[:80]}': 1 to 64 of the letters A to Z and a to z, digits and . _ -; give "
                f"another as NAME={self.uri}"
            )


@dataclass(frozen=True)
class Replicas:
    """How many processes there are, and what each takes."""

    api: int = 1
    """Processes that answer requests."""
    workers: int = 1
    """Processes that generate, at least."""
    max_workers: int = 0
    """As many as the queue may call for, by default no more; with several nodes they take those that have room."""
    gpus: float = 0.0
    """GPUs of a worker."""
    cpus: float = 1.0
    """Cores of a worker; without a GPU, as many threads."""
    drain_seconds: float = 60.0
    """How long a process that is to end may go on with the videos that it is at."""

    def __post_init__(self) -> None:
        """Refuse a server of nobody."""
        if self.api < 1 or self.workers < 1:
            raise ValueError(f"api {self.api}, workers {self.workers}: at least 1")
        if not self.max_workers:
            object.__setattr__(self, "max_workers", self.workers)
        if self.max_workers < self.workers:
            raise ValueError(f"max_workers {self.max_workers}: at least workers, {self.workers}")


@dataclass(frozen=True)
class Config:
    """All of a server but its address."""

    models: tuple[Place, ...]
    settings: Settings = Settings()
    compute: Compute = Compute()
    replicas: Replicas = Replicas()
    sampling: SamplingChanges = SamplingChanges()
    """What is taken where a request does not say, instead of what its model says."""

    def __post_init__(self) -> None:
        """Names must tell models apart."""
        names = [model.name for model in self.models]
        if not names:
            raise ValueError("models: at least one")
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"models: two are called '{name}'; give one of them another name as NAME=MODEL")

    def to_dict(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


def read_config(data: Mapping[str, Any]) -> Config:
    """A config from plain data; InputError with the first field that is wrong."""
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
    """A dataclass's validation passes unknown fields over in silence."""
    known = {found.name: found.type for found in fields(kind)}
    for name, value in data.items():
        if name not in known:
            close = difflib.get_close_matches(name, known, 1)
            hint = f"Did you mean '{close[0]}'?" if close else f"There are {', '.join(known)}."
            raise InputError(f"server config: there is no field '{place}{name}'. {hint}")
        inner = known[name]
        if isinstance(inner, type) and is_dataclass(inner) and isinstance(value, Mapping):
            _check_names(inner, value, f"{place}{name}.")
