"""Random histories of a dataset: every run ends, adds what is lacking and nothing else, whatever happened before."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.graph.tasks import end_video_worker
from tests.pipeline.histories import make_library
from tests.pipeline.many import play_all
from tests.pipeline.oracle import Oracle, run_history

pytestmark = pytest.mark.usefixtures("unsynced")

MANY = 200
FEW = 8


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield make_library(tmp_path_factory.mktemp("histories") / "library")
    end_video_worker()


@pytest.fixture(scope="module")
def oracle(library: Path) -> Oracle:
    return Oracle(library)


@pytest.mark.parametrize("seed", range(FEW))
def test_a_history(seed: int, library: Path, tmp_path: Path, oracle: Oracle) -> None:
    run_history(seed, library, tmp_path, oracle)


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_many_histories(tmp_path: Path) -> None:
    """A failure names the seed: ``test_a_history`` with that seed shows it alone."""
    play_all("history", FEW, FEW + MANY, tmp_path)
