"""MOTIF_LOG=json: what a command says on stderr, as one JSON object a line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from base.errors import InputError
from infra.logs import choose_format

MOTIF = Path(sys.executable).with_name("motif")
BUG = """
import sys
from infra import cli
cli.COMMANDS["bug"] = ""
sys.modules["infra.commands.bug"] = sys.modules["__main__"]
def main(args):
    print("begun", file=sys.stderr)
    raise ValueError("a bug")
sys.argv = ["motif", "bug"]
cli.main()
"""


def ended(*command: str | Path, log: str = "json") -> tuple[int, list[dict[str, str]]]:
    environment = os.environ | {"MOTIF_LOG": log}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    return done.returncode, [json.loads(line) for line in done.stderr.splitlines()]


def test_an_error_is_an_object_with_its_level(tmp_path: Path) -> None:
    status, (line,) = ended(MOTIF, "status", tmp_path)
    assert (status, list(line), line["level"]) == (2, ["time", "level", "message"], "error")
    assert line["message"].startswith(f"{tmp_path}: neither a dataset")
    assert line["time"].endswith("+00:00")


def test_a_traceback_is_one_object() -> None:
    status, (begun, bug) = ended(sys.executable, "-c", BUG)
    assert (status, begun["level"], begun["message"], bug["level"]) == (1, "info", "begun", "error")
    assert bug["message"].startswith("Traceback")
    assert bug["message"].endswith("ValueError: a bug")


def test_another_format_is_refused() -> None:
    with pytest.raises(InputError, match="MOTIF_LOG 'xml': use json or text"):
        choose_format({"MOTIF_LOG": "xml"})
