"""Command-line options from dataclasses: typed, overridable field by field, with "did you mean"."""

import shlex
import sys
from collections.abc import Sequence
from typing import TypeVar

import tyro

from base.errors import InputError
from base.storage.uri import without_password

Options = TypeVar("Options")


def parse(kind: type[Options], args: Sequence[str], prog: str, default: Options | None = None) -> Options:
    """Read options into a dataclass. An unknown option is reported in a short box, an invalid value in one line."""
    config = (tyro.conf.AvoidSubcommands, tyro.conf.CascadeSubcommandArgs)
    try:
        if default is None:
            return tyro.cli(kind, args=args, prog=prog, config=config)
        return tyro.cli(kind, args=args, prog=prog, config=config, default=default)
    except ValueError as error:
        raise InputError(f"{error}.") from error


def take_positional(args: Sequence[str], name: str, prog: str) -> tuple[str, list[str]]:
    """The first argument, which is required and must not be an option, and the rest."""
    if not args or args[0].startswith("-"):
        if any(arg in ("-h", "--help") for arg in args):
            return "", list(args)
        raise InputError(f"{prog}: {name} is missing. Usage: {prog} {name} [OPTIONS].")
    return args[0], list(args[1:])


def command_line(prog: str, args: Sequence[str]) -> str:
    """A command as it was given, for records of what it made; without the passwords of URLs."""
    return shlex.join([*prog.split(), *map(without_password, args)])


def plural(count: int, word: str) -> str:
    """``1 clip``, ``2 clips``."""
    return f"{count:,} {word}{'' if count == 1 else 's'}"


def report(line: str) -> None:
    """Print a line for the user on stderr; stdout is for results."""
    print(line, file=sys.stderr, flush=True)
