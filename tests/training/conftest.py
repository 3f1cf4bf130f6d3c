"""A toy dataset, written once."""

import pytest

from base.storage.folder import Folder
from tests.training.datasets import Toy, write_toy


@pytest.fixture(scope="session")
def toy_dataset(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """Twelve clips of 4 x 4 x 8 x 8 in two parts; not to be written to."""
    return write_toy(Folder(str(tmp_path_factory.mktemp("toy") / "dataset")), Toy(logvar=True))
