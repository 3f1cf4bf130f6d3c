"""Configurations (frozen dataclasses) to JSON and back, with their types, so that runs can be reproduced."""

import dataclasses
import difflib
import importlib
import json
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from base.errors import InputError
from base.stored_types import UNTYPED, stored_name, stored_place

_TYPE = "type"
_OMITTED = "omitted by default"
OMITTED_BY_DEFAULT = {_OMITTED: True}
"""Metadata of a field that is stored only if it is not its default: files without it stay as they were before it."""


def to_json(config: Any) -> Any:
    """A configuration as plain JSON; every dataclass carries its name in :mod:`base.stored_types`."""
    if dataclasses.is_dataclass(config) and not isinstance(config, type):
        kind = type(config)
        fields = {field.name: to_json(getattr(config, field.name)) for field in _stored_fields(config)}
        return {_TYPE: stored_name(kind), **fields}
    if isinstance(config, dict):
        return {key: to_json(value) for key, value in config.items()}
    if isinstance(config, tuple | list):
        return [to_json(value) for value in config]
    return config


def _stored_fields(config: Any) -> list[dataclasses.Field[Any]]:
    fields = dataclasses.fields(config)
    return [one for one in fields if _OMITTED not in one.metadata or getattr(config, one.name) != one.default]


def from_json(data: Any, path: str = "") -> Any:
    """The configuration from :func:`to_json`'s output. InputError names an unknown or invalid field."""
    if isinstance(data, list):
        return tuple(from_json(value, f"{path}[{i}]") for i, value in enumerate(data))
    if not isinstance(data, dict):
        return data
    if _TYPE not in data:
        return {key: from_json(value, f"{path}.{key}".lstrip(".")) for key, value in data.items()}
    kind = _type(data[_TYPE], path)
    hints = get_type_hints(kind, include_extras=True)
    names = [field.name for field in dataclasses.fields(kind)]
    values = {}
    for key, value in data.items():
        if key == _TYPE:
            continue
        where = f"{path}.{key}".lstrip(".")
        if key not in names:
            close = difflib.get_close_matches(key, names, 1)
            hint = f" Did you mean {close[0]}?" if close else f" Known: {', '.join(names)}."
            raise InputError(f"config field '{where}' does not exist.{hint}")
        was = UNTYPED.get((stored_name(kind), key))
        if was is not None and isinstance(value, dict) and _TYPE not in value:
            value = {_TYPE: was} | value
        values[key] = _checked(from_json(value, where), hints[key], where)
    try:
        return kind(**values)
    except (TypeError, ValueError) as error:
        raise InputError(f"config {path or kind.__name__}: {error}") from error


def _type(name: object, path: str) -> type[Any]:
    module, _, attribute = stored_place(str(name)).partition(":")
    try:
        kind = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError, TypeError) as error:
        raise InputError(f"config field '{path or '(top)'}': unknown type {name} ({error})") from error
    if not (isinstance(kind, type) and dataclasses.is_dataclass(kind)):
        raise InputError(f"config field '{path or '(top)'}': {name} is not a configuration")
    return kind


def _checked(value: Any, hint: Any, path: str) -> Any:
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        if not isinstance(value, hint):
            raise InputError(f"config field '{path}': {value!r}: input should be a {hint.__name__} with its \"type\"")
        return value
    # Strict: dataclasses inside a dict or tuple are already instances, anything else is an error.
    adapter = TypeAdapter(hint, config={"arbitrary_types_allowed": True, "strict": True})
    try:
        return adapter.validate_python(value)
    except ValidationError as error:
        message = error.errors()[0]["msg"]
        raise InputError(f"config field '{path}': {value!r}: {message[0].lower()}{message[1:]}") from error


def dump(config: Any) -> str:
    """A configuration as indented JSON text."""
    return json.dumps(to_json(config), indent=2)


def load(text: str) -> Any:
    """The configuration from JSON text."""
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"the config is not valid JSON: {error}") from error
    return from_json(data)
