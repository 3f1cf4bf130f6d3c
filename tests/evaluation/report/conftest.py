"""Two runs, trained once: ``motif`` and ``plain``, without results of other commands in them."""

from pathlib import Path

import pytest

from tests.evaluation.report.runs import write_data, write_plain, write_run


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Their folder; not to be written to."""
    folder = tmp_path_factory.mktemp("report")
    data = write_data(folder)
    write_run(data, folder / "motif")
    write_plain(data, folder / "plain")
    return folder
