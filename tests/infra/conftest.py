import os
from collections.abc import Callable
from unittest.mock import patch

import pytest

from infra import cli

Motif = Callable[..., tuple[int, str, str]]


@pytest.fixture
def motif(capsys: pytest.CaptureFixture[str]) -> Motif:
    """Run a command line in this process: status, stdout, stderr. What it sets in the environment ends with it."""

    def run(*args: object) -> tuple[int, str, str]:
        with patch.dict(os.environ):
            try:
                status = cli.run([str(arg) for arg in args])
            except SystemExit as end:  # the options parser ends the process itself
                status = int(end.code or 0)
        told = capsys.readouterr()
        return status, told.out, told.err

    return run
